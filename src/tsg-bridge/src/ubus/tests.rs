//! Against a broker in the test's hand: one that lies, hangs, stops in the middle, or takes nothing. What a real one
//! does is in tests/ubus.rs.

use super::message::{HEAD, Head, LONGEST};
use super::*;
use crate::arguments::{Given, Kind};
use ::ubus::bounded::EnvSliceBuilder;
use ::ubus::envelope::UbusAttr;
use ::ubus::wire::{Header, PROTO_VERSION};
use serde_json::json;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};

const OBJECT: u32 = 0x1234_5678;
static PARAMETERS: [Parameter; 1] = [Parameter::required("token", Kind::Text)];

/// The broker's end.
struct Broker {
    listener: UnixListener,
    stream: Option<UnixStream>,
    _folder: tempfile::TempDir,
}

fn bus() -> (Broker, Bus) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ubus.sock");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let methods: [(&str, &[Parameter]); 2] = [("status", &[]), ("enrol", &PARAMETERS)];
    let bus = Bus::new(&Choice::At(path), Path::new("/var/run/tsg"), methods.into_iter());
    (Broker { listener, stream: None, _folder: folder }, bus)
}

impl Broker {
    fn accept(&mut self) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
    }

    fn is_knocked(&self) -> bool {
        self.listener.accept().is_ok()
    }

    /// At once, though another test may just be starting a process, which has the socket too until it runs.
    fn hang_up(&mut self) {
        self.stream().shutdown(Shutdown::Both).unwrap();
        self.stream = None;
    }

    fn stream(&mut self) -> &mut UnixStream {
        self.stream.as_mut().unwrap()
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).unwrap();
    }

    /// All that was sent.
    fn hear(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.stream().read_to_end(&mut heard) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => heard,
            done => {
                done.unwrap();
                heard
            }
        }
    }

    /// The messages that were sent: type, sequence, peer, status.
    fn messages(&mut self) -> Vec<(MsgType, u16, u32, Option<i32>)> {
        let mut bytes = self.hear();
        let mut messages = Vec::new();
        while let Some(head) = bytes.first_chunk::<HEAD>() {
            let head = Head::read(head).unwrap();
            let rest = bytes.split_off(8 + head.length);
            let body = Some(zeroize::Zeroizing::new(bytes[8..].to_vec()));
            let message = Message { head, body };
            let status = message.fields().unwrap().status;
            messages.push((head.kind.unwrap(), head.sequence, head.peer, status));
            bytes = rest;
        }
        messages
    }

    /// Takes the object.
    fn take(&mut self, bus: &mut Bus, now: u64) {
        assert!(bus.turn(now).is_none());
        self.accept();
        self.say(&said(MsgType::Hello, 0, 77, &[]));
        assert!(bus.turn(now).is_none());
        assert_eq!(self.messages(), [(MsgType::AddObject, 1, 0, None)]);
        self.say(&said(MsgType::Data, 1, 0, &[(UbusAttr::ObjId, &OBJECT.to_be_bytes())]));
        self.say(&said(MsgType::Status, 1, 0, &[(UbusAttr::Status, &[0; 4])]));
        assert!(bus.turn(now).is_none());
        assert!(matches!(bus.link.as_ref().unwrap().phase, Phase::Serving { object: OBJECT }));
    }
}

fn said(kind: MsgType, sequence: u16, peer: u32, attributes: &[(UbusAttr, &[u8])]) -> Vec<u8> {
    let header = Header { version: PROTO_VERSION, ty: kind, seq: sequence, peer };
    let mut room = vec![0; 256 * 1024];
    let mut builder = EnvSliceBuilder::new(&mut room).unwrap();
    for (id, bytes) in attributes {
        builder.push_bytes_id(*id as u8, bytes).unwrap();
    }
    [header.encode().as_slice(), builder.finish()].concat()
}

fn call(sequence: u16, method: &str, arguments: &Value) -> Vec<u8> {
    let method = format!("{method}\0");
    let data = blob::table(arguments).unwrap();
    let object = OBJECT.to_be_bytes();
    let attributes = [
        (UbusAttr::ObjId, &object[..]),
        (UbusAttr::Method, method.as_bytes()),
        (UbusAttr::Data, data.as_slice()),
    ];
    said(MsgType::Invoke, sequence, 99, &attributes)
}

#[test]
fn an_object_of_another_folder_has_another_name() {
    assert_eq!(name(Path::new("/var/run/tsg")), "tsg");
    assert_eq!(name(Path::new("/var/run/press-2")), "tsg.press-2");
    assert_eq!(name(Path::new("/var/run/a b\u{e4}")), "tsg.a_b_");
    assert_eq!(name(Path::new("/")), "tsg.");
}

#[test]
fn calls_come_one_by_one_in_whatever_pieces_they_are() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    let session = json!({ "ubus_rpc_session": "0123" });
    let first = call(5, "status", &session);
    let enrol = call(6, "enrol", &json!({ "token": "t" }));
    let (head, tail) = first.split_at(13);
    broker.say(head);
    assert!(bus.turn(1).is_none());
    assert!(!bus.is_asked());
    broker.say(&[tail, enrol.as_slice(), &enrol[..20]].concat());
    let asked = bus.turn(1).unwrap();
    let expected = ("ubus_rpc_session".to_owned(), Given::Text("0123".to_owned().into()));
    assert_eq!((asked.method.as_str(), asked.arguments.0), ("status", vec![expected]));
    bus.answer(asked.caller, Ok(&json!({ "state": "idle" })), 1);
    assert_eq!(
        broker.messages(),
        [(MsgType::Data, 5, 99, None), (MsgType::Status, 5, 99, Some(0))]
    );
    assert!(bus.is_asked());
    let asked = bus.turn(1).unwrap();
    assert_eq!(asked.method, "enrol");
    bus.answer(asked.caller, Err(Refusal::WrongArgument), 1);
    assert_eq!(broker.messages(), [(MsgType::Status, 6, 99, Some(2))]);
    assert!(!bus.is_asked() && bus.turn(1).is_none());
}

#[test]
fn what_makes_no_sense_is_refused_and_the_next_call_is_answered() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    let object = OBJECT.to_be_bytes();
    let cases: [&[(UbusAttr, &[u8])]; 6] = [
        &[],
        &[(UbusAttr::ObjId, &object)],
        &[(UbusAttr::ObjId, &[0, 0, 0, 1]), (UbusAttr::Method, b"status\0")],
        &[(UbusAttr::ObjId, &object), (UbusAttr::Method, b"status")],
        &[(UbusAttr::ObjId, &object), (UbusAttr::Method, b"\xff\xfe\0")],
        &[(UbusAttr::ObjId, &object), (UbusAttr::Method, b"x\0"), (UbusAttr::Data, b"garbage")],
    ];
    for (attributes, sequence) in cases.into_iter().zip(1..) {
        broker.say(&said(MsgType::Invoke, sequence, 9, attributes));
        assert!(bus.turn(1).is_none(), "{attributes:?}");
        assert_eq!(broker.messages(), [(MsgType::Status, sequence, 9, Some(2))], "{attributes:?}");
    }
    // What is not for us is no trouble, known or not.
    broker.say(&said(MsgType::Notify, 1, 0, &[(UbusAttr::Active, &[1])]));
    let mut unknown = said(MsgType::Ping, 1, 0, &[]);
    unknown[1] = 200;
    broker.say(&unknown);
    broker.say(&call(50, "status", &json!({})));
    assert_eq!(bus.turn(1).unwrap().method, "status");
}

#[test]
fn a_message_that_is_too_long_is_refused_without_being_kept() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    let long = json!({ "token": "x".repeat(200_000) });
    for (bytes, fits) in [
        (call(1, "enrol", &long), false),
        (call(2, "enrol", &json!({ "token": "x".repeat(LONGEST - 100) })), true),
    ] {
        let mut asked = None;
        for part in bytes.chunks(1_000) {
            broker.say(part);
            asked = asked.or(bus.turn(1));
            let link = bus.link.as_ref().unwrap();
            assert!(link.stream.holds() <= HEAD + LONGEST);
        }
        assert_eq!(asked.is_some(), fits);
        let expected = (MsgType::Status, 1, 99, Some(2));
        assert_eq!(broker.messages(), if fits { vec![] } else { vec![expected] });
    }
}

#[test]
fn a_broker_that_takes_nothing_is_asked_for_nothing_and_given_up() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    let long = json!({ "text": "x".repeat(900_000) });
    for sequence in 1..=3 {
        broker.say(&call(sequence, "status", &json!({})));
    }
    let asked = bus.turn(1).unwrap();
    bus.answer(asked.caller, Ok(&long), 1);
    // The rest of the answer waits, so nobody else is heard.
    assert!(matches!(bus.descriptor(), Some((_, true))) && !bus.is_asked());
    assert!(bus.turn(2).is_none());
    assert!(!bus.notify("state", &json!({}), 2));
    assert_eq!(bus.due(), Some(1 + PATIENCE));
    // What is taken gives it more time.
    let mut chunk = vec![0; 100_000];
    broker.stream().read_exact(&mut chunk).unwrap();
    assert!(bus.turn(5_000).is_none());
    assert_eq!(bus.due(), Some(5_000 + PATIENCE));
    assert!(bus.turn(5_000 + PATIENCE - 1).is_none() && bus.link.is_some());
    assert!(bus.turn(5_000 + PATIENCE).is_none() && bus.link.is_none());
}

#[test]
fn a_broker_that_does_not_greet_is_given_up() {
    let (mut broker, mut bus) = bus();
    assert!(bus.turn(100).is_none());
    broker.accept();
    assert_eq!(bus.due(), Some(100 + PATIENCE));
    assert!(bus.turn(99 + PATIENCE).is_none() && bus.link.is_some());
    assert!(bus.turn(100 + PATIENCE).is_none() && bus.link.is_none());
    assert_eq!(bus.due(), Some(100 + PATIENCE + PAUSE.0));
}

#[test]
fn pauses_grow_to_some_seconds_and_end_when_it_has_served_for_long() {
    let (mut broker, mut bus) = bus();
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(bus.turn(now).is_none());
        // It closes at once.
        assert!(broker.is_knocked());
        assert!(bus.turn(now).is_none());
        let due = bus.due().unwrap();
        assert!(bus.turn(due - 1).is_none() && !broker.is_knocked(), "too early");
        pauses.push(due - now);
        now = due;
    }
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    broker.take(&mut bus, now);
    broker.hang_up();
    assert!(bus.turn(now + 1).is_none());
    assert_eq!(bus.due(), Some(now + 1 + 8_000), "it did not serve for long");
    now += 1 + 8_000;
    broker.take(&mut bus, now);
    broker.hang_up();
    assert!(bus.turn(now + PAUSE.1).is_none());
    assert_eq!(bus.due(), Some(now + PAUSE.1 + PAUSE.0));
}

#[test]
fn without_a_broker_there_is_a_try_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let choice = Choice::At(folder.path().join("none"));
    let mut bus = Bus::new(&choice, Path::new("/var/run/tsg"), std::iter::empty());
    let mut tries = 0;
    for now in 0..60_000 {
        if bus.due().is_some_and(|at| now >= at) {
            tries += 1;
            assert!(bus.turn(now).is_none() && bus.descriptor().is_none());
        }
    }
    assert!((10..=13).contains(&tries), "{tries}");
    let mut none = Bus::new(&Choice::None, Path::new("/var/run/tsg"), std::iter::empty());
    assert!(none.turn(0).is_none() && none.due().is_none() && none.descriptor().is_none());
}

#[test]
fn garbage_ends_the_connection() {
    for garbage in [[0xff; 64], [0; 64]] {
        let (mut broker, mut bus) = bus();
        broker.take(&mut bus, 0);
        broker.say(&garbage);
        assert!(bus.turn(1).is_none() && bus.link.is_none());
    }
}

#[test]
fn a_flood_is_looked_at_bit_by_bit() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    let ping = said(MsgType::Ping, 1, 0, &[]);
    let flood = ping.repeat(1_000);
    broker.say(&flood);
    broker.say(&call(1, "status", &json!({})));
    let mut turns = 1;
    while bus.turn(1).is_none() {
        turns += 1;
        assert!(turns < 1_000);
    }
    assert!(turns > 1_000 / MOST_MESSAGES, "{turns}");
}

#[test]
fn an_answer_of_an_earlier_connection_goes_nowhere() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    broker.say(&call(5, "status", &json!({})));
    let asked = bus.turn(1).unwrap();
    broker.hang_up();
    assert!(bus.turn(1).is_none() && bus.link.is_none());
    bus.answer(asked.caller, Ok(&json!({})), 2);
    broker.take(&mut bus, 20_000);
    bus.answer(asked.caller, Ok(&json!({})), 20_000);
    assert_eq!(broker.messages(), []);
}

#[test]
fn an_answer_without_room_is_an_error_for_the_caller() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    broker.say(&call(5, "status", &json!({})));
    let asked = bus.turn(1).unwrap();
    bus.answer(asked.caller, Ok(&json!({ "text": "x".repeat(2 << 20) })), 1);
    assert_eq!(broker.messages(), [(MsgType::Status, 5, 99, Some(9))]);
}

#[test]
fn an_object_that_is_not_taken_is_offered_again() {
    let (mut broker, mut bus) = bus();
    assert!(bus.turn(0).is_none());
    broker.accept();
    broker.say(&said(MsgType::Hello, 0, 77, &[]));
    assert!(bus.turn(0).is_none());
    broker.say(&said(MsgType::Status, 1, 0, &[(UbusAttr::Status, &[0, 0, 0, 2])]));
    assert!(bus.turn(0).is_none());
    assert!(bus.link.is_none() && bus.complained);
    let due = bus.due().unwrap();
    broker.take(&mut bus, due);
    assert!(!bus.complained);
}

#[test]
fn a_notification_that_the_broker_refuses_offers_the_object_again() {
    let (mut broker, mut bus) = bus();
    broker.take(&mut bus, 0);
    assert!(bus.notify("state", &json!({ "state": "sealing" }), 1));
    assert_eq!(broker.messages(), [(MsgType::Notify, 2, OBJECT, None)]);
    // What subscribers answer is nothing to us.
    broker.say(&said(MsgType::Status, 3, 55, &[(UbusAttr::Status, &[0, 0, 0, 4])]));
    assert!(bus.turn(1).is_none() && bus.link.is_some());
    broker.say(&said(MsgType::Status, 2, OBJECT, &[(UbusAttr::Status, &[0, 0, 0, 4])]));
    assert!(bus.turn(1).is_none() && bus.link.is_none());
}
