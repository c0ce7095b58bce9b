//! The link against real ZeroMQ, and against what somebody on the path makes of it.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tsg_control::message::Done;

/// A key server that answers nothing, and where it listens.
fn server(context: &zmq::Context, identity: &Identity) -> (zmq::Socket, Endpoint) {
    let socket = context.socket(zmq::ROUTER).unwrap();
    socket.set_curve_server(true).unwrap();
    socket.set_curve_secretkey(identity.secret().bytes()).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let address = socket.get_last_endpoint().unwrap().unwrap();
    (socket, address.parse().unwrap())
}

/// Takes turns until it tells of what is looked for, in ten seconds.
fn until(link: &mut Link, gateway: &Identity, mut found: impl FnMut(&Link, &Received) -> bool) {
    let began = Instant::now();
    let now = || 1_000 + began.elapsed().as_millis() as u64;
    while now() < 11_000 {
        let received = link.turn(gateway, now());
        if found(link, &received) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("it does not happen; {:?}", link.trouble());
}

fn connects(link: &mut Link, gateway: &Identity) {
    until(link, gateway, |_, received| received.connected);
    assert_eq!(link.trouble(), None);
}

fn done() -> ToServer {
    ToServer::Done(Done { command: 1, ok: true, text: String::new() })
}

#[test]
fn it_goes_round_the_servers() {
    tsg_sodium::init().unwrap();
    let (gateway, key) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let context = zmq::Context::new();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent: Endpoint = silent.local_addr().unwrap().to_string().parse().unwrap();
    let (one, first) = server(&context, &key);
    let (two, second) = server(&context, &key);
    let mut link = Link::open(&[silent, first.clone(), second.clone()], *key.public()).unwrap();
    for (socket, endpoint) in [(&one, &first), (&two, &second)] {
        assert!(link.next_server());
        assert_eq!(link.server(), Some(endpoint));
        connects(&mut link, &gateway);
        link.send(&done());
        socket.set_rcvtimeo(10_000).unwrap();
        assert_eq!(socket.recv_multipart(0).unwrap().len(), 2, "{endpoint}");
    }
    assert!(link.next_server() && link.next_server());
    connects(&mut link, &gateway);
}

#[test]
fn a_server_with_another_key_breaks_off() {
    tsg_sodium::init().unwrap();
    let [gateway, key, other] = [(); 3].map(|()| Identity::generate().unwrap());
    let context = zmq::Context::new();
    let (_socket, endpoint) = server(&context, &key);
    let mut link = Link::open(&[endpoint], *other.public()).unwrap();
    let mut broken_off = 0;
    until(&mut link, &gateway, |_, received| {
        assert!(!received.connected);
        broken_off += received.broken_off;
        broken_off == 2
    });
}

#[test]
fn nobody_there_is_no_broken_connection_and_is_told_with_its_reason() {
    tsg_sodium::init().unwrap();
    let gateway = Identity::generate().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut link = Link::open(&[free.to_string().parse().unwrap()], *gateway.public()).unwrap();
    until(&mut link, &gateway, |link, received| {
        assert_eq!(received.broken_off, 0);
        link.pause >= 1_000
    });
    assert_eq!(link.trouble(), Some("Connection refused"));
}

#[test]
fn who_takes_the_connection_and_says_nothing_is_left_after_a_while() {
    tsg_sodium::init().unwrap();
    let gateway = Identity::generate().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap().to_string().parse().unwrap();
    let mut link = Link::open(&[endpoint], *gateway.public()).unwrap();
    link.turn(&gateway, 0);
    let _stream = accepted(&silent);
    assert_eq!((link.turn(&gateway, 9_999).broken_off, link.trouble()), (0, None));
    assert_eq!(link.due(), 10_000);
    assert_eq!(link.turn(&gateway, 10_000).broken_off, 0);
    assert_eq!(link.trouble(), Some("it takes the connection and says nothing"));
    assert!((10_250..=10_375).contains(&link.due()), "{}", link.due());
}

#[test]
fn a_server_that_falls_silent_is_asked_and_then_left() {
    tsg_sodium::init().unwrap();
    let (gateway, key) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let context = zmq::Context::new();
    let (_socket, endpoint) = server(&context, &key);
    let mut link = Link::open(&[endpoint], *key.public()).unwrap();
    connects(&mut link, &gateway);
    let heard = |link: &Link| link.due() - 5_000;
    let first = heard(&link);
    // Its answer to the ping counts as heard.
    link.turn(&gateway, first + 5_000);
    let deadline = Instant::now() + Duration::from_secs(10);
    while heard(&link) != first + 5_001 {
        assert!(Instant::now() < deadline, "no answer to a ping");
        link.turn(&gateway, first + 5_001);
    }
    let heard = first + 5_001;
    link.turn(&gateway, heard + 14_999);
    assert_eq!(link.trouble(), None);
    link.turn(&gateway, heard + 15_000 + 15_000);
    // What arrived meanwhile is a sign of life, too.
    link.turn(&gateway, heard + 60_000);
    assert_eq!(link.trouble(), Some("it gives no sign of life"));
}

/// What somebody on the path can answer in the key server's place, beginning with a ZMTP greeting.
fn greeted(answer: &[u8]) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend(b"CURVE");
    greeting.resize(64, 0);
    greeting[32] = 1;
    greeting.extend(answer);
    greeting
}

fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "nobody connects: {error}"),
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn who_says_what_no_key_server_would_costs_one_connection() {
    tsg_sodium::init().unwrap();
    let [gateway, key] = [(); 2].map(|()| Identity::generate().unwrap());
    let welcome = [&[4, 168, 7][..], b"WELCOME", &[9; 160]].concat();
    let refusal = [&[4, 10, 5][..], b"ERROR\x03400"].concat();
    let answers = [
        (b"HTTP/1.1 400 Bad Request\r\n".repeat(9), "it does not speak ZeroMQ"),
        (greeted(&welcome), "not made with the right key: WELCOME"),
        (greeted(&refusal), "it refuses this gateway (\"400\")"),
        (vec![0; 64], "it does not speak ZeroMQ"),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let mut link = Link::open(std::slice::from_ref(&endpoint), *key.public()).unwrap();
    for (answer, why) in &answers {
        link.reconnect();
        until(&mut link, &gateway, |link, _| link.wire.is_some());
        accepted(&listener).write_all(answer).unwrap();
        until(&mut link, &gateway, |_, received| {
            assert!(!received.connected);
            received.broken_off == 1
        });
        assert_eq!(link.trouble(), Some(*why));
    }
    drop(listener);
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).unwrap();
    socket.set_curve_server(true).unwrap();
    socket.set_curve_secretkey(key.secret().bytes()).unwrap();
    socket.bind(&endpoint.to_string()).unwrap();
    connects(&mut link, &gateway);
    assert_eq!(link.pause, 0);
}

#[test]
fn a_publisher_is_not_taken_for_the_key_server() {
    tsg_sodium::init().unwrap();
    let [gateway, key] = [(); 2].map(|()| Identity::generate().unwrap());
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUB).unwrap();
    socket.set_curve_server(true).unwrap();
    socket.set_curve_secretkey(key.secret().bytes()).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap().parse().unwrap();
    let mut link = Link::open(&[endpoint], *key.public()).unwrap();
    until(&mut link, &gateway, |_, received| {
        assert!(!received.connected);
        received.broken_off > 0
    });
}

#[test]
fn long_messages_pass_both_ways() {
    tsg_sodium::init().unwrap();
    let (gateway, key) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let context = zmq::Context::new();
    let (socket, endpoint) = server(&context, &key);
    socket.set_rcvtimeo(10_000).unwrap();
    let mut link = Link::open(&[endpoint], *key.public()).unwrap();
    connects(&mut link, &gateway);
    for len in [0, 190, 60_000] {
        let text = "x".repeat(len);
        link.send(&ToServer::Done(Done { command: 1, ok: true, text }));
        let deadline = Instant::now() + Duration::from_secs(10);
        let frames = loop {
            link.turn(&gateway, 1_000);
            match socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => break frames,
                Err(error) => assert!(Instant::now() < deadline, "{len} bytes: {error}"),
            }
        };
        assert!(frames[1].len() > len);
        socket.send_multipart([&frames[0], &vec![0xc1; len * 4 + 1]], 0).unwrap();
        until(&mut link, &gateway, |_, received| received.unreadable.len() == 1);
    }
}

#[test]
fn one_server_alone_stays() {
    let server: Endpoint = "tcp://127.0.0.1:1".parse().unwrap();
    let key = Identity::generate().unwrap();
    assert!(!Link::open(&[server], *key.public()).unwrap().next_server());
}

/// A way to `server` on which, once the flag is set, every answer passes twice. Gives where it begins.
fn echoing(server: Endpoint) -> (Endpoint, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let echo = Arc::new(AtomicBool::new(false));
    let twice = Arc::clone(&echo);
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect((server.host(), server.port())).unwrap();
            let ends = [&near, &far].map(|stream| stream.try_clone().unwrap());
            let twice = Arc::clone(&twice);
            std::thread::spawn(move || carry(near, far, &AtomicBool::new(false)));
            std::thread::spawn(move || {
                let [near, far] = ends;
                carry(far, near, &twice);
            });
        }
    });
    (begin, echo)
}

fn carry(mut from: TcpStream, mut to: TcpStream, twice: &AtomicBool) {
    let mut room = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut room) {
        let times = if twice.swap(false, Relaxed) { 2 } else { 1 };
        if (0..times).any(|_| to.write_all(&room[..len]).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn an_answer_that_comes_twice_spoils_that_connection_only() {
    tsg_sodium::init().unwrap();
    let (gateway, key) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let context = zmq::Context::new();
    let (socket, endpoint) = server(&context, &key);
    let (endpoint, echo) = echoing(endpoint);
    let mut link = Link::open(&[endpoint], *key.public()).unwrap();
    connects(&mut link, &gateway);
    link.send(&done());
    socket.set_rcvtimeo(10_000).unwrap();
    let question = socket.recv_multipart(0).unwrap();
    echo.store(true, Relaxed);
    socket.send_multipart([&question[0], &b"an answer".to_vec()], 0).unwrap();
    until(&mut link, &gateway, |link, received| {
        assert_eq!(received.broken_off, 0, "the other end had shown that it is the key server");
        link.trouble().is_some()
    });
    assert_eq!(link.trouble(), Some("something was repeated on the way"));
    connects(&mut link, &gateway);
}
