//! `tsg tunnel` where tunnels are a program of their own: it becomes that one.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tsg_log::Target;

/// Where the package tsg-proto has it.
const PROGRAM: &str = "/usr/libexec/tsg/tunnel";

/// What `tsg tunnel` is to do: the other program understands the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry;

impl Carry {
    #[expect(clippy::unused_self, reason = "the one with the feature has something in it")]
    pub(super) fn run(&self, _: Target, _: &mut dyn Write) -> Result<()> {
        let error = Command::new(PROGRAM).args(std::env::args_os().skip(1)).exec();
        if error.kind() == ErrorKind::NotFound {
            bail!("tunnels are a program of their own, {PROGRAM}: install the package tsg-proto");
        }
        Err(error).with_context(|| format!("cannot run {PROGRAM}"))
    }
}
