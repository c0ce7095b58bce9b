//! What the program asks of the kernel for itself: no core dumps with keys in them, and for the daemon
//! room for as many connections as there are gateways.

mod sys;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};

/// Secrets do not leave this process by a core dump or a debugger.
///
/// # Errors
/// The kernel refuses.
pub fn keep_secrets() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).context("cannot forbid core dumps")?;
    sys::no_core_file().context("cannot forbid core files")?;
    Ok(())
}

/// Files are for their owner only, and as many may be open as the administrator allows. Gives how many that are.
///
/// # Errors
/// The kernel refuses.
pub fn prepare() -> Result<u64> {
    umask(Mode::from_bits_truncate(0o077));
    let files = sys::raise_open_files().context("cannot ask for more open files")?;
    log::debug!("up to {files} files and connections at once");
    Ok(files)
}
