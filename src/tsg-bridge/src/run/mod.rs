//! The daemon: puts together what the other rooms make, and runs until it is told to stop.
//!
//! One thread is in control: it talks to the key server, keeps the rules in force and answers on
//! the Unix socket. The packets are on the attach's threads, and do not wait for it.

mod cache;
mod control;
mod data;
mod diagnostics;
mod doors;
mod links;
mod memory;
mod methods;
mod offloads;
mod policy;
mod seen;
mod settings;
mod status;
mod status_socket;
mod sys;
mod unreadable;
mod wake;

pub(crate) use memory::{kept_teks, recall_policy};
pub(crate) use status_socket::StatusSocket;
pub(crate) use sys::keep_secrets;

use crate::cli::Options;
use crate::config::{Config, Problem, Problems};
use crate::folders::Folders;
use crate::identity::{Identity, prepare_folder};
use crate::setup::apply;
use anyhow::{Context as _, Result, anyhow};
use control::Control;
use doors::Doors;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

/// What a line on the status socket asks for, or the answer that it gets: a door for the fuzzers (tests/fuzz).
///
/// # Errors
/// It is no question.
#[cfg(fuzzing)]
pub fn question(line: &[u8]) -> Result<&'static str, String> {
    let question = status_socket::question(line);
    let found = question.and_then(|(method, given)| methods::find(&method, given));
    found.map(|(method, _)| method.name).map_err(|fault| fault.answer().to_string())
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the configuration, the identity, the cipher, another instance.
pub fn run(options: &Options) -> Result<()> {
    let folders = &options.folders;
    // Before the configuration is read: it may be the one of a set-up that locked everybody out.
    let undone = apply::expire(folders, &apply::now());
    let loaded = Config::load(&folders.config_file());
    let level = loaded.as_ref().map_or(log::LevelFilter::Info, |(config, _)| config.log_level);
    tsg_log::start(c"tsg", options.log, level)?;
    say_undone(undone);
    let started = loaded.and_then(|(config, warnings)| start(config, &warnings, options));
    if let Err(error) = &started {
        for finding in Problems::each_of(error) {
            log::error!(target: tsg_log::SAID, "{finding}");
        }
    }
    started
}

/// A descriptor that can be read once this process is to end. To be asked for before any thread.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn quitting() -> Result<SignalFd> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().context("cannot block signals")?;
    SignalFd::new(&signals).context("signalfd")
}

/// The box was switched off before anybody confirmed `tsg setup --rollback`.
fn say_undone(undone: Result<bool>) {
    match undone {
        Ok(false) => {}
        Ok(true) => {
            log::warn!("nobody has confirmed the set-up of the ports: it is undone");
            for failure in apply::reload(&[apply::Service::Network]) {
                log::error!("{failure}");
            }
        }
        Err(error) => log::error!("the set-up that nobody has confirmed stays: {error:#}"),
    }
}

fn start(config: Config, warnings: &[Problem], options: &Options) -> Result<()> {
    let folders = &options.folders;
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
    let doors = Doors::new(folders, &options.ubus)?;
    serve(config, folders, identity, &signals, doors)
}

/// Until it is told to stop. What cannot change while it runs is taken over by beginning anew, as another process
/// would: with the keys of before, and `fail` in between.
fn serve(
    mut config: Config,
    folders: &Folders,
    mut identity: Identity,
    signals: &SigSet,
    mut doors: Doors,
) -> Result<()> {
    loop {
        let control = Control::new(config, folders.clone(), identity, signals, doors)?;
        let Some(again) = control.run()? else { return Ok(()) };
        (config, doors) = (again.config, again.doors);
        (identity, _) = Identity::load_or_create(&folders.state)?;
    }
}
