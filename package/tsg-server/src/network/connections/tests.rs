//! Connections over the loopback, of this crate's client and of libzmq.

use super::*;
use std::net::SocketAddr;
use tsg_control::server::{GatewayRecord, Record};
use tsg_zmtp::client::Client;

const SECRET: [u8; 32] = [1; 32];

/// At most so many connections, and where the ports are.
fn opened(most: usize) -> (Connections, [SocketAddr; 2]) {
    tsg_sodium::init().unwrap();
    let ports = [(); 2].map(|()| listen::open("127.0.0.1", 0).unwrap());
    let addresses = [0, 1].map(|at| ports[at].local_addr().unwrap());
    (Connections::open(ports, most).unwrap(), addresses)
}

/// Looks until something is so.
fn until(connections: &mut Connections, now: u64, done: impl FnMut(&mut Connections) -> bool) {
    until_with(connections, &Roster::default(), now, done);
}

fn until_with(
    connections: &mut Connections,
    roster: &Roster,
    now: u64,
    mut done: impl FnMut(&mut Connections) -> bool,
) {
    let public = tsg_sodium::public_key(&SECRET);
    let keys = Keys { server: &public, public: &public, secret: &SECRET };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done(connections) {
        assert!(std::time::Instant::now() < deadline, "not within 10 s");
        connections.look(&keys, roster, now).unwrap();
    }
}

/// Comes through the handshake with this secret key.
fn connect(connections: &mut Connections, to: SocketAddr, secret: [u8; 32], now: u64) -> TcpStream {
    connect_as_client(connections, to, secret, now).0
}

fn connect_as_client(
    connections: &mut Connections,
    to: SocketAddr,
    secret: [u8; 32],
    now: u64,
) -> (TcpStream, Client) {
    let (server, public) = (tsg_sodium::public_key(&SECRET), tsg_sodium::public_key(&secret));
    let keys = Keys { server: &server, public: &public, secret: &secret };
    let mut client = Client::begin(&keys, 1_000).unwrap();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nonblocking(true).unwrap();
    until(connections, now, |_| {
        let said = client.output().to_vec();
        stream.write_all(&said).unwrap();
        client.written(said.len());
        let mut chunk = [0; 1_024];
        if let Ok(length) = stream.read(&mut chunk) {
            client.hear(&chunk[..length]);
            client.next(&keys).unwrap();
        }
        client.is_open()
    });
    (stream, client)
}

/// What the client has to say, as far as the server takes it.
fn say(stream: &mut TcpStream, client: &mut Client) {
    while let Ok(length @ 1..) = stream.write(client.output()) {
        client.written(length);
    }
}

/// A roster with this member.
fn roster(key: PublicKey) -> Roster {
    let mut roster = Roster::default();
    roster.note(&Record::Gateway(GatewayRecord {
        key,
        name: "monitor".to_owned(),
        group: "plant".to_owned(),
        revoked: None,
        approved: 1,
        aes: false,
        machines: Vec::new(),
        pinned: Vec::new(),
        tags: Vec::new(),
    }));
    roster
}

/// A monitor, which does not come again once it is cut off.
fn monitor(context: &zmq::Context, to: SocketAddr, pair: &zmq::CurveKeyPair) -> zmq::Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_curve_serverkey(&tsg_sodium::public_key(&SECRET)).unwrap();
    socket.set_curve_publickey(&pair.public_key).unwrap();
    socket.set_curve_secretkey(&pair.secret_key).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_reconnect_ivl(-1).unwrap();
    socket.connect(&format!("tcp://{to}")).unwrap();
    socket
}

#[test]
fn without_any_room_who_comes_is_turned_away() {
    let (mut connections, ports) = opened(0);
    for port in ports {
        let mut stream = TcpStream::connect(port).unwrap();
        stream.set_nonblocking(true).unwrap();
        until(&mut connections, 1, |_| stream.read(&mut [0; 8]).is_ok_and(|length| length == 0));
    }
    assert!(connections.open.is_empty() && connections.was_full && connections.accepting);
}

#[test]
fn without_files_it_waits_for_a_second() {
    let (mut connections, ports) = opened(100);
    let waiting = ports.map(|port| TcpStream::connect(port).unwrap());
    // As if accept(2) had said so.
    for port in &connections.ports {
        connections.epoll.delete(port).unwrap();
    }
    connections.accepting = false;
    for socket in PORTS {
        connections.accept(socket, &Roster::default(), 1).unwrap();
    }
    assert!(connections.open.is_empty());
    connections.look_around(&Roster::default(), 1).unwrap();
    until(&mut connections, 1, |connections| connections.open.len() == 2);
    drop(waiting);
}

#[test]
fn who_was_silent_for_longest_makes_room() {
    let (mut connections, [port, _]) = opened(3);
    let mut known = Vec::new();
    for (at, now) in [(2_u8, 5), (3, 1), (4, 9)] {
        known.push(connect(&mut connections, port, [at; 32], now));
    }
    let silent = PublicKey(tsg_sodium::public_key(&[3; 32]));
    assert!(connections.routes.contains_key(&silent));
    known.push(connect(&mut connections, port, [5; 32], 10));
    assert!(!connections.routes.contains_key(&silent));
    assert_eq!((connections.count(), connections.open.len()), (3, 3));
}

#[test]
fn a_key_has_three_connections_and_is_answered_on_the_newest() {
    let (mut connections, [port, _]) = opened(100);
    let mut streams: Vec<_> = (0..5).map(|_| connect(&mut connections, port, [2; 32], 1)).collect();
    assert_eq!(connections.count(), 3);
    let key = PublicKey(tsg_sodium::public_key(&[2; 32]));
    assert_eq!(connections.send(&key, b"news"), Ok(()));
    let mut chunk = [0; 64];
    until(&mut connections, 1, |_| streams[4].read(&mut chunk).is_ok());
    assert!(streams[3].read(&mut chunk).is_err());
    drop(streams);
    until(&mut connections, 1, |connections| connections.open.is_empty());
    assert_eq!(connections.send(&key, b"news"), Err(Unsent::NotConnected));
    assert!(connections.routes.is_empty());
}

#[test]
fn who_does_not_take_what_he_is_sent_gets_no_more() {
    let (mut connections, [port, _]) = opened(100);
    let stream = connect(&mut connections, port, [2; 32], 1);
    let key = PublicKey(tsg_sodium::public_key(&[2; 32]));
    let frame = vec![0; 200_000];
    let taken = (0..1_000).take_while(|_| connections.send(&key, &frame).is_ok()).count();
    assert!((1..100).contains(&taken), "{taken} frames of 200 kB");
    assert_eq!(connections.send(&key, &frame), Err(Unsent::SlowReader));
    let one = connections.open.values().next().unwrap();
    assert!(one.is_blocked && one.protocol.output().len() < MOST_WAITING + 200_100);
    drop(stream);
}

#[test]
fn who_asks_for_signs_of_life_and_does_not_read_takes_no_memory() {
    let (mut connections, [port, _]) = opened(100);
    let (mut stream, mut client) = connect_as_client(&mut connections, port, [2; 32], 1);
    let key = PublicKey(tsg_sodium::public_key(&[2; 32]));
    // Until something waits to be written.
    while !connections.open.values().next().unwrap().is_blocked {
        connections.send(&key, &[0; 100_000]).unwrap();
    }
    let waits = connections.open.values().next().unwrap().protocol.output().len();
    for _ in 0..200 {
        client.ping();
    }
    say(&mut stream, &mut client);
    let heard = |connections: &mut Connections| {
        let one = connections.open.values().next().unwrap();
        !one.idle.clone().pay(MESSAGE, IDLE, 1)
    };
    until(&mut connections, 1, heard);
    // Nothing was added.
    let one = connections.open.values().next().unwrap();
    assert!(one.protocol.output().len() <= waits);
    client.ping();
    say(&mut stream, &mut client);
    until(&mut connections, 1, |connections| connections.open.is_empty());
}

#[test]
fn signs_of_life_may_be_asked_for_now_and_then() {
    let (mut connections, [port, _]) = opened(100);
    let (mut stream, mut client) = connect_as_client(&mut connections, port, [2; 32], 1);
    for second in 1..500 {
        client.ping();
        say(&mut stream, &mut client);
        let mut chunk = [0; 64];
        until(&mut connections, second * 1_000, |_| stream.read(&mut chunk).is_ok());
    }
    assert_eq!(connections.count(), 1);
}

#[test]
fn who_says_frames_that_are_left_out_without_end_is_cut_off() {
    let (mut connections, [port, _]) = opened(100);
    let context = zmq::Context::new();
    let pair = zmq::CurveKeyPair::new().unwrap();
    let socket = context.socket(zmq::DEALER).unwrap();
    socket.set_curve_serverkey(&tsg_sodium::public_key(&SECRET)).unwrap();
    socket.set_curve_publickey(&pair.public_key).unwrap();
    socket.set_curve_secretkey(&pair.secret_key).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_reconnect_ivl(-1).unwrap();
    socket.connect(&format!("tcp://{port}")).unwrap();
    socket.send_multipart(vec!["x"; 200], 0).unwrap();
    until(&mut connections, 1, |connections| connections.has_heard());
    assert_eq!(connections.count(), 1);
    socket.send_multipart(vec!["x"; 2], 0).unwrap();
    until(&mut connections, 1, |connections| connections.open.is_empty());
}

#[test]
fn a_key_has_sixteen_monitors_and_none_when_it_is_out() {
    let (mut connections, [_, port]) = opened(100);
    let context = zmq::Context::new();
    let pair = zmq::CurveKeyPair::new().unwrap();
    let key = PublicKey(pair.public_key);
    let roster = roster(key);
    let mut monitors = Vec::new();
    let first = connections.next;
    for number in 0..20 {
        monitors.push(monitor(&context, port, &pair));
        until_with(&mut connections, &roster, 1, |connections| {
            connections.open.get(&(first + number)).is_some_and(|one| one.key.is_some())
        });
    }
    assert_eq!(connections.monitors[&key], (first + 4..first + 20).collect::<Vec<_>>());
    assert_eq!(connections.open.len(), MOST_MONITORS_OF_A_KEY);
    connections.close_monitors(&key);
    assert!(connections.open.is_empty() && connections.monitors.is_empty());
}

#[test]
fn a_subscription_is_no_longer_than_a_name() {
    let (mut connections, [_, port]) = opened(100);
    let context = zmq::Context::new();
    let pair = zmq::CurveKeyPair::new().unwrap();
    let roster = roster(PublicKey(pair.public_key));
    let subscriber = monitor(&context, port, &pair);
    let fits = [b'x'; 48];
    subscriber.set_subscribe(&fits).unwrap();
    until_with(&mut connections, &roster, 1, |connections| {
        connections.open.values().any(|one| one.subscriptions.contains(&fits[..]))
    });
    subscriber.set_subscribe(&[b'x'; 100]).unwrap();
    until_with(&mut connections, &roster, 1, |connections| connections.open.is_empty());
    assert!(connections.monitors.is_empty());
}

#[test]
fn handshakes_end_in_time() {
    let (mut connections, [port, _]) = opened(100);
    let through = connect(&mut connections, port, [2; 32], 1);
    let silent = TcpStream::connect(port).unwrap();
    until(&mut connections, 1, |connections| connections.open.len() == 2);
    connections.look_around(&Roster::default(), HANDSHAKE).unwrap();
    assert_eq!(connections.open.len(), 2);
    connections.look_around(&Roster::default(), HANDSHAKE + 1).unwrap();
    assert_eq!((connections.open.len(), connections.count()), (1, 1));
    assert!(connections.beginning.is_empty());
    drop((through, silent));
}
