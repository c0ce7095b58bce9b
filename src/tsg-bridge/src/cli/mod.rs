//! The command line of `tsg`.
//!
//! For: turning arguments into one command, running it, and exit codes: 0 done, 1 it did not work, 2 the
//! arguments are wrong. Not for: what the daemon does ([`crate::run`]). Secrets never come in as arguments, which
//! every process on the machine can read.

mod args;
mod ask;
mod bundle;
mod bypass;
mod check;
mod enrol;
mod flows;
mod gate;
mod help;
mod import;
mod key;
mod offloads;
mod overview;
mod setup;
mod status;
#[cfg(feature = "tunnel")]
mod tunnel;
#[cfg(not(feature = "tunnel"))]
#[path = "elsewhere.rs"]
mod tunnel;

pub use args::{Command, Options, UsageError};
pub(crate) use check::preflight;
pub use setup::{Setup, Wish};
pub use tunnel::Carry;
#[cfg(feature = "tunnel")]
pub use tunnel::main as tunnel_main;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use crate::folders::Folders;
use crate::run::keep_secrets;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// What a command that ran to its end found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Good,
    /// It told of problems.
    Problems,
}

/// Runs `tsg` with this process's arguments.
pub fn main() -> ExitCode {
    start(run)
}

/// Understands this process's arguments, has `run` do what they say, and tells what comes of it.
fn start(run: fn(&Options, &mut dyn Write) -> Result<Verdict>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    let done = keep_secrets().and_then(|()| run(&options, &mut io::stdout().lock()));
    let error = match done {
        Ok(Verdict::Good) => return ExitCode::SUCCESS,
        Ok(Verdict::Problems) => return ExitCode::from(FAILED),
        Err(error) => error,
    };
    if options.command != Command::Run && is_broken_pipe(&error) {
        // Whoever reads has enough: `tsg status | head`.
        return ExitCode::SUCCESS;
    }
    if let Some(error) = error.downcast_ref() {
        return refuse(error);
    }
    complain(&format!("{error:#}"));
    ExitCode::from(FAILED)
}

fn refuse(error: &UsageError) -> ExitCode {
    complain(&format!("{error}\nSee `tsg help`."));
    ExitCode::from(USAGE)
}

fn run(options: &Options, out: &mut dyn Write) -> Result<Verdict> {
    let folders: &Folders = &options.folders;
    match &options.command {
        Command::Run => crate::run::run(options)?,
        Command::Status { json } => status::run(folders, *json, out)?,
        Command::Reconnect => status::reconnect(folders, out)?,
        Command::Keygen { force } => key::keygen(folders, *force, out)?,
        Command::Fingerprint => key::fingerprint(folders, out)?,
        Command::Enrol { file } => enrol::run(folders, file.as_deref(), out)?,
        Command::Bypass { seconds } => bypass::run(folders, *seconds, out)?,
        Command::Flows { json } => flows::run(folders, *json, out)?,
        Command::Check { json } => return check::run(folders, *json, out),
        Command::Offloads { restore } => return offloads::run(folders, *restore, out),
        Command::Setup(setup) => setup::run(folders, setup, out)?,
        Command::Bundle { file } => bundle::run(folders, file.as_deref(), out)?,
        Command::Tunnel(carry) => carry.run(options.log, out)?,
        Command::Gate(wanted) => return gate::run(options, wanted, out),
        Command::Import { file, force } => import::run(folders, file, *force, out)?,
        Command::Help { topic } => help::show(topic.as_deref(), out)?,
        Command::Version => version(out)?,
    }
    Ok(Verdict::Good)
}

fn version(out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "tsg {}", env!("CARGO_PKG_VERSION"))?)
}

/// With stderr gone there is nobody to tell.
fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "tsg: {message}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
