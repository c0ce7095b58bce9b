//! What the daemon asks of the kernel for itself: no core dumps with keys in them, and room for
//! as many connections as there are gateways.

mod sys;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};

/// Secrets never leave this process by a core dump or a debugger nor stay in freed memory, files are for their owner only,
/// and as many files may be open as the administrator allows.
///
/// # Errors
/// The kernel refuses.
pub fn harden() -> Result<u64> {
    umask(Mode::from_bits_truncate(0o077));
    nix::sys::prctl::set_dumpable(false).context("cannot forbid core dumps")?;
    sys::no_core_file().context("cannot forbid core files")?;
    tsg_zmq::wipe_freed_memory();
    let files = sys::raise_open_files().context("cannot ask for more open files")?;
    log::debug!("up to {files} files and connections at once");
    Ok(files)
}
