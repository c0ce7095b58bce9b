//! A server against this crate's client, as it is and with every bit changed.

use proptest::prelude::*;
use tsg_sodium::public_key;

use crate::client::{self, Client};
use crate::server::{Event, Server, Socket};
use crate::{Error, Keys};

const SERVER: [u8; 32] = [1; 32];
const CLIENT: [u8; 32] = [2; 32];
const MOST: usize = 4_096;

/// Calls with the keys of a server, and of a client that knows it.
fn with_keys<T>(work: impl FnOnce(&Keys<'_>, &Keys<'_>) -> T) -> T {
    tsg_sodium::init().unwrap();
    let (server, public) = (public_key(&SERVER), public_key(&CLIENT));
    let ours = Keys { server: &server, public: &server, secret: &SERVER };
    work(&ours, &Keys { server: &server, public: &public, secret: &CLIENT })
}

fn all(server: &mut Server, keys: &Keys<'_>) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    while let Some(event) = server.next(keys)? {
        events.push(event);
    }
    Ok(events)
}

/// Says it byte by byte.
fn hear(server: &mut Server, keys: &Keys<'_>, bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    for byte in bytes {
        server.hear(&[*byte]);
        events.extend(all(server, keys)?);
    }
    Ok(events)
}

fn said_by(client: &mut Client) -> Vec<u8> {
    let said = client.output().to_vec();
    client.written(said.len());
    said
}

fn to_client(server: &mut Server, client: &mut Client, keys: &Keys<'_>) -> Vec<client::Event> {
    client.hear(server.output());
    server.written(server.output().len());
    let mut events = Vec::new();
    while let Some(event) = client.next(keys).unwrap() {
        events.push(event);
    }
    events
}

/// A client that has said greeting and HELLO, which are given.
fn begun(theirs: &Keys<'_>) -> (Server, Client, Vec<u8>) {
    let mut server = Server::begin(Socket::Router, MOST);
    let mut client = Client::begin(theirs, MOST).unwrap();
    to_client(&mut server, &mut client, theirs);
    let said = said_by(&mut client);
    (server, client, said)
}

/// And INITIATE, which is given.
fn initiated(ours: &Keys<'_>, theirs: &Keys<'_>) -> (Server, Client, Vec<u8>) {
    let (mut server, mut client, said) = begun(theirs);
    assert!(hear(&mut server, ours, &said).unwrap().is_empty());
    to_client(&mut server, &mut client, theirs);
    let said = said_by(&mut client);
    (server, client, said)
}

/// A client that is let in.
fn opened(ours: &Keys<'_>, theirs: &Keys<'_>) -> (Server, Client) {
    let (mut server, mut client, said) = initiated(ours, theirs);
    let asks = hear(&mut server, ours, &said).unwrap();
    assert!(matches!(asks[..], [Event::Asks(key)] if key == *theirs.public), "{asks:?}");
    assert!(!server.is_open());
    server.say(&[b"too soon"]);
    server.admit();
    assert!(server.is_open());
    let events = to_client(&mut server, &mut client, theirs);
    assert!(matches!(events[..], [client::Event::Open]));
    (server, client)
}

#[test]
fn messages_pass_both_ways() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        for length in [0, 200, 4_096] {
            client.say(&vec![7; length]);
            let said = said_by(&mut client);
            let heard = hear(&mut server, ours, &said).unwrap();
            assert!(matches!(&heard[..], [Event::Message(m)] if m[..] == vec![7; length]));
            server.say(&[&vec![8; length]]);
            let heard = to_client(&mut server, &mut client, theirs);
            assert!(matches!(&heard[..], [client::Event::Message(m)] if m[..] == vec![8; length]));
        }
        client.ping();
        let said = said_by(&mut client);
        let heard = hear(&mut server, ours, &said).unwrap();
        assert!(matches!(heard[..], [Event::Idle]), "{heard:?}");
        assert!(!server.output().is_empty(), "a PONG");
        assert!(to_client(&mut server, &mut client, theirs).is_empty());
        server.say(&[b"a name", b"and more"]);
        let heard = to_client(&mut server, &mut client, theirs);
        assert!(matches!(heard[..], [client::Event::SeveralFrames]), "{heard:?}");
    });
}

#[test]
fn who_asks_for_signs_of_life_and_does_not_read_has_one_waiting() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        for _ in 0..1_000 {
            client.ping();
        }
        let said = said_by(&mut client);
        assert_eq!(hear(&mut server, ours, &said).unwrap().len(), 1_000);
        let one = server.output().len();
        assert!(one < 64, "{one} bytes wait");
        // As soon as it is read there is another one.
        to_client(&mut server, &mut client, theirs);
        client.ping();
        let said = said_by(&mut client);
        hear(&mut server, ours, &said).unwrap();
        assert_eq!(server.output().len(), one);
        // A message under way is a sign of life, too.
        server.written(one);
        server.say(&[b"news"]);
        let news = server.output().len();
        client.ping();
        let said = said_by(&mut client);
        hear(&mut server, ours, &said).unwrap();
        assert_eq!(server.output().len(), news);
    });
}

#[test]
fn every_changed_bit_of_the_handshake_ends_it_or_leaves_it_waiting() {
    with_keys(|ours, theirs| {
        let mut tried = 0;
        // Both are as long each time.
        let (_, _, first) = begun(theirs);
        for at in 0..first.len() {
            let (mut server, _, mut said) = begun(theirs);
            said[at] ^= 1 << (at % 8);
            // What a greeting says of the version, of which end it is, and behind it, is nothing to the server; neither is
            // what fills HELLO. A length that was made longer waits for more.
            let free = (1..9).contains(&at) || at == 11 || (32..64).contains(&at);
            let filling = (66 + 7..66 + 80).contains(&at);
            let more = at == 10 || at == 65;
            let result = hear(&mut server, ours, &said);
            assert!(result.is_err() || free || filling || more, "byte {at}");
            tried += 1;
        }
        let (_, _, second) = initiated(ours, theirs);
        for at in 0..second.len() {
            let (mut server, _, mut said) = initiated(ours, theirs);
            said[at] ^= 1 << (at % 8);
            let result = hear(&mut server, ours, &said);
            // The length has eight bytes.
            assert!(result.is_err() || (at == 8 && result.unwrap().is_empty()), "byte {at}");
            server.admit();
            assert!(!server.is_open());
            tried += 1;
        }
        println!("{tried} bits");
    });
}

#[test]
fn who_has_another_server_or_not_his_key_is_not_heard() {
    with_keys(|ours, theirs| {
        let other = public_key(&[3; 32]);
        let (mut server, _, said) = begun(&Keys { server: &other, ..*theirs });
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), Error::Unauthentic("HELLO"));
        // It is over: nothing that comes later counts.
        assert!(hear(&mut server, ours, &said).unwrap().is_empty());

        // He says that he is somebody else.
        let (mut server, _, said) = initiated(ours, &Keys { public: &other, ..*theirs });
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), Error::Unauthentic("INITIATE"));

        // Somebody else's INITIATE, on a connection of one's own.
        let (_, _, another) = initiated(ours, theirs);
        let (mut server, _, _) = initiated(ours, theirs);
        assert_eq!(hear(&mut server, ours, &another).unwrap_err(), Error::Unauthentic("INITIATE"));
    });
}

#[test]
fn before_the_client_is_known_nothing_long_is_taken() {
    with_keys(|ours, theirs| {
        let (mut server, _, said) = begun(theirs);
        hear(&mut server, ours, &said[..64]).unwrap();
        let long = [&[6_u8][..], &1_025_u64.to_be_bytes()].concat();
        assert_eq!(hear(&mut server, ours, &long).unwrap_err(), Error::TooLong(1_025));
        let (mut server, mut client) = opened(ours, theirs);
        client.say(&[0; MOST + 1]);
        let length = MOST as u64 + 1 + 33;
        let said = said_by(&mut client);
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), Error::TooLong(length));
        let (mut server, mut client) = opened(ours, theirs);
        server.limit(MOST + 1);
        client.say(&[0; MOST + 1]);
        let said = said_by(&mut client);
        assert_eq!(hear(&mut server, ours, &said).unwrap().len(), 1);
    });
}

#[test]
fn what_was_said_once_is_not_heard_twice() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        client.say(b"open the valve");
        let said = said_by(&mut client);
        assert_eq!(hear(&mut server, ours, &said).unwrap().len(), 1);
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), Error::Repeated);
    });
}

#[test]
fn a_message_of_several_frames_is_left_out() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        for (flags, bytes) in [(1, &b"one"[..]), (1, b"two"), (2, b"\x04PING\0\0"), (0, b"three")] {
            client.put(flags, bytes);
        }
        client.say(b"alone");
        let said = said_by(&mut client);
        let heard = hear(&mut server, ours, &said).unwrap();
        let [Event::SeveralFrames, Event::Idle, Event::Idle, Event::Idle, Event::Message(alone)] =
            &heard[..]
        else {
            panic!("{heard:?}")
        };
        assert_eq!(alone[..], *b"alone");
        // A ROUTER knows no command but PING.
        client.put(2, b"\x09SUBSCRIBEplant");
        let said = said_by(&mut client);
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), Error::Malformed("command"));
    });
}

#[test]
fn a_publisher_hears_of_both_kinds_of_subscription() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        server.serve(Socket::Pub);
        for (flags, bytes) in
            [(2, &b"\x09SUBSCRIBEplant"[..]), (2, b"\x06CANCELplant"), (0, b"\x01"), (0, b"\0mill")]
        {
            client.put(flags, bytes);
        }
        let said = said_by(&mut client);
        let heard = hear(&mut server, ours, &said).unwrap();
        let [Event::Subscribe(a), Event::Cancel(b), Event::Subscribe(c), Event::Cancel(d)] =
            &heard[..]
        else {
            panic!("{heard:?}")
        };
        assert_eq!([&a[..], b, c, d], [&b"plant"[..], b"plant", b"", b"mill"]);
        for (flags, bytes) in [(0, &b"\x02"[..]), (0, b""), (1, b"\x01"), (2, b"\x05HELLO")] {
            let (mut server, mut client) = opened(ours, theirs);
            server.serve(Socket::Pub);
            client.put(flags, bytes);
            let said = said_by(&mut client);
            assert!(hear(&mut server, ours, &said).is_err(), "{bytes:?}");
        }
    });
}

#[test]
fn a_socket_of_another_type_is_refused() {
    with_keys(|ours, theirs| {
        let (mut server, _, said) = initiated(ours, theirs);
        server.serve(Socket::Pub);
        let error = Error::OtherSocket { is: "DEALER".to_owned(), wanted: "SUB" };
        assert_eq!(hear(&mut server, ours, &said).unwrap_err(), error);
    });
}

#[test]
fn what_was_received_and_sent_leaves_nothing() {
    with_keys(|ours, theirs| {
        let (mut server, mut client) = opened(ours, theirs);
        let mut secret = zeroize::Zeroizing::new(vec![0; 600]);
        tsg_sodium::random(&mut secret);
        let traces = traces::Traces::of(&secret[200..232]);
        client.say(&secret);
        let said = said_by(&mut client);
        assert_eq!(traces.count(), 4, "the search must find what is there");
        server.hear(&said);
        let heard = all(&mut server, ours).unwrap();
        assert_eq!(traces.count(), 8, "the message, and nothing else");
        drop(heard);
        server.say(&[&secret]);
        server.written(server.output().len());
        assert_eq!(traces.count(), 4);
    });
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_error_or_in_waiting(bytes: Vec<u8>, after in 0..3_usize) {
        with_keys(|ours, theirs| {
            let mut server = match after {
                0 => Server::begin(Socket::Router, MOST),
                1 => initiated(ours, theirs).0,
                _ => opened(ours, theirs).0,
            };
            let heard = hear(&mut server, ours, &bytes);
            assert!(heard.is_err() || heard.unwrap().is_empty());
            server.admit();
            assert!(after == 2 || !server.is_open());
        });
    }
}
