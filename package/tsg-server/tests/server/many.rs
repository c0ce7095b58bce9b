//! Ten thousand messages over one connection; the predecessor lost it after 127.

use super::daemon::{Daemon, PATIENCE};
use super::gateway::members;
use std::collections::BTreeSet;
use std::time::Instant;
use tsg_control::message::{Heartbeat, MAX_FRAME, ToGateway, ToServer, decode, encode};

const MESSAGES: u64 = 10_000;

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
        let window: BTreeSet<u64> = missing.iter().copied().take(100).collect();
        for &request in &window {
            let heartbeat = Heartbeat { request, ..beat.clone() };
            socket.send(encode(&ToServer::Heartbeat(heartbeat)).as_slice(), 0).unwrap();
        }
        let mut answered = 0;
        while answered < window.len() && socket.poll(zmq::POLLIN, 200).unwrap() > 0 {
            let frame = socket.recv_bytes(0).unwrap();
            if let ToGateway::Pulse(pulse) = decode(&frame, MAX_FRAME).unwrap() {
                answered += usize::from(missing.remove(&pulse.request));
            }
        }
    }
    let connections = daemon.log().iter().filter(|line| line.contains("may connect")).count();
    assert!(connections <= 1, "{connections} connections");
    println!("{MESSAGES} messages");
}
