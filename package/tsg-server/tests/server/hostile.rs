//! Frames that no gateway sends, from peers with keys and without.

use super::daemon::{Daemon, PATIENCE, PROGRAM, Place};
use super::gateway::{TestGateway, dealer, members};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use tsg_control::gateway::Standing;
use tsg_control::message::{Heartbeat, Register, ToGateway, ToServer, encode};
use tsg_zmtp::Keys;
use tsg_zmtp::client::Client;

/// The member is answered, whatever the others do.
fn still_answers(gateway: &mut TestGateway, request: u64) {
    gateway.say(&ToServer::Heartbeat(Heartbeat { request, ..gateway.heartbeat() }));
    gateway.until("a pulse", |g| {
        g.heard.iter().any(|m| matches!(m, ToGateway::Pulse(pulse) if pulse.request == request))
    });
}

fn dropped(status: &Value, reason: &str) -> u64 {
    status["dropped"][reason].as_u64().unwrap_or(0)
}

#[test]
fn bad_frames_are_counted_and_harm_nobody() {
    let daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump", "hostile"]);
    let mut hostile = gateways.pop().unwrap();
    let mut pump = gateways.pop().unwrap();
    let good = encode(&ToServer::Heartbeat(Heartbeat { request: 5, ..Heartbeat::default() }));
    let mut newer = good.to_vec();
    let at = newer.iter().position(|&b| b == b'v').unwrap();
    newer[at + 1] = 99;

    let raw = &hostile.socket;
    raw.send("", 0).unwrap();
    raw.send("not MessagePack", 0).unwrap();
    raw.send(&good[..good.len() - 3], 0).unwrap();
    raw.send([0xdd, 0xff, 0xff, 0xff, 0xff].as_slice(), 0).unwrap();
    raw.send([0x81; 60_000].as_slice(), 0).unwrap();
    raw.send(newer, 0).unwrap();
    raw.send_multipart([good.as_slice(), good.as_slice()], 0).unwrap();
    raw.send_multipart(vec!["x"; 100], 0).unwrap();
    still_answers(&mut hostile, 1 << 40);
    still_answers(&mut pump, 1 << 40);
    let status = daemon.ask(&["status"]);
    assert_eq!(dropped(&status, "malformed"), 5, "{status}");
    assert_eq!(dropped(&status, "other version"), 1, "{status}");
    assert_eq!(dropped(&status, "several frames"), 2, "{status}");

    // Too long to be read at all: the connection is cut, and made anew.
    hostile.socket.send(vec![0x90; 100_000], 0).unwrap();
    still_answers(&mut pump, 2 << 40);
    hostile.reconnected();
    hostile.until_member();
}

#[test]
fn floods_are_limited_by_key() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let context = zmq::Context::new();
    let flood = dealer(&context, &daemon, &zmq::CurveKeyPair::new().unwrap());
    flood.connect(&daemon.endpoint).unwrap();
    flood.set_sndhwm(100_000).unwrap();
    let message = encode(&ToServer::Heartbeat(Heartbeat { request: 9, ..Heartbeat::default() }));
    for _ in 0..5_000 {
        flood.send(message.as_slice(), 0).unwrap();
    }
    for request in 1..20_u64 {
        still_answers(&mut pump, request << 40);
    }
    pump.until("the flood is seen", |_| {
        dropped(&daemon.ask(&["status"]), "too many messages") > 1_000
    });
}

#[test]
fn messages_of_several_frames_are_limited_by_key() {
    let daemon = Daemon::start();
    let context = zmq::Context::new();
    let flood = dealer(&context, &daemon, &zmq::CurveKeyPair::new().unwrap());
    flood.connect(&daemon.endpoint).unwrap();
    for _ in 0..90 {
        flood.send_multipart(["x", "x"], 0).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = daemon.ask(&["status"]);
        let [several, many] =
            ["several frames", "too many messages"].map(|why| dropped(&status, why));
        if several + many == 90 {
            assert!(many > 20, "{status}");
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
    }
}

#[test]
fn one_stranger_does_not_silence_the_others() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let context = zmq::Context::new();
    let flood = dealer(&context, &daemon, &zmq::CurveKeyPair::new().unwrap());
    flood.connect(&daemon.endpoint).unwrap();
    let message = encode(&ToServer::Heartbeat(Heartbeat { request: 9, ..Heartbeat::default() }));
    let mut waiting = TestGateway::connect(&daemon, "pump", None);
    waiting.until("pending", |g| {
        while flood.send(message.as_slice(), zmq::DONTWAIT).is_ok() {}
        *g.machine.standing() == Standing::Pending && g.heard.len() > 2
    });
    let status = daemon.ask(&["status"]);
    assert!(dropped(&status, "too many messages") > 2_000, "{status}");
    assert_eq!(dropped(&status, "too many strangers"), 0, "{status}");
}

#[test]
fn one_member_has_few_connections() {
    let daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump", "hostile"]);
    let mut hostile = gateways.pop().unwrap();
    let mut pump = gateways.pop().unwrap();
    let register = json!({"request": 7, "process": 7, "senders": 1});
    let register = ToServer::Register(serde_json::from_value::<Register>(register).unwrap());
    // Each with a context of its own, so that they are connections of their own.
    let greedy: Vec<_> = (0..20).map(|_| hostile.again(&daemon)).collect();
    pump.until("too many registrations", |_| {
        for socket in &greedy {
            let _ = socket.send(encode(&register).as_slice(), zmq::DONTWAIT);
        }
        let status = daemon.ask(&["status"]);
        // Newer ones take the place of older ones.
        assert!(status["connections"].as_u64().unwrap() <= 4, "{status}");
        dropped(&status, "too many registrations") > 0
    });
    still_answers(&mut pump, 1 << 40);
    // When those are gone, another one is answered.
    drop(greedy);
    hostile.restart(&daemon, None);
    hostile.until_member();
}

/// A server that may have few files open: 80 connections.
fn with_few_files() -> Daemon {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 320; exec \"$0\" \"$@\"", PROGRAM]);
    Daemon::start_by(Place::new(), command)
}

#[test]
fn strangers_leave_room_for_members() {
    let mut daemon = with_few_files();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    // They connect, and say nothing.
    let context = zmq::Context::new();
    let mut strangers = Vec::new();
    for _ in 0..400 {
        let socket = dealer(&context, &daemon, &zmq::CurveKeyPair::new().unwrap());
        socket.set_reconnect_ivl(1_000).unwrap();
        socket.connect(&daemon.endpoint).unwrap();
        strangers.push(socket);
    }
    daemon.wait_log("raise the limit");
    still_answers(&mut pump, 1 << 40);
    pump.restart(&daemon, None);
    pump.until_member();
    let status = daemon.ask(&["status"]);
    assert_eq!(status["online"], 1);
    assert!(status["connections"].as_u64().unwrap() <= 80, "{status}");
}

#[test]
fn who_says_nothing_or_one_byte_at_a_time_goes_first() {
    let daemon = with_few_files();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let address = daemon.endpoint.strip_prefix("tcp://").unwrap();
    // A stranger that is through the handshake holds nothing up that members need.
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    still_answers(&mut pump, 1 << 40);
    pump.restart(&daemon, None);
    pump.until_member();
    // Within the time of a handshake all of them are cut off, those that go on saying something, too.
    let mut slow = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    let greeting =
        [&[0xff_u8, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1][..], b"CURVE", &[0; 47]].concat();
    let ended = greeting.iter().position(|byte| {
        std::thread::sleep(Duration::from_millis(250));
        slow.write_all(&[*byte]).is_err()
    });
    assert!(ended.is_some() && began.elapsed() < Duration::from_secs(12), "{ended:?}");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(stream.read_to_end(&mut Vec::new()).is_ok_and(|length| length <= 64));
    }
}

#[test]
fn strangers_with_halves_of_messages_take_little_memory() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let address = daemon.endpoint.strip_prefix("tcp://").unwrap();
    let key = daemon.key.0;
    let mut strangers: Vec<_> = (0..1_500).map(|_| Half::connect(address, &key)).collect();
    let begin = memory_kb(&daemon);
    let (long, short) = strangers.split_at_mut(750);
    long.iter_mut().for_each(|stranger| stranger.say_half_of(60_000));
    short.iter_mut().for_each(|stranger| stranger.say_half_of(8_000));
    still_answers(&mut pump, 1 << 40);
    // Whose message is that long is cut off; the others may still say the rest.
    for stranger in long {
        stranger.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ended = stranger.stream.read(&mut [0; 8]);
        assert!(
            !matches!(ended, Ok(1..)) && !ended.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
        );
    }
    let now = memory_kb(&daemon);
    println!("{begin} kB before, {now} kB now");
    // They have said 50 MB.
    assert!(now < begin + 25_000, "{begin} kB before, {now} kB now");
    assert_eq!(daemon.ask(&["status"])["connections"], 751);
}

fn memory_kb(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A stranger that says a message in part.
struct Half {
    stream: TcpStream,
    client: Client,
}

impl Half {
    fn connect(address: &str, server: &[u8; 32]) -> Self {
        let pair = zmq::CurveKeyPair::new().unwrap();
        let keys = Keys { server, public: &pair.public_key, secret: &pair.secret_key };
        let mut client = Client::begin(&keys, 4_096).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let mut chunk = [0; 1_024];
        while !client.is_open() {
            let said = client.output().len();
            stream.write_all(client.output()).unwrap();
            client.written(said);
            let length = stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the server closes the connection");
            client.hear(&chunk[..length]);
            client.next(&keys).unwrap();
        }
        Self { stream, client }
    }

    fn say_half_of(&mut self, length: usize) {
        self.client.say(&vec![0; length]);
        let said = self.client.output();
        // It may be cut off by now.
        let _ = self.stream.write_all(&said[..said.len() - 1]);
    }
}

#[test]
fn without_curve_nobody_gets_in() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let address = daemon.endpoint.strip_prefix("tcp://").unwrap();
    let openings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL",
        &[0xff; 4096],
        &[0; 4096],
    ];
    let mut strangers = Vec::new();
    for opening in openings {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(opening).unwrap();
        strangers.push(stream);
    }
    // A whole handshake, but without a key, and with the wrong server key.
    let context = zmq::Context::new();
    let plain = context.socket(zmq::DEALER).unwrap();
    plain.set_linger(0).unwrap();
    plain.connect(&daemon.endpoint).unwrap();
    plain.send("hello", 0).unwrap();
    let pair = zmq::CurveKeyPair::new().unwrap();
    let wrong = dealer(&context, &daemon, &pair);
    wrong.set_curve_serverkey(&pair.public_key).unwrap();
    wrong.connect(&daemon.endpoint).unwrap();
    wrong.send("hello", 0).unwrap();
    for request in 1..5_u64 {
        still_answers(&mut pump, request << 40);
    }
    let status = daemon.ask(&["status"]);
    assert_eq!(status["connections"], 1, "{status}");
    assert_eq!(status["pending"].as_array().unwrap().len(), 0);
    for mut stream in strangers {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 200, "{} bytes", answer.len());
    }
}

#[test]
fn who_does_not_read_keeps_nobody_waiting() {
    let daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump", "deaf"]);
    let deaf = gateways.pop().unwrap();
    let mut pump = gateways.pop().unwrap();
    // From now on it takes a message and a few bytes.
    deaf.socket.disconnect(&daemon.endpoint).unwrap();
    deaf.socket.set_rcvhwm(1).unwrap();
    deaf.socket.set_rcvbuf(2_048).unwrap();
    deaf.socket.connect(&daemon.endpoint).unwrap();
    let rule =
        |n| json!({"action": "encrypt", "name": "x".repeat(60), "dest_ip": format!("192.0.2.{n}")});
    let rules: Vec<Value> = (0..250).map(rule).collect();
    let operation = json!({"policy_set": {"group": "plant", "rules": rules}});
    let mut client = daemon.admin();
    let mut slow = 0;
    for request in 1..2_000_u64 {
        assert!(client.ask(&operation).unwrap()["ok"].is_object());
        deaf.say(&ToServer::Heartbeat(Heartbeat { request, ask: true, ..deaf.heartbeat() }));
        pump.turn();
        let status = client.ask(&json!({"status": {}})).unwrap();
        slow = dropped(&status["ok"]["value"], "slow reader");
        if slow > 0 {
            println!("{request} policies");
            break;
        }
    }
    assert!(slow > 0);
    still_answers(&mut pump, 1 << 40);
}
