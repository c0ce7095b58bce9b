//! What 0.1.0 wrote, and the values that it is read to.

use previous::{read, record};
use std::net::IpAddr;
use tsg_control::gateway::{Gateway, Identity, Saved};
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::keys::PublicKey;
use tsg_control::message::*;
use tsg_control::policy::Policy;
use tsg_control::timeline::Stage;
use tsg_control::token::{Token, TokenSecret};
use tsg_esp::crypto::{Suite, Tek};

pub(crate) const VERSION: &str = "0.1.0";

fn held(epoch: u64) -> Held {
    Held { epoch, check: [1, 2, 3, 4, 5, 6, 7, epoch as u8], senders: 3 }
}

fn addresses() -> Vec<IpAddr> {
    ["192.0.2.7", "2001:db8::7"].map(|address| address.parse().unwrap()).to_vec()
}

/// One of every kind that a gateway says.
pub(crate) fn to_server() -> Vec<(&'static str, ToServer)> {
    let register = Register {
        request: 0x1122_3344_5566_7788,
        process: 42,
        name: "press7".to_owned(),
        version: VERSION.to_owned(),
        token: None,
        aes: true,
        senders: 4,
        holds: vec![held(6), held(7)],
    };
    let token = Some(secret());
    let enrolling = Register { token, holds: Vec::new(), ..register.clone() };
    let heartbeat = Heartbeat {
        request: 8,
        process: 42,
        instance: 0xfedc_ba98,
        revision: 12,
        map: 5,
        sealing: 7,
        sender: 300,
        holds: vec![held(7)],
        ask: true,
        alarms: vec!["no key: what the rules match is stopped".to_owned()],
    };
    let counters = [("sealed", 1 << 40), ("drop_stale", 3)];
    let report = Report {
        process: 42,
        machines: addresses(),
        counters: counters.map(|(name, count)| (name.to_owned(), count)).into(),
        flows: Vec::new(),
        ports: Vec::new(),
    };
    let done = Done { command: 3, ok: false, text: "no such device".to_owned() };
    vec![
        ("register", ToServer::Register(register)),
        ("register_token", ToServer::Register(enrolling)),
        ("heartbeat", ToServer::Heartbeat(heartbeat)),
        ("report", ToServer::Report(report)),
        ("done", ToServer::Done(done)),
    ]
}

fn keys(id: u8, suite: Suite, carriage: Carriage) -> EpochKeys {
    EpochKeys {
        tek: TekField(Tek::new([id; 32]).into()),
        suite,
        carriage,
        clock: 77,
        origin: 1_699_996_400_000,
        ends: 1_700_086_400_000,
        senders: vec![17, 18, 0x00ff_ffff],
        highest_sender: 0x00ff_ffff,
    }
}

fn policy(version: u64, stage: Stage, rules: &[&str], mode: Mode) -> PolicyVersion {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let (non_ip, fail) = match stage {
        Stage::Prepared => (NonIp::Only(vec![0x8892, 0x88b8]), Fail::Closed),
        Stage::Active => (NonIp::Drop, Fail::Open),
        Stage::Retiring => (NonIp::Pass, Fail::Closed),
    };
    PolicyVersion { version, stage, policy: Policy::new(rules), mode, non_ip, fail }
}

/// With every stage, cipher, carriage, mode and option of a rule.
pub(crate) fn state() -> State {
    let epoch = |id, stage, keys| Epoch { id, stage, revokes: id == 8, keys };
    let aes = keys(7, Suite::Aes256Gcm, Carriage::Protocol(253));
    let chacha = keys(8, Suite::ChaCha20Poly1305, Carriage::Udp(4253));
    State {
        request: 8,
        instance: 0xfedc_ba98,
        revision: 12,
        time: Reading { clock: 77, now: 1_700_000_000_000 },
        group: "line1".to_owned(),
        name: "press7".to_owned(),
        epochs: vec![
            epoch(6, Stage::Retiring, None),
            epoch(7, Stage::Active, Some(aes)),
            epoch(8, Stage::Prepared, Some(chacha)),
        ],
        policies: vec![
            policy(3, Stage::Retiring, &[], Mode::Learn),
            policy(
                4,
                Stage::Active,
                &["encrypt proto=tcp dest_port=502 name=modbus"],
                Mode::Migrate,
            ),
            policy(
                5,
                Stage::Prepared,
                &[
                    "encrypt name=all proto=tcp,udp src_ip=192.0.2.0/24 dest_ip=2001:db8::/32 \
                     src_port=1024-65535 dest_port=502,44818-44820",
                    "bypass proto=icmp",
                    "drop proto=udp dest_port=161",
                ],
                Mode::Enforce,
            ),
        ],
        settings: GroupSettings {
            replay_window: 4,
            island_time: u32::MAX,
            local_bypass: true,
            timed_bypass: true,
        },
    }
}

/// One of every kind that the key server says, and of every command.
pub(crate) fn to_gateway() -> Vec<(&'static str, ToGateway)> {
    let refused = |request, revoked| {
        let reason = "box stolen".to_owned();
        ToGateway::Refused(Refused { request, reason, revoked, retry: 60 })
    };
    let command = |kind| ToGateway::Command(Command { command: 3, kind });
    let map = Map { instance: 9, revision: 5, mine: addresses(), others: addresses() };
    let time = Reading { clock: 77, now: 1_700_000_000_000 };
    vec![
        ("pending", ToGateway::Pending(Pending { request: 8, retry: 5 })),
        ("refused", refused(8, false)),
        ("refused_revoked", refused(0, true)),
        ("unknown", ToGateway::Unknown(Unknown { request: 8 })),
        ("pulse", ToGateway::Pulse(Pulse { request: 8, time })),
        ("state", ToGateway::State(Box::new(state()))),
        ("map", ToGateway::Map(map)),
        ("command_rekey", command(CommandKind::Rekey)),
        ("command_reload", command(CommandKind::Reload)),
        ("command_reregister", command(CommandKind::Reregister)),
        ("command_log_level", command(CommandKind::LogLevel(LogLevel::Debug))),
        ("command_diagnostics", command(CommandKind::Diagnostics)),
        ("command_reboot", command(CommandKind::Reboot)),
    ]
}

fn secret() -> TokenSecret {
    TokenSecret::make(|secret| *secret = [9; 16])
}

fn announcement() -> Announcement {
    Announcement { group: "line1".to_owned(), epoch: 7, policy: 4 }
}

fn token() -> Token {
    Token {
        servers: vec!["tcp://192.0.2.10:5555".to_owned(), "tcp://keys.plant:5555".to_owned()],
        server_key: PublicKey([7; 32]),
        secret: secret(),
        expires: 1_800_000_000,
        group: "line1".to_owned(),
    }
}

pub(crate) fn gateway() -> Gateway {
    let name = "press7".to_owned();
    Gateway::new(
        Identity { name, version: VERSION.to_owned(), aes: true, senders: 4, kept: 0, token: None },
        1,
        1_000,
    )
}

/// A gateway that was let in at local time 2,000, having asked at 1,000.
pub(crate) fn member() -> Gateway {
    let mut gateway = gateway();
    gateway.handle_timeout(1_000);
    let Some(ToServer::Register(register)) = gateway.poll_transmit() else { panic!("it asks") };
    let state = State { request: register.request, ..state() };
    gateway.handle_message(ToGateway::State(Box::new(state)), 2_000);
    gateway
}

/// The version of today has its own corpus.
#[test]
fn what_this_version_says_is_recorded() {
    let version = env!("CARGO_PKG_VERSION");
    for (name, message) in to_server() {
        record(version, &format!("to_server/{name}"), &encode(&message));
    }
    for (name, message) in to_gateway() {
        record(version, &format!("to_gateway/{name}"), &encode(&message));
    }
    record(version, "announcement", &encode(&announcement()));
    record(version, "saved", &encode(&member().save().unwrap()));
    let kept = member().active_policy().map(serde_json::to_vec_pretty);
    record(version, "policy.json", &kept.unwrap().unwrap());
    record(version, "token", token().encode().as_bytes());
}

#[test]
fn every_message_is_read_to_its_value() {
    let mut count = 0;
    for (name, expected) in to_server() {
        let frame = read(VERSION, &format!("to_server/{name}"));
        assert_eq!(from_gateway(&frame), Ok(expected), "{name}");
        count += 1;
    }
    for (name, expected) in to_gateway() {
        let frame = read(VERSION, &format!("to_gateway/{name}"));
        let heard = Heard { message: Some(expected), answer: None, unknown: Vec::new() };
        assert_eq!(from_server(&frame), Ok(heard), "{name}");
        count += 1;
    }
    assert_eq!(decode(&read(VERSION, "announcement"), MAX_FRAME), Ok(announcement()));
    assert_eq!(Token::decode(&String::from_utf8(read(VERSION, "token")).unwrap()), Ok(token()));
    let kept: PolicyVersion = serde_json::from_slice(&read(VERSION, "policy.json")).unwrap();
    assert_eq!(kept, state().policies[1]);
    assert_eq!(kept.policy.check(), Ok(()));
    println!("{count} messages");
}

/// A daemon of today goes on from what one of 0.1.0 kept in RAM.
#[test]
fn a_saved_state_is_gone_on_from() {
    let saved: Saved = decode(&read(VERSION, "saved"), 1 << 20).unwrap();
    let mut gateway = gateway();
    gateway.restore(saved, 3_000);
    assert_eq!(gateway.names(), Some(("line1", "press7")));
    assert_eq!(gateway.policies(), state().policies);
    assert_eq!(gateway.settings(), Some(&state().settings));
    let views = gateway.keys(3_000);
    let [seven, eight] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((seven.id, seven.sealing, seven.prepared), (7, true, false));
    assert_eq!((eight.id, eight.sealing, eight.prepared), (8, false, true));
    assert_eq!((seven.suite, seven.carriage), (Suite::Aes256Gcm, Carriage::Protocol(253)));
    assert_eq!((eight.suite, eight.carriage), (Suite::ChaCha20Poly1305, Carriage::Udp(4253)));
    assert_eq!(seven.tek.expose(), &[7; 32]);
    assert_eq!(seven.senders, [17, 18, 0x00ff_ffff]);
    assert!(seven.origin.is_some() && seven.error < 1_000, "it knows the time: {seven:?}");
}
