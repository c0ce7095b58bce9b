//! Ten thousand messages over one connection; the predecessor lost it after 127.

use super::daemon::{Daemon, PATIENCE};
use super::gateway::members;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};
use tsg_control::message::{Heartbeat, MAX_FRAME, ToGateway, ToServer, decode, encode};

const MESSAGES: u64 = 10_000;

fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

#[test]
fn ten_thousand_messages() {
    let daemon = Daemon::start();
    let gateway = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let beat = gateway.heartbeat();
    let socket = &gateway.socket;
    let mut missing: BTreeSet<u64> = (1..=MESSAGES).collect();
    let deadline = Instant::now() + 2 * PATIENCE;
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "{} are missing", missing.len());
        // What the limit on messages eats is asked again.
        let window: BTreeSet<u64> = missing.iter().copied().take(16).collect();
        let mut asked = BTreeMap::new();
        for &request in &window {
            asked.insert(request, wall_clock());
            let heartbeat = Heartbeat { request, ..beat.clone() };
            socket.send(encode(&ToServer::Heartbeat(heartbeat)).as_slice(), 0).unwrap();
        }
        let mut answered = 0;
        while answered < window.len() && socket.poll(zmq::POLLIN, 200).unwrap() > 0 {
            let frame = socket.recv_bytes(0).unwrap();
            if let ToGateway::Pulse(pulse) = decode(&frame, MAX_FRAME).unwrap() {
                // The server's time is that of an instant between question and answer.
                let now = pulse.time.now;
                let then = asked.get(&pulse.request).copied().unwrap_or(0);
                assert!(now + 2 >= then, "{now} is before {then}");
                assert!(now <= wall_clock() + 2);
                answered += usize::from(missing.remove(&pulse.request));
            }
        }
    }
    let connections = daemon.log().iter().filter(|line| line.contains("may connect")).count();
    assert!(connections <= 1, "{connections} connections");
    println!("{MESSAGES} messages");
}
