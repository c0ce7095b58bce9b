//! `tsg status`: how the running gateway and the tunnels of this host are, for people or for scripts.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{ask, overview};
use crate::folders::Folders;

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let tunnels = ask::tunnels(folders);
    let gateway = match ask::ask(folders, "status", Value::Null) {
        Ok(gateway) => Some(gateway),
        Err(error) if tunnels.is_empty() => return Err(error),
        // A host may have tunnels and no gateway.
        Err(_) => None,
    };
    show(gateway, tunnels, json, out)
}

/// The same for the program that has tunnels alone.
pub(super) fn of_tunnels(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let tunnels = ask::tunnels(folders);
    ensure!(
        !tunnels.is_empty(),
        "no tunnel runs here; `logread -e tsg` says if one could not start"
    );
    show(None, tunnels, json, out)
}

fn show(
    gateway: Option<Value>,
    tunnels: Vec<Value>,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    if json {
        let mut answer = gateway.unwrap_or_else(|| json!({}));
        if let (Value::Object(fields), false) = (&mut answer, tunnels.is_empty()) {
            fields.insert("tunnels".to_owned(), Value::Array(tunnels));
        }
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let colours = io::stdout().is_terminal();
    for (number, answer) in gateway.iter().chain(&tunnels).enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        overview::show(answer, colours, out)?;
    }
    Ok(())
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
