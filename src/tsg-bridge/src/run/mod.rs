//! The daemon: puts together what the other rooms make, and runs until it is told to stop.
//!
//! One thread is in control: it talks to the key server, keeps the rules in force and answers on
//! the Unix socket. The packets are on the attach's threads, and do not wait for it.

mod cache;
mod control;
mod data;
mod diagnostics;
mod flows;
mod links;
mod memory;
mod policy;
mod servers;
mod status;
mod status_socket;
mod sys;
mod unreadable;
mod wake;

pub(crate) use memory::{kept_teks, recall_policy};
pub(crate) use sys::keep_secrets;

use crate::cli::Options;
use crate::config::{Config, Problem};
use crate::folders::Folders;
use crate::identity::{Identity, prepare_folder};
use anyhow::{Context as _, Result, anyhow};
use control::Control;
use nix::sys::signal::{SigSet, Signal};

/// What a line on the status socket asks for: a door for the fuzzers (tests/fuzz).
///
/// # Errors
/// It is no question.
#[cfg(fuzzing)]
pub fn question(line: &[u8]) -> Result<String> {
    status_socket::asked(line).map(|(method, _)| method)
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the configuration, the identity, the cipher, another instance.
pub fn run(options: &Options) -> Result<()> {
    let folders = &options.folders;
    let loaded = Config::load(&folders.config_file());
    let level = loaded.as_ref().map_or(log::LevelFilter::Info, |(config, _)| config.log_level);
    tsg_log::start("tsg", options.log, level)?;
    let started = loaded.and_then(|(config, warnings)| start(config, &warnings, folders));
    if let Err(error) = &started {
        log::error!(target: tsg_log::SAID, "{error:#}");
    }
    started
}

fn start(config: Config, warnings: &[Problem], folders: &Folders) -> Result<()> {
    for warning in warnings {
        log::warn!("{warning}");
    }
    // Before any thread: all of them inherit it, and the control thread reads the signals.
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let signals: SigSet = signals.into_iter().collect();
    signals.thread_block().context("cannot block signals")?;
    tsg_sodium::init()?;
    tsg_sodium::self_test().map_err(|error| {
        anyhow!("the cipher does not compute what it should, so nothing would be safe: {error}")
    })?;
    prepare_folder(&folders.run)?;
    let (identity, is_new) = Identity::load_or_create(&folders.state)?;
    if is_new {
        log::info!("made this gateway's key, in {}", folders.state.display());
    }
    log::info!("tsg {}: {}", env!("CARGO_PKG_VERSION"), identity.public().fingerprint());
    Control::new(config, folders.clone(), identity, &signals)?.run()
}
