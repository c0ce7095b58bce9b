//! The PUB socket: for members, without secrets.

use super::daemon::{Daemon, PATIENCE};
use super::gateway::members;
use std::time::Instant;
use tsg_control::keys::PublicKey;
use tsg_control::message::{Announcement, MAX_FRAME, decode};

fn subscriber(daemon: &Daemon, context: &zmq::Context, pair: &zmq::CurveKeyPair) -> zmq::Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_curve_serverkey(&daemon.key.0).unwrap();
    socket.set_curve_publickey(&pair.public_key).unwrap();
    socket.set_curve_secretkey(&pair.secret_key).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_subscribe(b"plant").unwrap();
    socket.connect(daemon.ask(&["status"])["publish"].as_str().unwrap()).unwrap();
    socket
}

#[test]
fn members_hear_of_epochs_and_strangers_do_not() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let context = zmq::Context::new();
    let monitor = zmq::CurveKeyPair::new().unwrap();
    let key = PublicKey(monitor.public_key).to_string();
    daemon.ask(&["gateway", "approve", &key, "--group", "plant"]);
    let hears = subscriber(&daemon, &context, &monitor);
    let stranger = subscriber(&daemon, &context, &zmq::CurveKeyPair::new().unwrap());
    // A subscription takes a moment, and PUB keeps nothing for those who come late.
    let deadline = Instant::now() + PATIENCE;
    let frames = loop {
        assert!(Instant::now() < deadline, "nothing is announced: {:#?}", daemon.into_log());
        daemon.ask(&["rekey", "plant"]);
        pump.turn();
        if hears.poll(zmq::POLLIN, 50).unwrap() > 0 {
            break hears.recv_multipart(0).unwrap();
        }
    };
    assert_eq!(frames[0], b"plant");
    let said: Announcement = decode(&frames[1], MAX_FRAME).unwrap();
    assert_eq!(said.group, "plant");
    assert!(said.epoch > 0 && said.policy > 0);
    assert_eq!(stranger.poll(zmq::POLLIN, 0).unwrap(), 0);
    // Who is thrown out hears nothing more.
    hears.monitor("inproc://hears", zmq::SocketEvent::DISCONNECTED as i32).unwrap();
    let ends = context.socket(zmq::PAIR).unwrap();
    ends.connect("inproc://hears").unwrap();
    daemon.ask(&["gateway", "revoke", &key, "--reason", "lost"]);
    let patience = i64::try_from(PATIENCE.as_millis()).unwrap();
    assert_eq!(ends.poll(zmq::POLLIN, patience).unwrap(), 1, "it is still connected");
}
