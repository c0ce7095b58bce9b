//! A secret goes over CURVE, both ends in this process: nothing of it is left.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use traces::Traces;
use tsg_zmq::{receive, send, wipes_freed_memory};
use zeroize::Zeroizing;

/// The C library keeps short blocks that are freed for the thread, and long ones for all.
const LENGTHS: [usize; 2] = [600, 1_200];

/// A frame with a secret in it, and what to look for.
fn frame(length: usize) -> (Zeroizing<Vec<u8>>, Traces) {
    tsg_sodium::init().unwrap();
    let mut frame = Zeroizing::new(vec![0; length]);
    tsg_sodium::random(&mut frame[200..232]);
    let traces = Traces::of(&frame[200..232]);
    (frame, traces)
}

/// Two ends of one CURVE connection: who sends, who receives.
fn connected(context: &zmq::Context) -> (zmq::Socket, zmq::Socket) {
    let (server, client) = (zmq::CurveKeyPair::new().unwrap(), zmq::CurveKeyPair::new().unwrap());
    let to = context.socket(zmq::ROUTER).unwrap();
    to.set_curve_server(true).unwrap();
    to.set_curve_secretkey(&server.secret_key).unwrap();
    to.set_rcvtimeo(10_000).unwrap();
    to.bind("tcp://127.0.0.1:*").unwrap();
    let from = context.socket(zmq::DEALER).unwrap();
    from.set_curve_serverkey(&server.public_key).unwrap();
    from.set_curve_publickey(&client.public_key).unwrap();
    from.set_curve_secretkey(&client.secret_key).unwrap();
    from.set_sndtimeo(10_000).unwrap();
    from.connect(&to.get_last_endpoint().unwrap().unwrap()).unwrap();
    (from, to)
}

#[test]
fn a_frame_leaves_nothing_on_either_end() {
    assert!(wipes_freed_memory());
    let context = zmq::Context::new();
    let (mut from, to) = connected(&context);
    let rounds = 3 * LENGTHS.len();
    for (round, length) in LENGTHS.into_iter().cycle().take(rounds).enumerate() {
        let (frame, traces) = frame(length);
        assert_eq!(traces.count(), 4, "round {round}: the search must find what is there");
        send(&mut from, frame, 0).unwrap();
        let route = receive(&to, 0).unwrap();
        assert!(route.more());
        let frame = receive(&to, 0).unwrap();
        assert!(!frame.more() && frame.len() == length && frame[200..232] != [0; 32]);
        assert_eq!(traces.count(), 4, "round {round}: more than what was received is left");
        drop(frame);
        assert_eq!(traces.count(), 0, "round {round}");
    }
    println!("{rounds} frames");
}

#[test]
fn what_cannot_be_sent_is_wiped() {
    let context = zmq::Context::new();
    let mut socket = context.socket(zmq::DEALER).unwrap();
    let (frame, traces) = frame(LENGTHS[0]);
    assert_eq!(send(&mut socket, frame, zmq::DONTWAIT), Err(zmq::Error::EAGAIN));
    assert_eq!(traces.count(), 0);
}

#[test]
fn what_waits_when_the_socket_closes_is_wiped() {
    let context = zmq::Context::new();
    let mut socket = context.socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect("tcp://127.0.0.1:1").unwrap();
    let (frame, traces) = frame(LENGTHS[0]);
    send(&mut socket, frame, zmq::DONTWAIT).unwrap();
    assert_eq!(traces.count(), 4);
    drop(socket);
    drop(context);
    assert_eq!(traces.count(), 0);
}
