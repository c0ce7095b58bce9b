//! `tsg.sock`: one JSON object a line each way, for `tsg status` and whoever has no ubus.
//!
//! Served by the control thread without waiting for anybody: a client is asked for its next question when it has taken
//! its answer, and one that asks much gets one answer at a time.

use super::methods::Fault;
use crate::arguments::Unchecked;
use anyhow::{Context as _, Result};
use nix::sys::stat::{Mode, umask};
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// A longer question is none: the longest is a token to enrol with.
const LONGEST_LINE: usize = 16 * 1024;

/// Read at once.
const CHUNK: usize = 1024;

/// More clients than this are not kept: the one that has asked nothing for longest goes.
const MOST_CLIENTS: usize = 16;

/// After an error nobody is let in for this long, in milliseconds: the listener stays readable.
const DEAF: u64 = 1_000;

/// The socket and who is connected.
pub(crate) struct StatusSocket {
    path: PathBuf,
    listener: UnixListener,
    deaf_until: u64,
    /// Who asked last is last.
    clients: Vec<Client>,
}

/// Somebody who is connected.
pub(crate) struct Client {
    stream: UnixStream,
    /// May hold a secret, so it does not grow.
    line: Zeroizing<Vec<u8>>,
    /// What is left of an answer.
    answer: Vec<u8>,
}

/// A method's name and its arguments, or why it is no question.
pub(crate) type Asked = Result<(String, Unchecked), Fault>;

/// What a line asks for.
#[derive(Deserialize)]
struct Line {
    method: String,
    #[serde(default)]
    args: Unchecked,
}

impl StatusSocket {
    /// Only root, or whoever runs the daemon, may ask: the socket is 0600 in a folder of 0700.
    pub(crate) fn open(path: &Path) -> Result<Self> {
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

    /// The descriptors to wait for, and whether there is to be room to write rather than something to read.
    pub(crate) fn descriptors(&self, now: u64) -> impl Iterator<Item = (RawFd, bool)> {
        let listener = (now >= self.deaf_until).then(|| (self.listener.as_raw_fd(), false));
        let client = |client: &Client| (client.stream.as_raw_fd(), !client.answer.is_empty());
        listener.into_iter().chain(self.clients.iter().map(client))
    }

    /// A question was read already and waits for its turn.
    pub(crate) fn is_asked(&self) -> bool {
        let asks = |client: &Client| client.answer.is_empty() && client.line.contains(&b'\n');
        self.clients.iter().any(asks)
    }

    /// Takes new clients, and what is asked now: one question from each, by method and arguments. [`Self::answer`]
    /// lets them ask again.
    pub(crate) fn questions(&mut self, now: u64) -> Vec<(Client, Asked)> {
        self.accept(now);
        let mut questions = Vec::new();
        for mut client in core::mem::take(&mut self.clients) {
            match client.ask() {
                Ok(None) => self.clients.push(client),
                Ok(Some(line)) => questions.push((client, question(&line))),
                Err(Gone) => {}
            }
        }
        questions
    }

    /// Answers, and lets the client ask again.
    pub(crate) fn answer(&mut self, mut client: Client, answer: &Value) {
        client.answer = format!("{answer}\n").into_bytes();
        if client.flush().is_ok() {
            self.keep(client);
        }
    }

    fn keep(&mut self, client: Client) {
        if self.clients.len() >= MOST_CLIENTS {
            self.clients.remove(0);
        }
        self.clients.push(client);
    }

    fn accept(&mut self, now: u64) {
        if now < self.deaf_until {
            return;
        }
        for _ in 0..MOST_CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    self.keep(Client::new(stream));
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

/// The client has closed, or said what is no question.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        let line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE + CHUNK));
        Self { stream, line, answer: Vec::new() }
    }

    /// The next line, if there is a whole one, and the answer before has been taken.
    fn ask(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Gone> {
        self.flush()?;
        if !self.answer.is_empty() {
            return Ok(None);
        }
        if !self.line.contains(&b'\n') {
            let mut chunk = Zeroizing::new([0; CHUNK]);
            match self.stream.read(chunk.as_mut_slice()) {
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
        let line = Zeroizing::new(self.line[..=end].to_vec());
        let left = self.line.len() - line.len();
        self.line.copy_within(end + 1.., 0);
        self.line[left..].zeroize();
        self.line.truncate(left);
        Ok(Some(line))
    }

    /// Sends as much of the answer as the client takes now.
    fn flush(&mut self) -> io::Result<()> {
        while !self.answer.is_empty() {
            match self.stream.write(&self.answer) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) if length == self.answer.len() => self.answer = Vec::new(),
                Ok(length) => drop(self.answer.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a client's line asks for. What is wrong with it is said without repeating it.
pub(crate) fn question(line: &[u8]) -> Asked {
    // A list of its fields would do for serde.
    let is_object = line.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice::<Line>(line) {
        Ok(Line { method, args }) if is_object => Ok((method, args)),
        Err(error) if !error.is_data() => Err(Fault::Nonsense("not JSON".to_owned())),
        Ok(_) | Err(_) => Err(Fault::Nonsense(
            "a question is {\"method\":\"status\"}, with \"args\":{…} where there are some"
                .to_owned(),
        )),
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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
        for (client, question) in questions {
            let answer = question.map_or_else(|fault| fault.answer(), |(method, _)| json!(method));
            socket.answer(client, &answer);
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
        assert!(socket.descriptors(5_000).any(|(fd, _)| fd == listener));
        assert!(socket.questions(5_000).is_empty());
        assert!(socket.descriptors(5_999).all(|(fd, _)| fd != listener));
        assert!(socket.descriptors(6_000).any(|(fd, _)| fd == listener));
    }

    #[test]
    fn a_long_answer_is_taken_bit_by_bit_and_nothing_else_is_asked_meanwhile() {
        let (_run, mut socket) = open();
        let mut slow = client(&socket);
        slow.write_all(b"{\"method\":\"one\"}\n{\"method\":\"two\"}\n").unwrap();
        let long = json!("x".repeat(1 << 20));
        for (client, _) in socket.questions(1_000) {
            socket.answer(client, &long);
        }
        let writes = |socket: &StatusSocket| socket.descriptors(1_000).any(|(_, writes)| writes);
        assert!(writes(&socket) && !socket.is_asked());
        assert_eq!(serve(&mut socket), 0);
        let mut answer = Vec::new();
        let mut chunk = [0; 64 * 1024];
        while answer.len() < (1 << 20) + 3 {
            let length = slow.read(&mut chunk).unwrap();
            answer.extend_from_slice(&chunk[..length]);
            let asked = serve(&mut socket);
            assert_eq!(asked > 0, !writes(&socket) && asked > 0);
        }
        assert_eq!(answer[..(1 << 20) + 3], *format!("{long}\n").as_bytes());
        let mut rest = String::from_utf8(answer.split_off((1 << 20) + 3)).unwrap();
        if rest.is_empty() {
            serve(&mut socket);
            rest = read(&slow);
        }
        assert_eq!(rest, "\"two\"\n");
    }

    #[test]
    fn what_is_no_question_is_not_repeated() {
        let cases = [
            "SECRET",
            "\"SECRET\"",
            "[\"SECRET\"]",
            "{\"method\":[\"SECRET\"]}",
            "{\"method\":\"enrol\",\"args\":\"SECRET\"}",
            "{\"args\":{\"token\":\"SECRET\"}}",
        ];
        for line in cases {
            let fault = question(line.as_bytes()).unwrap_err().to_string();
            assert!(!fault.contains("SECRET"), "{line}: {fault}");
        }
        let (method, args) = question(b"{\"method\":\"x\",\"args\":{\"a\":1},\"b\":2}").unwrap();
        assert_eq!((method.as_str(), args.0.len()), ("x", 1));
        assert!(question(b"{\"method\":\"x\",\"args\":null}").unwrap().1.0.is_empty());
    }
}
