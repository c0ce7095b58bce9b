//! A client against a server that says what no server should.

use proptest::prelude::*;
use tsg_sodium::public_key;

use crate::client::{Client, Event};
use crate::peer::{Peer, framed};
use crate::{Error, Keys};

const SERVER: [u8; 32] = [1; 32];
const CLIENT: [u8; 32] = [2; 32];
const MOST: usize = 4_096;
const ROUTER: &[u8] = b"\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0";

/// Calls with the keys of a client that knows the server.
fn with_keys<T>(work: impl FnOnce(&Keys<'_>) -> T) -> T {
    tsg_sodium::init().unwrap();
    let (server, public) = (public_key(&SERVER), public_key(&CLIENT));
    work(&Keys { server: &server, public: &public, secret: &CLIENT })
}

/// Says it byte by byte, and gives all that was made of it.
fn hear(connection: &mut Client, keys: &Keys<'_>, bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    for byte in bytes {
        connection.hear(&[*byte]);
        while let Some(event) = connection.next(keys)? {
            events.push(event);
        }
    }
    Ok(events)
}

fn take(connection: &mut Client) -> Vec<u8> {
    let said = connection.output().to_vec();
    connection.written(said.len());
    said
}

/// After HELLO.
fn greeted(keys: &Keys<'_>) -> (Client, Peer) {
    let mut connection = Client::begin(keys, MOST).unwrap();
    hear(&mut connection, keys, &Peer::greeting()).unwrap();
    let peer = Peer::hearing(SERVER, &take(&mut connection));
    (connection, peer)
}

/// After READY.
fn opened(keys: &Keys<'_>) -> (Client, Peer) {
    let (mut connection, mut peer) = greeted(keys);
    assert!(hear(&mut connection, keys, &peer.welcome()).unwrap().is_empty());
    take(&mut connection);
    let events = hear(&mut connection, keys, &peer.ready(ROUTER)).unwrap();
    assert!(matches!(events[..], [Event::Open]) && connection.is_open());
    (connection, peer)
}

#[test]
fn what_does_not_greet_like_zeromq_is_left_at_its_first_byte() {
    with_keys(|keys| {
        let mut connection = Client::begin(keys, MOST).unwrap();
        assert_eq!(hear(&mut connection, keys, b"H").unwrap_err(), Error::NoZmtp);
        let mut old = Peer::greeting();
        old[10] = 2;
        let mut connection = Client::begin(keys, MOST).unwrap();
        assert_eq!(hear(&mut connection, keys, &old[..11]).unwrap_err(), Error::NoZmtp);
        let mut plain = Peer::greeting();
        plain[12..17].copy_from_slice(b"NULL\0");
        let mut connection = Client::begin(keys, MOST).unwrap();
        let error = hear(&mut connection, keys, &plain).unwrap_err();
        assert_eq!(error, Error::NoCurve("NULL".to_owned()));
    });
}

#[test]
fn every_changed_bit_of_the_handshake_ends_it() {
    with_keys(|keys| {
        let mut tried = 0;
        let (_, peer) = greeted(keys);
        let len = peer.welcome().len();
        for at in 0..len {
            let (mut connection, peer) = greeted(keys);
            let mut welcome = peer.welcome();
            welcome[at] ^= 1 << (at % 8);
            // A length that was made longer waits for more.
            let result = hear(&mut connection, keys, &welcome);
            assert!(result.is_err() || at == 1, "byte {at}");
            assert!(!connection.is_open());
            tried += 1;
        }
        let (_, mut peer) = greeted(keys);
        for at in 0..peer.ready(ROUTER).len() {
            let (mut connection, mut peer) = greeted(keys);
            hear(&mut connection, keys, &peer.welcome()).unwrap();
            let mut ready = peer.ready(ROUTER);
            ready[at] ^= 1 << (at % 8);
            let result = hear(&mut connection, keys, &ready);
            assert!(result.is_err() || at == 1, "byte {at}");
            assert!(!connection.is_open());
            tried += 1;
        }
        println!("{tried} bits");
    });
}

#[test]
fn a_server_with_another_key_is_not_believed() {
    with_keys(|keys| {
        let mut connection = Client::begin(keys, MOST).unwrap();
        hear(&mut connection, keys, &Peer::greeting()).unwrap();
        let other = Peer::hearing([9; 32], &take(&mut connection));
        let error = hear(&mut connection, keys, &other.welcome()).unwrap_err();
        assert_eq!(error, Error::Unauthentic("WELCOME"));
        // It is over: nothing that comes later counts.
        assert!(hear(&mut connection, keys, &other.welcome()).unwrap().is_empty());
    });
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    with_keys(|keys| {
        let (mut connection, _) = greeted(keys);
        let error = hear(&mut connection, keys, &framed(true, b"\x05ERROR\x03400")).unwrap_err();
        assert_eq!(error, Error::Refused("400".to_owned()));
    });
}

#[test]
fn a_socket_of_another_type_is_named() {
    with_keys(|keys| {
        let (mut connection, mut peer) = greeted(keys);
        hear(&mut connection, keys, &peer.welcome()).unwrap();
        let ready = peer.ready(b"\x0bSocket-Type\0\0\0\x03PUB");
        let error = hear(&mut connection, keys, &ready).unwrap_err();
        assert_eq!(error, Error::OtherSocket { is: "PUB".to_owned(), wanted: "ROUTER" });
    });
}

#[test]
fn messages_come_whole_and_once() {
    with_keys(|keys| {
        let (mut connection, mut peer) = opened(keys);
        for len in [0, 1, 200, 222, 223, MOST] {
            let frame = peer.message(0, &vec![9; len]);
            let events = hear(&mut connection, keys, &frame).unwrap();
            let [Event::Message(message)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(message[..], vec![9; len]);
        }
        let (mut connection, mut peer) = opened(keys);
        let frame = peer.message(0, b"once");
        hear(&mut connection, keys, &frame).unwrap();
        assert_eq!(hear(&mut connection, keys, &frame).unwrap_err(), Error::Repeated);
        let (mut connection, mut peer) = opened(keys);
        let frame = peer.message(0, &[0; MOST + 1]);
        let length = MOST as u64 + 1 + 33;
        assert_eq!(hear(&mut connection, keys, &frame).unwrap_err(), Error::TooLong(length));
    });
}

#[test]
fn before_the_server_is_known_nothing_long_is_taken() {
    with_keys(|keys| {
        let (mut connection, _) = greeted(keys);
        let long = framed(true, &[0; 1_025]);
        assert_eq!(hear(&mut connection, keys, &long).unwrap_err(), Error::TooLong(1_025));
    });
}

#[test]
fn what_is_said_can_be_opened_by_the_server_only() {
    with_keys(|keys| {
        let (mut connection, peer) = opened(keys);
        connection.say(b"a pump runs");
        let said = take(&mut connection);
        assert_eq!(peer.open(&said), (0, b"a pump runs".to_vec()));
        assert!(!said.windows(4).any(|bytes| bytes == b"pump"));
        connection.ping();
        assert_eq!(peer.open(&take(&mut connection)), (2, b"\x04PING\0\0".to_vec()));
        // Nothing is said before the other end is known.
        let (mut connection, _) = greeted(keys);
        connection.say(b"a pump runs");
        connection.ping();
        assert!(take(&mut connection).is_empty());
    });
}

#[test]
fn a_ping_is_answered_with_its_context() {
    with_keys(|keys| {
        let (mut connection, mut peer) = opened(keys);
        let ping = peer.message(2, b"\x04PING\0\x05context");
        assert!(hear(&mut connection, keys, &ping).unwrap().is_empty());
        assert_eq!(peer.open(&take(&mut connection)), (2, b"\x04PONGcontext".to_vec()));
        let long = peer.message(2, &[&b"\x04PING\0\x05"[..], &[b'x'; 300]].concat());
        hear(&mut connection, keys, &long).unwrap();
        assert_eq!(peer.open(&take(&mut connection)).1.len(), 5 + 16);
        // While something waits to be written, that is the sign of life.
        let pings = [(); 100].map(|()| peer.message(2, b"\x04PING\0\0")).concat();
        assert!(hear(&mut connection, keys, &pings).unwrap().is_empty());
        assert_eq!(peer.open(&take(&mut connection)), (2, b"\x04PONG".to_vec()));
        for other in [&b"\x04PONG"[..], b"\x04PING", b"\x09SUBSCRIBEx", b""] {
            let command = peer.message(2, other);
            assert!(hear(&mut connection, keys, &command).unwrap().is_empty());
            assert!(take(&mut connection).is_empty());
        }
    });
}

#[test]
fn a_message_of_several_frames_is_left_out() {
    with_keys(|keys| {
        let (mut connection, mut peer) = opened(keys);
        let frames = [
            peer.message(1, b"one"),
            peer.message(1, b"two"),
            peer.message(2, b"\x04PING\0\0"),
            peer.message(0, b"three"),
            peer.message(0, b"alone"),
        ];
        let events = hear(&mut connection, keys, &frames.concat()).unwrap();
        let [Event::SeveralFrames, Event::Message(alone)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(alone[..], *b"alone");
    });
}

#[test]
fn what_was_received_and_sent_leaves_nothing() {
    with_keys(|keys| {
        let (mut connection, mut peer) = opened(keys);
        let mut secret = zeroize::Zeroizing::new(vec![0; 600]);
        tsg_sodium::random(&mut secret);
        let traces = traces::Traces::of(&secret[200..232]);
        let frame = peer.message(0, &secret);
        assert_eq!(traces.count(), 4, "the search must find what is there");
        let events = hear(&mut connection, keys, &frame).unwrap();
        assert_eq!(traces.count(), 8, "the message, and nothing else");
        drop(events);
        connection.say(&secret);
        take(&mut connection);
        assert_eq!(traces.count(), 4);
    });
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_error_or_in_waiting(bytes: Vec<u8>, after in 0..3_usize) {
        with_keys(|keys| {
            let (mut connection, mut peer) = greeted(keys);
            if after > 0 {
                hear(&mut connection, keys, &peer.welcome()).unwrap();
            }
            if after > 1 {
                hear(&mut connection, keys, &peer.ready(ROUTER)).unwrap();
            }
            let open = connection.is_open();
            let events = hear(&mut connection, keys, &bytes);
            assert!(events.is_err() || events.unwrap().is_empty());
            assert!(open || !connection.is_open());
        });
    }
}
