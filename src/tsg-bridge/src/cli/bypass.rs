//! `tsg bypass`: for a while what is to be sealed passes in clear.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::ask::ask;
use crate::folders::Folders;

pub(super) fn run(folders: &Folders, seconds: Option<u32>, out: &mut dyn Write) -> Result<()> {
    if let Some(seconds) = seconds {
        ask(folders, "bypass", json!({ "seconds": seconds }))?;
    }
    let status = ask(folders, "status", Value::Null)?;
    match status.pointer("/bypass/ends_in_s").and_then(Value::as_u64) {
        Some(left) => {
            let (minutes, seconds) = (left / 60, left % 60);
            writeln!(
                out,
                "on: what the rules seal goes IN CLEAR for another {minutes}:{seconds:02} min"
            )?;
        }
        None => writeln!(out, "off")?,
    }
    Ok(())
}
