//! The command line: starts the daemon, or talks to it over root's socket.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 the command itself is wrong.

mod args;
mod backup;
mod bundle;
mod client;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod input;
mod password;
mod policy_file;
mod restore;
mod seal;
mod show;
mod table;
mod tshark;
mod wait;

use crate::daemon;
use crate::network::Listen;
use crate::operations::Answer;
use crate::process;
use crate::web;
use anyhow::{Result, ensure};
use args::{Args, Command, Run};
use clap::Parser as _;
use client::Client;
use std::io::{self, Write as _};
use std::process::ExitCode;
use tsg_log::Target;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // To stdout for --help, to stderr for a mistake.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match carry_out(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "tsg-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(args: &Args) -> Result<()> {
    process::keep_secrets()?;
    if let Command::Run(run) = &args.command {
        return start(args, run);
    }
    match &args.command {
        Command::Bundle(wanted) => {
            return bundle::run(&args.socket, &wanted.data.data, wanted.file.as_deref());
        }
        Command::Health => return health::run(&args.socket),
        Command::Backup(wanted) => return backup::run(&args.socket, wanted),
        Command::BackupKey { file } => return backup::key(file),
        Command::Restore(wanted) => return restore::run(wanted, args.json),
        Command::SealKey { file } => return seal::key(file),
        Command::Reseal(wanted) => return seal::reseal(wanted),
        Command::Run(_)
        | Command::Key
        | Command::Status
        | Command::Gateway(_)
        | Command::Group(_)
        | Command::Policy(_)
        | Command::Token(_)
        | Command::Rekey { .. }
        | Command::Audit { .. }
        | Command::Traffic
        | Command::Alarms { .. }
        | Command::User(_)
        | Command::ApiToken(_) => {}
    }
    let operation = args.command.operation()?;
    let mut client = Client::connect(&args.socket)?;
    let mut answer = client.ask(&operation)?;
    if let Some(limit) = args.command.waits() {
        answer = wait::until_done(&mut client, &operation, answer, limit)?;
    }
    print(args, &answer)?;
    if let Answer::Outcome(outcome) = &answer {
        ensure!(outcome.ok, "the gateway could not do it");
    }
    if let Answer::AlarmTest(tested) = &answer {
        ensure!(tested.iter().all(|one| one.arrived), "the test alarm did not arrive everywhere");
    }
    Ok(())
}

fn print(args: &Args, answer: &Answer) -> Result<()> {
    let written = match args.json {
        true => io::stdout().lock().write_all(&show::json(answer)?),
        false => io::stdout().lock().write_all(show::text(answer).as_bytes()),
    };
    match written {
        // `tsg-server gateway list | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn start(args: &Args, run: &Run) -> Result<()> {
    let target: Target = run.log.into();
    tsg_log::start(c"tsg-server", target, run.log_level.into())?;
    // Before signals are the daemon's: whoever types a passphrase may give up.
    let secret = run.seal.asked().read(!crate::seal::is_there(&run.data.data));
    let options = daemon::Options {
        data: run.data.data.clone(),
        socket: args.socket.clone(),
        listen: Listen { address: run.listen.clone(), port: run.port, pub_port: run.pub_port },
        web: web::Options {
            address: run.web.clone(),
            port: run.web_port,
            certificate: run.web_cert.clone().zip(run.web_key.clone()),
            plain: run.web_plain,
        },
        notify: run.notify.options(),
    };
    let ended = secret.and_then(|secret| daemon::run(&options, secret));
    if let Err(error) = &ended
        && !target.is_stderr()
    {
        log::error!("{error:#}");
    }
    ended
}
