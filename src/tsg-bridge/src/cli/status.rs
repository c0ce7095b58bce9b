//! `tsg status`: one question to the running gateway, its answer for people or for scripts.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::folders::Folders;

/// A gateway that runs answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 1 << 20;

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let answer = ask(&folders.socket(), "status")?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let colours = io::stdout().is_terminal();
    Printer { out, colours }.value(&answer, 0)
}

fn ask(socket: &Path, method: &str) -> Result<Value> {
    let stream = connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(&stream, "{}", serde_json::json!({ "method": method }))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_ANSWER_BYTES)).read_line(&mut line).with_context(|| {
        format!("the gateway did not answer on {} within {PATIENCE:?}", socket.display())
    })?;
    ensure!(!line.is_empty(), "the gateway closed {} without an answer", socket.display());
    let answer: Value = serde_json::from_str(&line)
        .with_context(|| format!("the answer on {} is not JSON", socket.display()))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        bail!("the gateway says: {error}");
    }
    Ok(answer)
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let error = match UnixStream::connect(socket) {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    if is(&[io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]) {
        bail!(
            "no gateway runs here: nobody answers on {}; start it with `/etc/init.d/tsg start`, and \
             see `logread -e tsg` if it does not stay up",
            socket.display()
        );
    }
    if is(&[io::ErrorKind::PermissionDenied]) {
        bail!("only root may ask on {}", socket.display());
    }
    Err(error).with_context(|| format!("cannot ask on {}", socket.display()))
}

/// Any answer as indented lines, so that a newer gateway's fields are shown too.
struct Printer<'a> {
    out: &'a mut dyn Write,
    colours: bool,
}

impl Printer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::Object(fields) => {
                let width = fields.keys().map(String::len).max().unwrap_or(0) + 1;
                for (name, value) in fields {
                    self.field(&format!("{name}:"), width, value, depth)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.field("-", 1, item, depth)?;
                }
            }
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                writeln!(self.out, "{}", plain(scalar))?;
            }
        }
        Ok(())
    }

    fn field(&mut self, label: &str, width: usize, value: &Value, depth: usize) -> Result<()> {
        let indent = "  ".repeat(depth.min(16));
        let is_empty = match value {
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let text = self.coloured(label, &plain(value));
                writeln!(self.out, "{indent}{label:<width$} {text}")?;
                return Ok(());
            }
        };
        if is_empty {
            writeln!(self.out, "{indent}{label:<width$} none")?;
            return Ok(());
        }
        writeln!(self.out, "{indent}{label}")?;
        self.value(value, depth + 1)
    }

    fn coloured(&self, label: &str, text: &str) -> String {
        const RED: &str = "\x1b[31m";
        const GREEN: &str = "\x1b[32m";
        let colour = match (label, text) {
            _ if !self.colours => return text.to_owned(),
            ("state:" | "connected:" | "sealing:", "running" | "sealing" | "true") => GREEN,
            ("alarm:" | "error:", _) => RED,
            ("state:" | "connected:" | "sealing:", _) => RED,
            _ => return text.to_owned(),
        };
        format!("{colour}{text}\x1b[0m")
    }
}

/// Texts come from other machines too: control characters stay visible and harmless.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
