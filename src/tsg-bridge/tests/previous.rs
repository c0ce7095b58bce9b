//! Today's gateway with a key server of 0.1.0, and with what later ones may say.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use previous::{
    later::Message,
    v0_1_0::{self, CommandKind, Server, ToGateway, ToServer, policy},
};
use rmpv::Value;
use serde_json::Value as Json;
use tsg_control::keys::key_text;

const PATIENCE: Duration = Duration::from_secs(30);

/// A key server of 0.1.0 on a real CURVE socket, and today's `tsg run`, whose ports are not there.
struct Pair {
    folder: tempfile::TempDir,
    socket: zmq::Socket,
    route: Vec<u8>,
    server: Server,
    /// What a later version would do to a state.
    later: Box<dyn Fn(Message) -> Message>,
    /// Answers are of this version of the protocol.
    version: u16,
    daemon: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Pair {
    /// In a network namespace of this thread and what it starts.
    fn start() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let folder = tempfile::tempdir().unwrap();
        let keys = zmq::CurveKeyPair::new().unwrap();
        let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        socket.set_curve_server(true).unwrap();
        socket.set_curve_secretkey(&keys.secret_key).unwrap();
        socket.set_linger(0).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        let config = format!(
            "config tsg main\n option server '{endpoint}'\n option server_key '{}'\n option name \
             press\nconfig bridge\n list lan none1\n option wan none2\n option device none0\n",
            key_text(&keys.public_key)
        );
        fs::create_dir(folder.path().join("config")).unwrap();
        fs::write(folder.path().join("config/tsg"), config).unwrap();
        let mut command = Self::command(&folder, &["run", "--log", "stderr"]);
        let mut daemon = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(daemon.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            lines.lines().map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
        });
        let (route, server) = (Vec::new(), Server::default());
        let later = Box::new(|state| state);
        Self { folder, socket, route, server, later, version: 1, daemon, log }
    }

    fn command(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsg"));
        command.arg("-c").arg(folder.path().join("config"));
        command.arg("--state").arg(folder.path().join("state"));
        command.arg("--run").arg(folder.path().join("run"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn say(&self, frame: &[u8]) {
        let mut message = Message::read(frame);
        if v0_1_0::read::<ToGateway>(frame).is_ok_and(|m| matches!(m, ToGateway::State(_))) {
            message = (self.later)(message);
        }
        let frame = message.with(&["v"], self.version.into()).frame();
        self.socket.send_multipart([self.route.as_slice(), &frame], 0).unwrap();
    }

    /// Answers what the gateway says, for a tenth of a second.
    fn turn(&mut self) {
        if self.socket.poll(zmq::POLLIN, 100).unwrap() > 0 {
            let frames = self.socket.recv_multipart(0).unwrap();
            self.route.clone_from(&frames[0]);
            let answers = self.server.hear(&frames[1]);
            answers.iter().for_each(|answer| self.say(answer));
        }
    }

    fn status(&self) -> Json {
        let output = Self::command(&self.folder, &["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Goes on until the gateway's status is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {status:#}\n{:#?}",
                self.log.lock().unwrap()
            );
        }
    }

    /// Says the state, from now on with a change that a later version could have made.
    fn push(&mut self, later: impl Fn(Message) -> Message + 'static) {
        self.later = Box::new(later);
        self.server.state.revision += 1;
        self.say(&self.server.push());
    }

    fn command_kind(&mut self, kind: Value) -> (bool, String) {
        let plain = ToGateway::Command { command: 5, kind: CommandKind::Rekey };
        let message = Message::read(&v0_1_0::write(&plain));
        self.server.heard.clear();
        self.say(&message.with(&["body", "command", "kind"], kind).frame());
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            for message in &self.server.heard {
                if let ToServer::Done { command: 5, ok, text } = message {
                    return (*ok, text.clone());
                }
            }
            assert!(Instant::now() < deadline, "no answer");
        }
    }

    fn said(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn has_alarm(status: &Json, text: &str) -> bool {
    let alarms = status["alarms"].as_array().into_iter().flatten();
    alarms.filter_map(Json::as_str).any(|alarm| alarm.contains(text))
}

#[test]
#[ignore = "needs root: it makes a network namespace"]
fn a_gateway_of_today_lives_with_a_server_of_0_1_0() {
    let mut pair = Pair::start();
    let status = pair.until("it seals", |s| s["state"] == "sealing" && s["policy"] == 1);
    assert_eq!((&status["group"], &status["name"]), (&"plant".into(), &"press".into()));
    assert_eq!(
        (status["mode"].as_str(), status["fail"].as_str()),
        (Some("enforce"), Some("closed"))
    );
    pair.server.rekey();
    pair.say(&pair.server.push());
    pair.until("it follows a rekey", |s| s["epoch"] == 2);
    pair.server.state.policies = vec![policy(2, "drop", "migrate")];
    pair.push(|state| state);
    pair.until("it follows a policy", |s| s["policy"] == 2 && s["mode"] == "migrate");
    let (ok, text) = pair.command_kind("diagnostics".into());
    assert!(ok && text.contains("\"group\":\"plant\""), "{text}");
    let holds = pair.server.heard.iter().rev().find_map(|message| match message {
        ToServer::Heartbeat { holds, revision, .. } => Some((holds.clone(), *revision)),
        ToServer::Register { .. } | ToServer::Report { .. } | ToServer::Done { .. } => None,
    });
    if let Some((holds, _)) = holds {
        assert_eq!(holds.last().unwrap().check, v0_1_0::check(&[2; 32]));
    }
    let refused =
        ToGateway::Refused { request: 0, reason: "box died".to_owned(), revoked: true, retry: 60 };
    pair.say(&v0_1_0::write(&refused));
    pair.until("it is thrown out", |s| has_alarm(s, "thrown out of the group: box died"));
}

#[test]
#[ignore = "needs root: it makes a network namespace"]
fn what_a_later_server_says_is_obeyed_as_far_as_it_is_understood() {
    let mut pair = Pair::start();
    pair.until("it seals", |s| s["state"] == "sealing" && s["policy"] == 1);
    // A policy that it cannot follow, with the next epoch.
    pair.server.state.policies = vec![policy(2, "encrypt", "enforce")];
    pair.server.rekey();
    let rule = ["body", "state", "policies", "0", "policy", "rules", "0"];
    pair.push(move |state| state.with_field(&rule, "vlan", 7.into()).with_fields().0);
    let alarm = "policy 2 is not followed, the last one stays in force";
    let status = pair.until("an alarm", |s| has_alarm(s, alarm));
    assert_eq!((status["epoch"].as_u64(), status["policy"].as_u64()), (Some(2), Some(1)));
    assert_eq!((status["state"].as_str(), pair.said(alarm)), (Some("sealing"), 1));
    let kept = fs::read_to_string(pair.folder.path().join("state/policy.json")).unwrap();
    assert!(kept.contains("\"version\": 1"), "{kept}");
    // An epoch that it cannot use.
    pair.server.rekey();
    let cipher = ["body", "state", "epochs", "2", "keys", "suite"];
    pair.push(move |state| state.with(&cipher, "aegis-256".into()));
    let status = pair.until("an alarm", |s| has_alarm(s, "epoch 3 cannot be used"));
    assert_eq!((status["epoch"].as_u64(), status["policy"].as_u64()), (Some(2), Some(2)));
    assert!(!has_alarm(&status, alarm), "2 has nothing unknown in it this time");
    // Commands and messages that nobody knows.
    let (ok, text) = pair.command_kind("dance".into());
    assert!(!ok && text.contains("does not know the command \"dance\""), "{text}");
    let weather = Value::Map(vec![("weather".into(), Value::Map(Vec::new()))]);
    let message = Message::read(&pair.server.push()).with(&["body"], weather).frame();
    (0..5).for_each(|_| pair.say(&message));
    pair.push(|state| state);
    pair.until("it goes on", |s| s["epoch"] == 3 && s["alarms"].as_array().unwrap().len() < 2);
    assert_eq!(pair.said("\"weather\", which this version does not know: ignored"), 1);
}

#[test]
#[ignore = "needs root: it makes a network namespace"]
fn a_server_of_another_version_is_an_alarm() {
    let mut pair = Pair::start();
    pair.until("it seals", |s| s["state"] == "sealing");
    pair.version = 2;
    pair.push(|state| state);
    pair.push(|state| state);
    let alarm = "the key server speaks version 2 of the protocol, this gateway version 1: upgrade this gateway";
    let status = pair.until("an alarm", |s| has_alarm(s, alarm));
    assert_eq!(status["state"], "sealing", "with the keys at hand");
    assert_eq!(pair.said("protocol version 2, this program speaks 1"), 1);
    pair.version = 1;
    pair.push(|state| state);
    pair.until("no alarm", |s| !has_alarm(s, "of the protocol"));
}
