//! `tsg run` from outside: an idle gateway, one with a wrong configuration, and two on the same folders.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, unshare},
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

fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", shown(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// Waits until `ethtool -k` says so.
fn becomes(port: &str, feature: &str, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = format!("{feature}: {expected}");
    loop {
        let all = sh(&format!("ethtool -k {port}"));
        if all.lines().any(|line| line.trim() == wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{port} never has {wanted}: {all}");
        thread::yield_now();
    }
}

fn ask(folder: &Path, method: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(folder.join("run/tsg.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    writeln!(stream, "{{\"method\":\"{method}\"}}").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
#[ignore = "needs root, ip and ethtool"]
fn offloads_follow_the_configuration_and_come_back() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let make = "ip link add lan1 type veth peer name wan; ethtool -K lan1 gro on rx-gro-list off";
    sh(make);
    let config = |option: &str| {
        format!("config tsg main\nconfig port x\n option device lan1\n option {option}\n")
    };
    let folder = folder_with(&config("gro 0"));
    let gateway = Running::start(folder.path());
    becomes("lan1", "generic-receive-offload", "off");

    fs::write(folder.path().join("config/tsg"), config("rx_gro_list 1")).unwrap();
    kill(Pid::from_raw(gateway.0.id() as i32), Signal::SIGHUP).unwrap();
    becomes("lan1", "generic-receive-offload", "on");
    becomes("lan1", "rx-gro-list", "on");

    sh(&format!("ip link del lan1; {make}"));
    becomes("lan1", "rx-gro-list", "on");
    let ports = ask(folder.path(), "ports");
    let lan1 = ports["ports"].as_array().unwrap().iter().find(|port| port["name"] == "lan1");
    let list = serde_json::json!({ "on": true, "fixed": false, "wanted": true });
    assert_eq!(lan1.unwrap()["offloads"]["rx_gro_list"], list);

    // Somebody changes it by hand.
    sh("ethtool -K lan1 rx-gro-list off");
    becomes("lan1", "rx-gro-list", "on");

    // The hotplug script comes at the same time, and what was there first is still known.
    let script = tsg(folder.path(), &["offloads"]).output().unwrap();
    assert!(script.status.success(), "{}", shown(&script));
    assert_eq!(gateway.stop(), 0);
    becomes("lan1", "rx-gro-list", "off");
    becomes("lan1", "generic-receive-offload", "on");
}

#[test]
fn the_daemon_and_the_command_find_the_same() {
    let folder = folder_with("config tsg main\n option colour red\n");
    let gateway = Running::start(folder.path());
    let check = tsg(folder.path(), &["check", "--json"]).output().unwrap();
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    let kinds = |found: &serde_json::Value| -> Vec<(String, String)> {
        let text = |check: &serde_json::Value, name: &str| check[name].as_str().unwrap().to_owned();
        let checks = found["checks"].as_array().unwrap().iter();
        checks.map(|check| (text(check, "grade"), text(check, "what"))).collect()
    };
    let preflight = ask(folder.path(), "preflight");
    assert!(kinds(&check).contains(&("warning".to_owned(), "configuration".to_owned())));
    assert!(kinds(&check).iter().any(|(_, what)| what == "flash"));
    assert_eq!(kinds(&check), kinds(&preflight));
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn a_set_up_that_nobody_confirmed_before_the_box_went_off_is_undone_at_the_start() {
    let before = "config tsg main\n";
    let folder = folder_with("config tsg main\n option name 'locked out'\n");
    fs::write(folder.path().join("config/network"), "config interface lan\n").unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let kept = serde_json::json!({
        "deadline": { "boot": "the one before", "at_ms": u64::MAX },
        "files": [
            { "name": "network", "before": "", "after": "config interface lan\n" },
            { "name": "tsg", "before": before, "after": "config tsg main\n option name 'locked out'\n" },
        ],
    });
    fs::write(state.join("setup.json"), kept.to_string()).unwrap();
    let gateway = Running::start(folder.path());
    assert_eq!(fs::read_to_string(folder.path().join("config/tsg")).unwrap(), before);
    assert_eq!(fs::read_to_string(folder.path().join("config/network")).unwrap(), "");
    assert!(!state.join("setup.json").exists());
    assert_eq!(gateway.stop(), 0);
}
