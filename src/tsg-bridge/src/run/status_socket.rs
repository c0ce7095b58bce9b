//! `tsg.sock`: one JSON object a line each way, for `tsg status` and whoever has no ubus.
//!
//! Served by the control thread without waiting for anybody: a client that does not take its
//! answer is dropped.

use anyhow::{Context as _, Result};
use nix::sys::stat::{Mode, umask};
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A longer question is none.
const LONGEST_LINE: usize = 4 * 1024;

/// More clients than this at a time are turned away.
const MOST_CLIENTS: usize = 16;

/// The socket and who is connected.
pub(super) struct StatusSocket {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    line: Vec<u8>,
}

impl StatusSocket {
    /// Only root, or whoever runs the daemon, may ask: the socket is 0600 in a folder of 0700.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Nobody else runs with this folder: the lock on the sequence numbers is ours.
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{}: in the way", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener.with_context(|| format!("{}: cannot be made", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), listener, clients: Vec::new() })
    }

    /// The descriptors to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let clients = self.clients.iter().map(|client| client.stream.as_raw_fd());
        [self.listener.as_raw_fd()].into_iter().chain(clients)
    }

    /// Takes new clients and answers what they ask; `answer` gets the method and its arguments.
    pub(super) fn serve(&mut self, mut answer: impl FnMut(&str, &Value) -> Result<Value>) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < MOST_CLIENTS && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, line: Vec::new() });
            }
        }
        self.clients.retain_mut(|client| client.serve(&mut answer));
    }
}

impl Client {
    /// Gives whether it stays.
    fn serve(&mut self, answer: &mut impl FnMut(&str, &Value) -> Result<Value>) -> bool {
        let mut chunk = [0; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.line.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                let mut text = reply(&line, answer).to_string();
                text.push('\n');
                // What does not fit into the socket's own buffer is not waited for.
                if self.stream.write_all(text.as_bytes()).is_err() {
                    return false;
                }
            }
            if self.line.len() > LONGEST_LINE {
                return false;
            }
        }
    }
}

fn reply(line: &[u8], answer: &mut impl FnMut(&str, &Value) -> Result<Value>) -> Value {
    let question = match serde_json::from_slice::<Value>(line) {
        Ok(question) => question,
        Err(error) => return json!({ "error": format!("not JSON: {error}") }),
    };
    let Some(method) = question.get("method").and_then(Value::as_str) else {
        return json!({ "error": "a question is {\"method\":\"status\"}" });
    };
    match answer(method, &question) {
        Ok(value) => value,
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
