//! A running `tsg-server` and its command line.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tsg_control::keys::PublicKey;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_tsg-server");

/// What stays when a server is killed.
pub(super) struct Place {
    folder: TempDir,
    /// Chosen by the first server here, kept by the next ones.
    port: u16,
    pages: Pages,
    /// More words for `run`.
    pub(super) more: Vec<String>,
}

/// How the pages are served.
#[derive(Clone, Copy)]
pub(super) enum Pages {
    None,
    Plain,
    Tls,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: 0, pages: Pages::None, more: Vec::new() }
    }

    /// With these further arguments of `run`, and no others.
    pub(super) fn and(self, words: &[&str]) -> Self {
        Self { more: words.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    pub(super) fn with(words: &[&str]) -> Self {
        let more = words.iter().map(|&word| word.to_owned()).collect();
        Self { more, ..Self::new() }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path().join("admin.sock")
    }

    /// The arguments of `run` here.
    pub(super) fn arguments(&self) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            "--socket",
            &text(self.socket()),
            "run",
            "--data",
            &text(self.data()),
            "--listen",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--pub-port",
            "0",
            "--log",
            "stderr",
            "--log-level",
            "debug",
            "--web",
            if matches!(self.pages, Pages::None) { "" } else { "127.0.0.1" },
            "--web-port",
            "0",
        ]
        .into_iter()
        .chain(matches!(self.pages, Pages::Plain).then_some("--web-plain"))
        .map(str::to_owned)
        .chain(self.more.iter().cloned())
        .collect()
    }

    /// A server here that must not start: gives its complaint.
    pub(super) fn complaint(&self) -> String {
        self.complaint_by(Command::new("timeout"))
    }

    /// Started by `timeout` with another environment.
    pub(super) fn complaint_by(&self, mut timeout: Command) -> String {
        let limit = PATIENCE.as_secs().to_string();
        let output = timeout
            .args([limit.as_str(), PROGRAM])
            .args(self.arguments())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        complaint
    }
}

/// A server that runs.
pub(super) struct Daemon {
    pub(super) place: Place,
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    /// Where its gateways connect.
    pub(super) endpoint: String,
    pub(super) key: PublicKey,
}

impl Daemon {
    pub(super) fn start() -> Self {
        Self::start_in(Place::new())
    }

    pub(super) fn start_in(place: Place) -> Self {
        let command = Command::new(PROGRAM);
        Self::start_by(place, command)
    }

    pub(super) fn start_with(place: Place, pages: Pages) -> Self {
        Self::start_in(Place { pages, ..place })
    }

    /// A start that SIGKILL ends after so long, or as soon as it listens.
    pub(super) fn cut_short(place: &Place, after: Duration) {
        let (mut child, lines) = spawn(place, Command::new(PROGRAM));
        let deadline = Instant::now() + after;
        let left = || deadline.saturating_duration_since(Instant::now());
        while lines.recv_timeout(left()).is_ok_and(|line| !line.contains("listens on")) {}
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Started by another program, such as a shell that sets limits.
    pub(super) fn start_by(mut place: Place, command: Command) -> Self {
        let (child, lines) = spawn(&place, command);
        let mut log = Vec::new();
        let first = wait_for_line(&lines, &mut log, "listens on tcp://");
        let word = |before: &str, after: char| {
            let rest = first.split(before).nth(1).unwrap();
            rest.split(after).next().unwrap().to_owned()
        };
        let endpoint = word("listens on ", ',');
        place.port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        let key = word("; key ", ' ').parse().unwrap();
        Self { place, child, lines, log, endpoint, key }
    }

    /// Waits until a line with this text is in the log.
    pub(super) fn wait_log(&mut self, text: &str) -> String {
        wait_for_line(&self.lines, &mut self.log, text)
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// SIGKILL, and what stays.
    pub(super) fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.place, Place::new())
    }

    /// SIGTERM, and what stays.
    pub(super) fn stop(mut self) -> Place {
        signal(&self, "TERM");
        let status = self.wait_end();
        assert!(status.success(), "{status} {:#?}", self.log);
        assert!(!self.place.socket().exists());
        std::mem::replace(&mut self.place, Place::new())
    }

    /// Waits until it ends by itself.
    pub(super) fn wait_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its end closes stderr.
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push(line);
        }
        assert!(Instant::now() < deadline, "it does not end: {:#?}", self.log);
        self.child.wait().unwrap()
    }

    /// Ends it, and gives all that it logged.
    pub(super) fn into_log(mut self) -> Vec<String> {
        signal(&self, "TERM");
        self.wait_end();
        std::mem::take(&mut self.log)
    }

    pub(super) fn log(&self) -> &[String] {
        &self.log
    }

    /// The command line, as an operator uses it.
    pub(super) fn command(&self, words: &[&str]) -> Output {
        let socket = self.place.socket();
        let words = ["--socket", socket.to_str().unwrap()].into_iter().chain(words.iter().copied());
        alone(&words.collect::<Vec<_>>())
    }

    /// A command that must succeed; gives its JSON.
    pub(super) fn ask(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        let output = self.command(&words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A command that must succeed, with something to read.
    pub(super) fn ask_with(&self, words: &[&str], input: &str) {
        let mut child = Command::new(PROGRAM)
            .env_clear()
            .arg("--socket")
            .arg(self.place.socket())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{words:?}");
    }

    /// A command that must fail; gives its complaint.
    pub(super) fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        complaint
    }

    pub(super) fn admin(&self) -> AdminClient {
        AdminClient::connect(&self.place.socket()).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line where no server is asked.
pub(super) fn alone(words: &[&str]) -> Output {
    Command::new(PROGRAM).env_clear().args(words).stdin(Stdio::null()).output().unwrap()
}

pub(super) fn signal(daemon: &Daemon, name: &str) {
    let status = Command::new("kill").args(["-s", name, &daemon.pid().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Starts it, and gives what it writes to stderr.
fn spawn(place: &Place, mut command: Command) -> (Child, Receiver<String>) {
    let mut child = command
        .args(place.arguments())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    (child, lines)
}

fn wait_for_line(lines: &Receiver<String>, log: &mut Vec<String>, text: &str) -> String {
    if let Some(line) = log.iter().find(|line| line.contains(text)) {
        return line.clone();
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                log.push(line.clone());
                if line.contains(text) {
                    return line;
                }
            }
            Err(error) => panic!("no {text:?} in the log ({error}): {log:#?}"),
        }
    }
}

/// A program's connection to the admin socket.
pub(super) struct AdminClient(BufReader<UnixStream>);

impl AdminClient {
    pub(super) fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(super) fn send(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(line)
    }

    /// The next line; `None` when the server has gone.
    pub(super) fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(length) if length > 0 && line.ends_with('\n') => {
                Some(serde_json::from_str(&line).unwrap())
            }
            Ok(_) | Err(_) => None,
        }
    }

    pub(super) fn ask(&mut self, operation: &Value) -> Option<Value> {
        self.send(format!("{operation}\n").as_bytes()).ok()?;
        self.receive()
    }
}
