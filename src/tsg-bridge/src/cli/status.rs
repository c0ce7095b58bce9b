//! `tsg status`: how the running gateway is, for people or for scripts.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use super::{ask, overview};
use crate::folders::Folders;

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let answer = ask::ask(folders, "status")?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    overview::show(&answer, io::stdout().is_terminal(), out)
}

/// `tsg reconnect`.
pub(super) fn reconnect(folders: &Folders, out: &mut dyn Write) -> Result<()> {
    let answer = ask::ask(folders, "reconnect")?;
    let server = answer.get("server").and_then(serde_json::Value::as_str).unwrap_or_default();
    writeln!(
        out,
        "connecting to {} anew; `tsg status` says what comes of it",
        overview::printable(server)
    )?;
    Ok(())
}
