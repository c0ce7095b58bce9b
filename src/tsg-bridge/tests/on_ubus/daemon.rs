//! A gateway that runs, with folders of its own.

use crate::bus::Bus;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tsg_control::keys::PublicKey;
use tsg_control::token::{Token, TokenSecret};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway without a server.
pub const IDLE: &str = "config tsg 'main'\n\nconfig bridge\n\tlist lan 'nolan'\n\toption wan 'nowan'\n\nconfig rule\n\
                        \toption action 'drop'\n\toption proto 'tcp'\n\toption dest_port '23'\n";

/// And one whose server is not there.
pub const TO_NOWHERE: &str = "config tsg 'main'\n\toption server 'tcp://127.0.0.1:9'\n\toption server_key \
                              'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc='\n\nconfig bridge\n\tlist lan 'nolan'\n\
                              \toption wan 'nowan'\n";

/// What this thread starts from now on puts up its rules in a network of its own.
pub fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
}

pub fn token(servers: &[&str]) -> Token {
    Token {
        servers: servers.iter().map(ToString::to_string).collect(),
        server_key: PublicKey([7; 32]),
        secret: TokenSecret::make(|secret| secret.fill(0xa5)),
        expires: u64::MAX,
        group: "plant".to_owned(),
    }
}

pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    run: String,
}

impl Gateway {
    pub fn start(config: &str, bus: &Bus) -> Self {
        Self::start_with_run(config, bus, "run")
    }

    pub fn start_with_run(config: &str, bus: &Bus, run: &str) -> Self {
        Self::start_at(config, bus.path(), run)
    }

    /// Comes back when it answers.
    pub fn start_at(config: &str, bus: &Path, run: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("config")).unwrap();
        fs::write(path("config/tsg"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsg"));
        command.arg("-c").arg(path("config")).arg("--state").arg(path("state"));
        command.arg("--run").arg(path(run)).arg("--ubus").arg(bus);
        command.args(["run", "--log", "stderr"]).stdin(Stdio::null());
        command.stderr(File::create(path("log")).unwrap());
        let child = command.spawn().unwrap();
        let mut gateway = Self { child, folder, run: run.to_owned() };
        let socket = gateway.socket();
        wait_for("it answers", || {
            assert!(gateway.child.try_wait().unwrap().is_none(), "it ended: {}", gateway.log());
            UnixStream::connect(&socket).is_ok()
        });
        gateway
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn configure(&self, config: &str) {
        fs::write(self.path("config/tsg"), config).unwrap();
    }

    /// What it answers on its socket.
    pub fn ask(&self, question: &Value) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{question}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&self) -> bool {
        self.socket().exists()
            && Path::new(&format!("/proc/{}/exe", self.pid())).read_link().is_ok()
    }

    /// How often this lies in the memory that it can write to, freed memory included.
    pub fn count_in_memory(&self, piece: &[u8]) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let memory = File::open(format!("/proc/{}/mem", self.pid())).unwrap();
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (address(start), address(end));
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            if memory.read_exact_at(&mut bytes, start).is_ok() {
                found += bytes.windows(piece.len()).filter(|window| *window == piece).count();
            }
        }
        found
    }

    pub fn signal_to_reload(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGHUP).unwrap();
    }

    pub fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
    }

    fn socket(&self) -> PathBuf {
        self.path(&self.run).join("tsg.sock")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
