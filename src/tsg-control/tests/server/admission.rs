//! Who gets in, and what hostile gateways achieve.

use crate::{NOW, beat, key, refused, register, registration, said, say, server, state};
use tsg_control::message::{
    Heartbeat, Held, PortState, Register, Report, SeenFlow, ToGateway, ToServer,
};
use tsg_control::server::{GatewayState, MOST_PENDING, Record};
use tsg_control::token::TokenSecret;

#[test]
fn a_token_lets_one_gateway_in_once() {
    let mut server = server();
    let (_, secret) = server.create_token("plant", NOW / 1000 + 60).unwrap();
    let with = |secret: &TokenSecret| {
        ToServer::Register(Register { token: Some(secret.clone()), ..registration(1) })
    };
    let unknown = TokenSecret::make(|secret| secret.fill(9));
    let answer = say(&mut server, key(1), with(&unknown), NOW);
    assert!(refused(&answer).reason.contains("not known"), "{answer:?}");
    let answer = say(&mut server, key(1), with(&secret), NOW + 60_000);
    assert!(refused(&answer).reason.contains("expired"), "{answer:?}");
    let joined = state(say(&mut server, key(1), with(&secret), NOW + 59_999));
    assert_eq!(joined.name, "press");
    let answer = say(&mut server, key(2), with(&secret), NOW);
    assert!(refused(&answer).reason.contains("used"), "{answer:?}");
    // It may say its token again: it is in already.
    state(say(&mut server, key(1), with(&secret), NOW));
    // Thrown out, the token does not bring it back.
    server.revoke(key(1), "lost", NOW).unwrap();
    said(&mut server);
    assert!(refused(&say(&mut server, key(1), with(&secret), NOW)).revoked);
    server.remove(key(1), NOW).unwrap();
    said(&mut server);
    let answer = say(&mut server, key(1), with(&secret), NOW);
    assert!(refused(&answer).reason.contains("used"), "{answer:?}");
}

#[test]
fn the_gateway_is_on_disk_before_its_token_is_spent() {
    let mut server = server();
    let (_, secret) = server.create_token("plant", NOW / 1000 + 60).unwrap();
    while server.poll_record().is_some() {}
    let register = Register { token: Some(secret), ..registration(1) };
    server.handle_message(key(1), ToServer::Register(register), NOW);
    let records: Vec<_> = std::iter::from_fn(|| server.poll_record()).collect();
    let gateway = records.iter().position(|record| matches!(record, Record::Gateway(_)));
    let token = records.iter().position(|record| matches!(record, Record::Token(_)));
    assert!(gateway.unwrap() < token.unwrap());
}

#[test]
fn strangers_are_few_and_the_forgotten_make_room() {
    let mut server = server();
    let mut now = NOW;
    let mut waiting = 0;
    for number in 0..2_000 {
        let answer = say(&mut server, key(number), ToServer::Register(registration(1)), now);
        waiting += usize::from(matches!(answer[..], [ToGateway::Pending(_)]));
    }
    assert_eq!(waiting, 200, "at once");
    for number in 0..2_000 {
        now += 50;
        say(&mut server, key(number), ToServer::Register(registration(1)), now);
    }
    assert_eq!(server.gateways(now).len(), MOST_PENDING);
    // Those who fell silent do not keep others out for ever.
    now += 60_000;
    let answer = say(&mut server, key(9_999), ToServer::Register(registration(1)), now);
    assert!(matches!(answer[..], [ToGateway::Pending(_)]), "{answer:?}");
}

#[test]
fn who_was_thrown_out_gets_nothing_but_that() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    let old = register(&mut server, key(1), 10, NOW);
    register(&mut server, key(2), 20, NOW);
    server.revoke(key(1), "lost\n\x1b[31m", NOW).unwrap();
    assert!(!server.admits(&key(1)));
    let answers = said(&mut server);
    let mine: Vec<_> = answers.iter().filter(|(to, _)| *to == key(1)).map(|(_, m)| m).collect();
    assert!(matches!(mine[..], [ToGateway::Refused(refused)] if refused.reason == "lost[31m"));
    let answer = say(&mut server, key(1), beat(10, &old, 2), NOW);
    assert!(matches!(answer[..], [ToGateway::Unknown(_)]), "{answer:?}");
    let answer = say(&mut server, key(1), ToServer::Register(registration(10)), NOW);
    assert!(matches!(answer[..], [ToGateway::Refused(_)]), "{answer:?}");
    let machines = vec!["192.0.2.1".parse().unwrap()];
    let report = Report { process: 10, machines, ..Report::default() };
    assert!(say(&mut server, key(1), ToServer::Report(report), NOW).is_empty());
}

#[test]
fn hostile_members_break_nothing() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let state = register(&mut server, key(1), 10, NOW);
    let epoch = state.epochs[0].id;
    let all = (0..5_000).map(|_| Held { epoch: u64::MAX, check: [0; 8], senders: 255 });
    let beat = Heartbeat {
        request: u64::MAX,
        process: 10,
        instance: state.instance,
        revision: u64::MAX,
        map: u64::MAX,
        sealing: u64::MAX,
        sender: u32::MAX,
        holds: all.collect(),
        ask: true,
        alarms: vec!["\x1b]0;x\x07\n".repeat(1_000); 500],
    };
    say(&mut server, key(1), ToServer::Heartbeat(beat), NOW);
    let report = Report {
        process: 10,
        machines: (0..10_000u32).map(|n| std::net::Ipv4Addr::from(n).into()).collect(),
        counters: (0..5_000).map(|n| (format!("\n{n}"), u64::MAX)).collect(),
        flows: (1..5_000u16).map(made_up).collect(),
        ports: vec![hostile_port(); 500],
    };
    say(&mut server, key(1), ToServer::Report(report), NOW);
    let mut named = registration(10);
    named.name = "../../etc\0".repeat(500);
    named.senders = 255;
    say(&mut server, key(1), ToServer::Register(named), NOW);
    let view = &server.gateways(NOW)[0];
    assert!(view.machines.len() <= 512 && view.counters.len() <= 128 && view.alarms.len() <= 16);
    assert!(view.alarms.iter().all(|alarm| alarm.len() <= 800 && !alarm.contains('\x1b')));
    assert_eq!(view.state, GatewayState::Online);
    assert!(view.ports.len() <= 16 && view.events.len() <= 20);
    let [port, ..] = &view.ports[..] else { panic!("no ports") };
    assert!(port.name.chars().count() <= 15 && !port.name.contains('\x1b'), "{:?}", port.name);
    assert!(
        port.offloads.len() <= 8 && port.offloads.iter().all(|name| name.chars().count() <= 31)
    );
    let flows = server.flows("plant", NOW).unwrap();
    assert_eq!(flows.len(), 256);
    assert!(flows.iter().all(|flow| flow.last <= 30 * 86_400 && flow.gateways.len() == 1));
    let group = &server.groups(NOW)[0];
    let furthest = epoch + (1 << 32) + 20;
    assert!(group.epochs.iter().all(|view| view.id <= furthest), "{:?}", group.epochs);
    // Another process of the same key, and messages of a process that is not the newest.
    let answer = say(&mut server, key(1), ToServer::Heartbeat(Heartbeat::default()), NOW);
    assert!(matches!(answer[..], [ToGateway::Unknown(_)]), "{answer:?}");
}

fn made_up(port: u16) -> SeenFlow {
    SeenFlow {
        client: [192, 0, 2, 1].into(),
        server: [192, 0, 2, 2].into(),
        proto: Some(6),
        port: Some(port),
        packets: u64::MAX,
        bytes: u64::MAX,
        age: u32::MAX,
        in_clear: true,
        unreached: true,
    }
}

fn hostile_port() -> PortState {
    PortState {
        name: "\x1b]0;<script>".repeat(100),
        wan: true,
        up: true,
        mbits: Some(u32::MAX),
        offloads: vec!["\u{202e}x".repeat(100); 100],
    }
}
