//! `tsg status`: how the running gateway is, for people or for scripts.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;

use super::{ask, overview};
use crate::folders::Folders;

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let answer = ask::ask(folders, "status", Value::Null)?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    overview::show(&answer, io::stdout().is_terminal(), out)
}

/// `tsg reconnect`.
pub(super) fn reconnect(folders: &Folders, out: &mut dyn Write) -> Result<()> {
    let answer = ask::ask(folders, "reconnect", Value::Null)?;
    let server = answer.get("server").and_then(Value::as_str).unwrap_or_default();
    writeln!(
        out,
        "connecting to {} anew; `tsg status` says what comes of it",
        overview::printable(server)
    )?;
    Ok(())
}
