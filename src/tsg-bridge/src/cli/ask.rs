//! One question to the running gateway, on its Unix socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::folders::Folders;

/// A gateway that runs answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Asks the running gateway, and gives its answer.
pub(super) fn ask(folders: &Folders, method: &str, arguments: Value) -> Result<Value> {
    ask_at(&folders.socket(), method, arguments)
}

/// How the tunnels are that run here; none of those that were ended by force.
pub(super) fn tunnels(folders: &Folders) -> Vec<Value> {
    let sockets = folders.tunnel_sockets().into_iter();
    sockets.filter_map(|socket| ask_at(&socket, "status", Value::Null).ok()).collect()
}

fn ask_at(socket: &Path, method: &str, arguments: Value) -> Result<Value> {
    let stream = connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(&stream, "{}", question(method, arguments))?;
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

fn question(method: &str, arguments: Value) -> Value {
    if arguments.is_null() {
        return json!({ "method": method });
    }
    json!({ "method": method, "args": arguments })
}

/// Is there somebody to ask?
pub(super) fn is_running(folders: &Folders) -> bool {
    UnixStream::connect(folders.socket()).is_ok()
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
