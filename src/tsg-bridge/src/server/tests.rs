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

/// Waits until the handshake is done.
fn connects(link: &mut Link) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        zmq::poll(&mut link.poll_items(), 1_000).unwrap();
        if link.receive(0).connected {
            return true;
        }
    }
    false
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
    let servers = vec![silent, first.clone(), second.clone()];
    let mut link = Link::open(servers, *key.public(), &gateway).unwrap();
    for (socket, endpoint) in [(&one, &first), (&two, &second)] {
        assert!(link.next_server(&gateway));
        assert_eq!(link.server(), Some(endpoint));
        assert!(connects(&mut link), "{endpoint}");
        link.send(&ToServer::Done(Done { command: 1, ok: true, text: String::new() }));
        socket.set_rcvtimeo(10_000).unwrap();
        assert_eq!(socket.recv_multipart(0).unwrap().len(), 2, "{endpoint}");
    }
    assert!(link.next_server(&gateway) && link.next_server(&gateway));
    assert!(connects(&mut link), "the first that answers, again");
}

#[test]
fn a_server_with_another_key_breaks_off() {
    tsg_sodium::init().unwrap();
    let [gateway, key, other] = [(); 3].map(|()| Identity::generate().unwrap());
    let context = zmq::Context::new();
    let (_socket, endpoint) = server(&context, &key);
    let mut link = Link::open(vec![endpoint], *other.public(), &gateway).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut broken_off = 0;
    while broken_off < 2 {
        assert!(Instant::now() < deadline, "{broken_off} handshakes failed");
        zmq::poll(&mut link.poll_items(), 1_000).unwrap();
        let received = link.receive(0);
        assert!(!received.connected);
        broken_off += received.broken_off;
    }
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
fn a_connection_that_libzmq_gives_up_is_begun_anew() {
    tsg_sodium::init().unwrap();
    let [gateway, key] = [(); 2].map(|()| Identity::generate().unwrap());
    let welcome = [&[4, 168, 7][..], b"WELCOME", &[9; 160]].concat();
    let answers = [b"HTTP/1.1 400 Bad Request\r\n".repeat(9), greeted(&welcome), vec![0; 64]];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let mut link = Link::open(vec![endpoint.clone()], *key.public(), &gateway).unwrap();
    let mut now = 0;
    for answer in &answers {
        accepted(&listener).write_all(answer).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while link.lost.is_none() {
            assert!(Instant::now() < deadline, "it is not noticed");
            zmq::poll(&mut link.poll_items(), 1_000).unwrap();
            assert!(!link.receive(now).connected);
        }
        let begun = link.begun;
        link.keep_trying(&gateway, now + link.patience - 1);
        assert_eq!(link.begun, begun, "libzmq may be about to try again");
        now += link.patience;
        link.keep_trying(&gateway, now);
    }
    drop(listener);
    assert_eq!(link.patience, 8_000);
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).unwrap();
    socket.set_curve_server(true).unwrap();
    socket.set_curve_secretkey(key.secret().bytes()).unwrap();
    socket.bind(&endpoint.to_string()).unwrap();
    assert!(connects(&mut link));
    assert_eq!(link.patience, GIVEN_UP_MS.0);
}

#[test]
fn one_server_alone_stays() {
    tsg_sodium::init().unwrap();
    let identity = Identity::generate().unwrap();
    let server: Endpoint = "tcp://127.0.0.1:1".parse().unwrap();
    let mut link = Link::open(vec![server], *identity.public(), &identity).unwrap();
    assert!(!link.next_server(&identity));
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
    let mut link = Link::open(vec![endpoint], *key.public(), &gateway).unwrap();
    assert!(connects(&mut link));
    link.send(&ToServer::Done(Done { command: 1, ok: true, text: String::new() }));
    socket.set_rcvtimeo(10_000).unwrap();
    let question = socket.recv_multipart(0).unwrap();
    echo.store(true, Relaxed);
    socket.send_multipart([&question[0], &b"an answer".to_vec()], 0).unwrap();
    let deadline = Instant::now() + Duration::from_secs(4);
    while link.lost.is_none() {
        assert!(Instant::now() < deadline, "it is not noticed");
        zmq::poll(&mut link.poll_items(), 100).unwrap();
        link.receive(0);
    }
    link.keep_trying(&gateway, link.patience);
    assert!(connects(&mut link));
}
