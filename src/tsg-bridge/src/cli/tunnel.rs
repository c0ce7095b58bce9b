//! `tsg tunnel`, and the program that has tunnels alone.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use log::LevelFilter;
use tsg_log::Target;

use super::{Command, Options, UsageError, Verdict, help, start, status, version};
use crate::tunnel::{self, Static, Tunnel};

/// What `tsg tunnel` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carry {
    /// Run it.
    Packets(Tunnel),
    /// Print its other end, for the kernel there.
    Xfrm(Tunnel, Static),
}

impl Carry {
    pub(super) fn run(&self, log: Target, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Packets(tunnel) => {
                tsg_log::start(c"tsg", log, LevelFilter::Info)?;
                tunnel::run(tunnel)
            }
            Self::Xfrm(tunnel, how) => tunnel::print_xfrm(tunnel, how, out),
        }
    }
}

/// Runs the program that has tunnels alone, with this process's arguments. Nothing here leads to the gateway, so that
/// the linker leaves that out.
pub fn main() -> ExitCode {
    start(run)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all else is the gateway's")]
fn run(options: &Options, out: &mut dyn Write) -> Result<Verdict> {
    match &options.command {
        Command::Tunnel(carry) => carry.run(options.log, out)?,
        Command::Status { json } => status::of_tunnels(&options.folders, *json, out)?,
        Command::Help { topic } => help::show_tunnels(topic.as_deref(), out)?,
        Command::Version => version(out)?,
        _ => return Err(UsageError::gateway().into()),
    }
    Ok(Verdict::Good)
}
