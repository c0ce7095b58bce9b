//! The bytes of messages: what is written is read, and what somebody else wrote does no harm.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::net::IpAddr;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::keys::PublicKey;
use tsg_control::message::*;
use tsg_control::policy::{MAX_RULES, Policy, Rule};
use tsg_control::timeline::Stage;
use tsg_control::token::{Token, TokenSecret};
use tsg_esp::crypto::{Suite, Tek};

fn held() -> impl Strategy<Value = Held> {
    any::<(u64, [u8; 8], u8)>().prop_map(|(epoch, check, senders)| Held { epoch, check, senders })
}

fn flow() -> impl Strategy<Value = SeenFlow> {
    let fields = any::<([IpAddr; 2], Option<u8>, Option<u16>, [u64; 2], u32, [bool; 2])>();
    fields.prop_map(|(ends, proto, port, [packets, bytes], age, [in_clear, unreached])| {
        let [client, server] = ends;
        SeenFlow { client, server, proto, port, packets, bytes, age, in_clear, unreached }
    })
}

fn port() -> impl Strategy<Value = PortState> {
    let fields = (any::<(String, bool, bool, Option<u32>)>(), vec(any::<String>(), 0..3));
    fields.prop_map(|((name, wan, up, mbits), offloads)| PortState {
        name,
        wan,
        up,
        mbits,
        offloads,
    })
}

fn to_server() -> impl Strategy<Value = ToServer> {
    let register = any::<(u64, u64, String, String, bool, u8, Option<[u8; 16]>)>();
    let register = (register, vec(held(), 0..5)).prop_map(|(fields, holds)| {
        let (request, process, name, version, aes, senders, token) = fields;
        let token = token.map(|bytes: [u8; 16]| TokenSecret::make(|secret| *secret = bytes));
        ToServer::Register(Register { request, process, name, version, token, aes, senders, holds })
    });
    let heartbeat =
        (any::<([u64; 6], u32)>(), vec(held(), 0..5), any::<bool>(), vec(any::<String>(), 0..4));
    let heartbeat = heartbeat.prop_map(|((n, sender), holds, ask, alarms)| {
        let [request, process, instance, revision, map, sealing] = n;
        ToServer::Heartbeat(Heartbeat {
            request,
            process,
            instance,
            revision,
            map,
            sealing,
            sender,
            holds,
            ask,
            alarms,
        })
    });
    let report = (
        any::<u64>(),
        vec(any::<IpAddr>(), 0..9),
        btree_map(any::<String>(), any::<u64>(), 0..9),
        vec(flow(), 0..5),
        vec(port(), 0..3),
    );
    let report = report.prop_map(|(process, machines, counters, flows, ports)| {
        ToServer::Report(Report { process, machines, counters, flows, ports })
    });
    let done = any::<(u64, bool, String)>();
    let done = done.prop_map(|(command, ok, text)| ToServer::Done(Done { command, ok, text }));
    prop_oneof![register, heartbeat, report, done]
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![Just(Stage::Prepared), Just(Stage::Active), Just(Stage::Retiring)]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    let keys = any::<([u8; 32], bool, u16, [u64; 3], u32)>();
    let keys = (keys, vec(any::<u32>(), 0..20)).prop_map(|(fields, senders)| {
        let (tek, aes, port, [clock, origin, ends], highest_sender) = fields;
        EpochKeys {
            tek: TekField(Tek::new(tek).into()),
            suite: if aes { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 },
            carriage: if aes { Carriage::Udp(port) } else { Carriage::Protocol(port as u8) },
            clock,
            origin,
            ends,
            senders,
            highest_sender,
        }
    });
    (any::<u64>(), stage(), any::<bool>(), proptest::option::of(keys))
        .prop_map(|(id, stage, revokes, keys)| Epoch { id, stage, revokes, keys })
}

fn policy() -> impl Strategy<Value = PolicyVersion> {
    (any::<(u64, u16)>(), stage()).prop_map(|((version, port), stage)| {
        let rule: Rule =
            format!("encrypt name=a proto=tcp dest_port={}", port.max(1)).parse().unwrap();
        PolicyVersion {
            version,
            stage,
            policy: Policy::new(vec![rule]),
            mode: Mode::Migrate,
            non_ip: NonIp::Only(vec![0x8892]),
            fail: Fail::Open,
        }
    })
}

fn to_gateway() -> impl Strategy<Value = ToGateway> {
    let state = (
        any::<[u64; 5]>(),
        any::<(String, String, u32, u32, [bool; 2])>(),
        vec(epoch(), 0..4),
        vec(policy(), 0..4),
    );
    let state = state.prop_map(
        |(n, (group, name, replay_window, island_time, allowed), epochs, policies)| {
            let [request, instance, revision, clock, now] = n;
            let [local_bypass, timed_bypass] = allowed;
            let settings = GroupSettings { replay_window, island_time, local_bypass, timed_bypass };
            let time = Reading { clock, now };
            ToGateway::State(Box::new(State {
                request,
                instance,
                revision,
                time,
                group,
                name,
                epochs,
                policies,
                settings,
            }))
        },
    );
    let map = (any::<[u64; 2]>(), vec(any::<IpAddr>(), 0..9), vec(any::<IpAddr>(), 0..9));
    let map = map.prop_map(|([instance, revision], mine, others)| {
        ToGateway::Map(Map { instance, revision, mine, others })
    });
    let refused =
        any::<(u64, String, bool, u32)>().prop_map(|(request, reason, revoked, retry)| {
            ToGateway::Refused(Refused { request, reason, revoked, retry })
        });
    let pulse = any::<[u64; 3]>().prop_map(|[request, clock, now]| {
        ToGateway::Pulse(Pulse { request, time: Reading { clock, now } })
    });
    let command = any::<u64>().prop_map(|command| {
        ToGateway::Command(Command { command, kind: CommandKind::LogLevel(LogLevel::Debug) })
    });
    prop_oneof![state, map, refused, pulse, command]
}

proptest! {
    #[test]
    fn what_is_written_is_read(up in to_server(), down in to_gateway()) {
        prop_assert_eq!(decode::<ToServer>(&up.frame(), MAX_FRAME_TO_SERVER), Ok(up));
        prop_assert_eq!(decode::<ToGateway>(&down.frame(), MAX_FRAME), Ok(down));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..2_000)) {
        let _ = decode::<ToServer>(&bytes, MAX_FRAME_TO_SERVER);
        let _ = decode::<ToGateway>(&bytes, MAX_FRAME);
        let _ = Token::decode(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_message_does_no_harm(down in to_gateway(), at: usize, with: u8, cut: bool) {
        let mut frame = encode(&down).to_vec();
        let at = at % frame.len();
        frame[at] = with;
        if cut {
            frame.truncate(at);
        }
        let _ = decode::<ToGateway>(&frame, MAX_FRAME);
        let _ = decode::<ToServer>(&frame, MAX_FRAME);
    }
}

/// An envelope as `rmp-serde` reads it.
#[derive(serde::Deserialize)]
struct Envelope<B> {
    v: u16,
    body: B,
}

/// What the reader takes, `rmp-serde` takes, too, and for the same. It may take more: structures as lists, bytes behind the end.
fn agrees<B: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(frame: &[u8]) -> bool {
    let Ok(ours) = decode::<B>(frame, MAX_FRAME) else { return false };
    let theirs = rmp_serde::from_slice::<Envelope<B>>(frame).unwrap();
    assert_eq!((ours, VERSION), (theirs.body, theirs.v), "{frame:02x?}");
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_reader_and_rmp_serde_agree(
        to_server in to_server(), to_gateway in to_gateway(), at: prop::sample::Index, bit in 0..8_u8, cut: prop::sample::Index,
    ) {
        let mut frame = to_server.frame().to_vec();
        assert!(agrees::<ToServer>(&frame));
        assert!(!agrees::<ToServer>(&frame[..cut.index(frame.len())]));
        *at.get_mut(&mut frame) ^= 1 << bit;
        agrees::<ToServer>(&frame);

        let mut frame = to_gateway.frame().to_vec();
        assert!(agrees::<ToGateway>(&frame));
        assert!(!agrees::<ToGateway>(&frame[..cut.index(frame.len())]));
        *at.get_mut(&mut frame) ^= 1 << bit;
        agrees::<ToGateway>(&frame);
    }
}

/// A map of MessagePack, from names and values that are MessagePack already.
fn map(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0x80 | fields.len() as u8];
    for (name, value) in fields {
        bytes.push(0xa0 | name.len() as u8);
        bytes.extend(name.bytes());
        bytes.extend(*value);
    }
    bytes
}

#[test]
fn what_is_not_known_is_ignored_and_what_is_missing_has_a_default() {
    let beat = map(&[("request", &[7]), ("process", &[9]), ("colour", &[0xa3, b'r', b'e', b'd'])]);
    let body = map(&[("heartbeat", &beat)]);
    let frame = map(&[("v", &[1]), ("later", &[0xc3]), ("body", &body)]);
    let expected = Heartbeat { request: 7, process: 9, ..Heartbeat::default() };
    assert_eq!(decode(&frame, MAX_FRAME), Ok(ToServer::Heartbeat(expected)));
}

#[test]
fn another_version_is_named_and_not_read() {
    let frame = map(&[("v", &[2]), ("body", &[0xc0])]);
    let error = decode::<ToServer>(&frame, MAX_FRAME).unwrap_err();
    assert_eq!(error, DecodeError::Version(2));
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn what_is_too_long_is_not_read() {
    let frame = vec![0; MAX_FRAME_TO_SERVER + 1];
    let refused = decode::<ToServer>(&frame, MAX_FRAME_TO_SERVER);
    assert_eq!(refused, Err(DecodeError::TooLong(frame.len())));
}

#[test]
fn huge_lengths_and_deep_nests_are_refused_without_memory() {
    // A list of 2^32 − 1 entries, a text of 4 GB, a nest of 60,000 lists.
    let lists = [
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0xdb, 0xff, 0xff, 0xff, 0xff],
        vec![0xdf, 0xff, 0xff, 0xff, 0xff],
        vec![0x91; 60_000],
        vec![0x81; 60_000],
    ];
    for list in lists {
        let beat = map(&[("request", &[7]), ("process", &[9]), ("holds", &list)]);
        let report = map(&[("process", &[9]), ("machines", &list)]);
        let other = map(&[("request", &[7]), ("process", &[9]), ("x", &list)]);
        for body in [
            map(&[("heartbeat", &beat)]),
            map(&[("report", &report)]),
            map(&[("heartbeat", &other)]),
            list.clone(),
        ] {
            let frame = map(&[("v", &[1]), ("body", &body)]);
            assert!(decode::<ToServer>(&frame, MAX_FRAME).is_err());
        }
    }
}

#[test]
fn a_tek_of_another_length_is_refused_and_none_prints() {
    let keys = |tek: &[u8]| {
        let mut bytes = vec![0xc4, tek.len() as u8];
        bytes.extend(tek);
        bytes
    };
    assert!(rmp_serde::from_slice::<TekField>(&keys(&[238; 32])).is_ok());
    for length in [0, 31, 33, 64] {
        assert!(rmp_serde::from_slice::<TekField>(&keys(&vec![238; length])).is_err());
    }
    let field = TekField(Tek::new([238; 32]).into());
    assert!(!format!("{field:?}").contains("238"));
}

#[test]
fn the_largest_state_fits_into_a_frame() {
    let rule = |number: usize| {
        let name = "n".repeat(40);
        let ip = format!("2001:db8:ffff:ffff:ffff:ffff:{:x}:ffff/128", number % 0xffff);
        let rule = format!(
            "encrypt name={name} proto=tcp src_ip={ip} dest_ip={ip} src_port=50000-60000 dest_port=50000-60000"
        );
        rule.parse::<Rule>().unwrap()
    };
    let policy = |version| PolicyVersion {
        version,
        stage: Stage::Retiring,
        policy: Policy::new((0..MAX_RULES).map(rule).collect()),
        mode: Mode::ReceiveOnly,
        non_ip: NonIp::Only(vec![0x8892; 32]),
        fail: Fail::Closed,
    };
    let epoch = |id| Epoch {
        id,
        stage: Stage::Retiring,
        revokes: true,
        keys: Some(EpochKeys {
            tek: TekField(Tek::new([1; 32]).into()),
            suite: Suite::ChaCha20Poly1305,
            carriage: Carriage::Protocol(253),
            clock: u64::MAX,
            origin: u64::MAX,
            ends: u64::MAX,
            senders: vec![0x00ff_ffff; 256],
            highest_sender: 0x00ff_ffff,
        }),
    };
    let state = State {
        request: u64::MAX,
        instance: u64::MAX,
        revision: u64::MAX,
        time: Reading { clock: u64::MAX, now: u64::MAX },
        group: "g".repeat(48),
        name: "n".repeat(48),
        epochs: vec![epoch(1), epoch(2), epoch(3)],
        policies: vec![policy(1), policy(2), policy(3)],
        settings: GroupSettings {
            replay_window: 1,
            island_time: 1,
            local_bypass: true,
            timed_bypass: true,
        },
    };
    let frame = encode(&ToGateway::State(Box::new(state)));
    assert!(frame.len() <= MAX_FRAME, "{} bytes", frame.len());
    let v6: IpAddr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    let map = Map { instance: 1, revision: 1, mine: vec![v6; 800], others: vec![v6; 6_000] };
    let frame = encode(&ToGateway::Map(map));
    assert!(frame.len() <= MAX_FRAME, "{} bytes", frame.len());
}

#[test]
fn a_token_of_any_bytes_is_none() {
    let token = Token {
        servers: vec!["tcp://192.0.2.1:5555".to_owned()],
        server_key: PublicKey([1; 32]),
        secret: TokenSecret::make(|secret| secret.fill(2)),
        expires: 1,
        group: "plant".to_owned(),
    };
    let text = token.encode();
    assert_eq!(Token::decode(&text), Ok(token));
    for at in 0..text.len() {
        for with in ["A", "-", "_", "é", "\0", "="] {
            let mut other = text.to_string();
            other.replace_range(at..=at, with);
            let _ = Token::decode(&other);
        }
    }
}

/// The inputs that fuzzing begins with were written by another program (tests/fuzz).
macro_rules! corpus {
    ($kind:ty, $folder:literal, $($name:literal),+) => {
        $({
            let frame = include_bytes!(concat!("../../../tests/fuzz/corpus/", $folder, "/", $name));
            let message = decode::<$kind>(frame, MAX_FRAME);
            assert!(message.is_ok(), "{}: {message:?}", $name);
        })+
    };
}

#[test]
fn what_another_program_wrote_is_read() {
    corpus!(ToServer, "to_server", "register", "register_token", "heartbeat", "report", "done");
    corpus!(ToGateway, "to_gateway", "pending", "refused", "unknown", "pulse", "state", "map");
    corpus!(ToGateway, "to_gateway", "command", "rekey");
    let nest = include_bytes!("../../../tests/fuzz/corpus/to_server/nest");
    assert!(decode::<ToServer>(nest, MAX_FRAME).is_err());
    let token = include_str!("../../../tests/fuzz/corpus/token/token");
    assert_eq!(Token::decode(token).unwrap().group, "plant");
}
