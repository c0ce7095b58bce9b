//! `tsg.sock`: one JSON object a line each way, for `tsg status` and whoever has no ubus.
//!
//! Served by the control thread without waiting for anybody: a client that does not take its
//! answer is dropped, and one that asks much gets one answer at a time.

use anyhow::{Context as _, Result, anyhow};
use nix::sys::stat::{Mode, umask};
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A longer question is none.
const LONGEST_LINE: usize = 4 * 1024;

/// More clients than this are not kept: the one that has asked nothing for longest goes.
const MOST_CLIENTS: usize = 16;

/// After an error nobody is let in for this long, in milliseconds: the listener stays readable.
const DEAF: u64 = 1_000;

/// The socket and who is connected.
pub(super) struct StatusSocket {
    path: PathBuf,
    listener: UnixListener,
    deaf_until: u64,
    /// Who asked last is last.
    clients: Vec<Client>,
}

/// What a client wants to know.
pub(super) struct Question {
    client: Client,
    asked: Result<(String, Value)>,
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
        Ok(Self { path: path.to_owned(), listener, deaf_until: 0, clients: Vec::new() })
    }

    /// The descriptors to wait for.
    pub(super) fn descriptors(&self, now: u64) -> impl Iterator<Item = RawFd> {
        let listener = (now >= self.deaf_until).then(|| self.listener.as_raw_fd());
        listener.into_iter().chain(self.clients.iter().map(|client| client.stream.as_raw_fd()))
    }

    /// A question was read already and waits for its turn.
    pub(super) fn is_asked(&self) -> bool {
        self.clients.iter().any(|client| client.line.contains(&b'\n'))
    }

    /// Takes new clients, and what is asked now: one question from each. [`Self::answer`] lets them
    /// ask again.
    pub(super) fn questions(&mut self, now: u64) -> Vec<Question> {
        self.accept(now);
        let mut questions = Vec::new();
        for mut client in core::mem::take(&mut self.clients) {
            match client.ask() {
                Ok(None) => self.clients.push(client),
                Ok(Some(line)) => questions.push(Question { asked: asked(&line), client }),
                Err(Gone) => {}
            }
        }
        questions
    }

    /// Answers `question` with what `answer` has for its method.
    pub(super) fn answer(&mut self, mut question: Question, answer: Result<Value>) {
        let answer = answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        let text = format!("{answer}\n");
        // What does not fit into the socket's own buffer is not waited for.
        if question.client.stream.write_all(text.as_bytes()).is_ok() {
            self.clients.push(question.client);
        }
    }

    fn accept(&mut self, now: u64) {
        if now < self.deaf_until {
            return;
        }
        for _ in 0..MOST_CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    if self.clients.len() >= MOST_CLIENTS {
                        self.clients.remove(0);
                    }
                    self.clients.push(Client { stream, line: Vec::new() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("{}: {error}", self.path.display());
                    self.deaf_until = now + DEAF;
                    return;
                }
            }
        }
    }
}

impl Question {
    /// What is asked for, and with which arguments.
    ///
    /// # Errors
    /// It is no question: the answer to that.
    pub(super) fn asked(&self) -> Result<(&str, &Value)> {
        let (method, arguments) = self.asked.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        Ok((method, arguments))
    }
}

/// The client has closed, or said what is no question.
struct Gone;

impl Client {
    /// The next line, if there is a whole one.
    fn ask(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        if !self.line.contains(&b'\n') {
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Gone),
                Ok(length) => self.line.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        let Some(end) = self.line.iter().position(|&byte| byte == b'\n') else {
            return if self.line.len() > LONGEST_LINE { Err(Gone) } else { Ok(None) };
        };
        Ok(Some(self.line.drain(..=end).collect()))
    }
}

/// What a client's line asks for.
pub(super) fn asked(line: &[u8]) -> Result<(String, Value)> {
    let mut question: Value = serde_json::from_slice(line).context("not JSON")?;
    let arguments = question.get_mut("args").map_or(Value::Null, Value::take);
    let method = question.get("method").and_then(Value::as_str);
    Ok((method.context("a question is {\"method\":\"status\"}")?.to_owned(), arguments))
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::os::fd::OwnedFd;

    fn open() -> (tempfile::TempDir, StatusSocket) {
        let run = tempfile::tempdir().unwrap();
        let socket = StatusSocket::open(&run.path().join("tsg.sock")).unwrap();
        (run, socket)
    }

    fn client(socket: &StatusSocket) -> UnixStream {
        UnixStream::connect(&socket.path).unwrap()
    }

    /// Answers everything with its own name; gives how many questions there were.
    fn serve(socket: &mut StatusSocket) -> usize {
        let questions = socket.questions(1_000);
        let count = questions.len();
        for question in questions {
            let answer = question.asked().map(|(method, _)| json!(method));
            socket.answer(question, answer);
        }
        count
    }

    fn read(client: &UnixStream) -> String {
        client.set_nonblocking(true).unwrap();
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn each_client_asks_one_thing_at_a_time() {
        let (_run, mut socket) = open();
        assert_eq!(serve(&mut socket), 0);
        let (mut eager, mut other) = (client(&socket), client(&socket));
        eager.write_all(b"{\"method\":\"one\"}\n{\"method\":\"two\"}\nnonsense\n").unwrap();
        other.write_all(b"{\"method\":\"three\"}\n{\"met").unwrap();
        assert_eq!(serve(&mut socket), 2);
        assert_eq!((read(&eager), read(&other)), ("\"one\"\n".into(), "\"three\"\n".into()));
        assert!(socket.is_asked());
        assert_eq!(serve(&mut socket), 1);
        assert_eq!(read(&eager), "\"two\"\n");
        assert_eq!(serve(&mut socket), 1);
        assert!(read(&eager).contains("not JSON"));
        assert!(!socket.is_asked());
        other.write_all(b"hod\":\"four\"}\n").unwrap();
        assert_eq!(serve(&mut socket), 1);
        assert_eq!(read(&other), "\"four\"\n");
    }

    #[test]
    fn silent_clients_turn_nobody_away() {
        let (_run, mut socket) = open();
        let silent: Vec<UnixStream> = (0..MOST_CLIENTS).map(|_| client(&socket)).collect();
        serve(&mut socket);
        let mut asking = client(&socket);
        asking.write_all(b"{\"method\":\"status\"}\n").unwrap();
        assert_eq!(serve(&mut socket), 1);
        assert_eq!(read(&asking), "\"status\"\n");
        assert_eq!(socket.clients.len(), MOST_CLIENTS);
        assert_eq!(read(&silent[0]), "", "the first of them was let go");
    }

    #[test]
    fn a_line_without_an_end_is_not_collected() {
        let (_run, mut socket) = open();
        let mut client = client(&socket);
        client.write_all(&[b'x'; 3 * LONGEST_LINE]).unwrap();
        for _ in 0..3 * LONGEST_LINE / 1024 {
            assert_eq!(serve(&mut socket), 0);
        }
        assert!(socket.clients.is_empty());
    }

    #[test]
    fn a_listener_that_fails_is_left_alone_for_a_while() {
        let (_run, mut socket) = open();
        // Accepting from it is an error, and not one of nobody being there.
        let (stream, _other) = UnixStream::pair().unwrap();
        socket.listener = OwnedFd::from(stream).into();
        let listener = socket.listener.as_raw_fd();
        assert!(socket.descriptors(5_000).any(|fd| fd == listener));
        assert!(socket.questions(5_000).is_empty());
        assert!(socket.descriptors(5_999).all(|fd| fd != listener));
        assert!(socket.descriptors(6_000).any(|fd| fd == listener));
    }
}
