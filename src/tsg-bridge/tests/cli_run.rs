//! `tsg run` from outside: an idle gateway, one with a wrong configuration, and two on the same folders.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{
    fs,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/tsg"), config).unwrap();
    folder
}

fn tsg(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tsg"));
    command.arg("-c").arg(folder.join("config"));
    command.arg("--state").arg(folder.join("state"));
    command.arg("--run").arg(folder.join("run"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn shown(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

/// A gateway that is stopped when the test is over, however that ends.
struct Running(Child);

impl Running {
    /// Comes back when it answers.
    fn start(folder: &Path) -> Self {
        let mut command = tsg(folder, &["run", "--log", "stderr"]);
        let mut running = Self(command.stderr(Stdio::piped()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(folder.join("run/tsg.sock")).is_err() {
            assert!(running.0.try_wait().unwrap().is_none(), "it ended");
            assert!(Instant::now() < deadline, "it does not answer");
            thread::yield_now();
        }
        running
    }

    fn stop(mut self) -> i32 {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_idle_gateway_answers_and_stops_when_told() {
    let folder = folder_with(include_str!("../../../files/etc/config/tsg"));
    let gateway = Running::start(folder.path());
    let status = tsg(folder.path(), &["status"]).output().unwrap();
    assert!(status.status.success(), "{}", shown(&status));
    let fingerprint = tsg(folder.path(), &["fingerprint"]).output().unwrap();
    let fingerprint = shown(&fingerprint);
    let fingerprint = fingerprint.trim().rsplit(' ').next().unwrap();
    assert!(shown(&status).contains(fingerprint), "{}", shown(&status));

    let second = tsg(folder.path(), &["run", "--log", "stderr"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{}", shown(&second));
    assert!(shown(&second).contains("another"), "{}", shown(&second));

    assert_eq!(gateway.stop(), 0);
    let status = tsg(folder.path(), &["status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(1));
}

#[test]
fn a_wrong_configuration_is_told_once_and_whole() {
    let folder = folder_with("config tsg main\n option fail x\n option attach y\n");
    for log in ["auto", "stderr", "syslog"] {
        let ran = tsg(folder.path(), &["run", "--log", log]).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        let text = shown(&ran);
        for option in ["fail", "attach"] {
            assert_eq!(text.matches(&format!("option {option}: ")).count(), 1, "{log}: {text}");
        }
    }
    assert!(
        !folder.path().join("state").exists(),
        "nothing is made before the configuration is right"
    );
}
