//! The server's half, one question at a time: who gets in, who gets which sender numbers, what it
//! makes of hostile gateways.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::collections::BTreeMap;
use tsg_control::keys::{PublicKey, tek_check};
use tsg_control::message::{
    Heartbeat, Held, Refused, Register, Report, State, ToGateway, ToServer,
};
use tsg_control::server::{GatewayState, MOST_PENDING, Random, Record, Server, Stored};
use tsg_control::timeline::Stage;
use tsg_control::token::TokenSecret;

const NOW: u64 = 1_700_000_000_000;

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn key(number: u16) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey(bytes)
}

fn server() -> Server {
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    server.add_group("plant", NOW).unwrap();
    server
}

fn registration(process: u64) -> Register {
    Register {
        request: 77,
        process,
        name: "press".to_owned(),
        version: "0.1.0".to_owned(),
        token: None,
        aes: true,
        senders: 2,
        holds: Vec::new(),
    }
}

fn say(server: &mut Server, from: PublicKey, message: ToServer, now: u64) -> Vec<ToGateway> {
    server.handle_message(from, message, now);
    said(server).into_iter().filter(|(to, _)| *to == from).map(|(_, message)| message).collect()
}

fn said(server: &mut Server) -> Vec<(PublicKey, ToGateway)> {
    std::iter::from_fn(|| server.poll_transmit()).collect()
}

fn register(server: &mut Server, from: PublicKey, process: u64, now: u64) -> State {
    state(say(server, from, ToServer::Register(registration(process)), now))
}

fn state(messages: Vec<ToGateway>) -> State {
    let states = messages.into_iter().filter_map(|message| match message {
        ToGateway::State(state) => Some(*state),
        _ => None,
    });
    states.last().expect("a state")
}

fn refused(messages: &[ToGateway]) -> &Refused {
    let refused = messages.iter().find_map(|message| match message {
        ToGateway::Refused(refused) => Some(refused),
        _ => None,
    });
    refused.expect("a refusal")
}

fn held(state: &State, left: u8) -> Vec<Held> {
    let held = state.epochs.iter().filter_map(|epoch| {
        let check = tek_check(&epoch.keys.as_ref()?.tek.0);
        Some(Held { epoch: epoch.id, check, senders: left })
    });
    held.collect()
}

fn beat(process: u64, state: &State, left: u8) -> ToServer {
    ToServer::Heartbeat(Heartbeat {
        request: 5,
        process,
        instance: state.instance,
        revision: state.revision,
        holds: held(state, left),
        ..Heartbeat::default()
    })
}

fn senders(state: &State) -> Vec<u32> {
    state.epochs.last().unwrap().keys.as_ref().unwrap().senders.clone()
}

#[test]
fn a_process_keeps_its_numbers_and_another_gets_others() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    assert_eq!(senders(&first), [1, 2]);
    assert_eq!(senders(&register(&mut server, key(2), 20, NOW)), [3, 4]);
    // The same process again, after its connection broke.
    assert_eq!(senders(&register(&mut server, key(1), 10, NOW + 1)), [1, 2]);
    // The box rebooted.
    assert_eq!(senders(&register(&mut server, key(1), 11, NOW + 2)), [5, 6]);
    // A daemon that went on from RAM still has its numbers and needs none.
    let mut resumed = registration(12);
    resumed.holds = held(&first, 1);
    let resumed = state(say(&mut server, key(1), ToServer::Register(resumed), NOW + 3));
    assert_eq!(senders(&resumed), []);
}

#[test]
fn numbers_that_are_used_up_are_replaced_until_it_is_too_much() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let mut newest = register(&mut server, key(1), 10, NOW);
    let epoch = newest.epochs.last().unwrap().id;
    let mut now = NOW;
    for _ in 0..127 {
        now += 2_000;
        let before = senders(&newest).len();
        newest = state(say(&mut server, key(1), beat(10, &newest, 0), now));
        assert_eq!(senders(&newest).len(), before + 2);
    }
    // 256 in one epoch: no more, but a new epoch.
    let answers = say(&mut server, key(1), beat(10, &newest, 0), now + 2_000);
    let next = state(answers);
    assert!(next.epochs.last().unwrap().id > epoch);
    assert_eq!(next.epochs[0].keys.as_ref().unwrap().senders.len(), 256);
}

#[test]
fn two_signs_of_life_at_once_bring_one_refill() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    say(&mut server, key(1), beat(10, &first, 2), NOW + 10);
    let states = |messages: Vec<ToGateway>| {
        messages.into_iter().filter(|message| matches!(message, ToGateway::State(_))).count()
    };
    assert_eq!(states(say(&mut server, key(1), beat(10, &first, 0), NOW + 2_000)), 1);
    assert_eq!(states(say(&mut server, key(1), beat(10, &first, 0), NOW + 2_001)), 0);
}

#[test]
fn a_token_lets_one_gateway_in_once() {
    let mut server = server();
    let (_, secret) = server.create_token("plant", NOW / 1000 + 60).unwrap();
    let with = |secret: &TokenSecret| {
        ToServer::Register(Register { token: Some(secret.clone()), ..registration(1) })
    };
    let unknown = TokenSecret([9; 16].into());
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
    let report = Report { process: 10, machines, counters: BTreeMap::new() };
    assert!(say(&mut server, key(1), ToServer::Report(report), NOW).is_empty());
}

#[test]
fn the_last_member_takes_the_epoch_along() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let old = register(&mut server, key(1), 10, NOW);
    server.revoke(key(1), "lost", NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    said(&mut server);
    let new = register(&mut server, key(2), 20, NOW);
    assert_ne!(held(&old, 0)[0].check, held(&new, 0)[0].check, "the revoked one knows this key");
    assert!(new.epochs.iter().all(|epoch| epoch.id > old.epochs[0].id));
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
        holds: all.collect(),
        ask: true,
        alarms: vec!["\x1b]0;x\x07\n".repeat(1_000); 500],
    };
    say(&mut server, key(1), ToServer::Heartbeat(beat), NOW);
    let report = Report {
        process: 10,
        machines: (0..10_000u32).map(|n| std::net::Ipv4Addr::from(n).into()).collect(),
        counters: (0..5_000).map(|n| (format!("\n{n}"), u64::MAX)).collect(),
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
    let group = &server.groups(NOW)[0];
    assert!(group.epochs.iter().all(|view| view.id <= epoch + 1), "{:?}", group.epochs);
    // Another process of the same key, and messages of a process that is not the newest.
    let answer = say(&mut server, key(1), ToServer::Heartbeat(Heartbeat::default()), NOW);
    assert!(matches!(answer[..], [ToGateway::Unknown(_)]), "{answer:?}");
}

#[test]
fn a_restored_backup_counts_on_from_what_members_hold() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let state = register(&mut server, key(1), 10, NOW);
    let mut later = state.clone();
    later.epochs[0].id = 40;
    let answers = say(&mut server, key(1), beat(10, &later, 2), NOW + 100);
    let newest = answers.iter().find_map(|message| match message {
        ToGateway::State(state) => state.epochs.last(),
        _ => None,
    });
    let newest = newest.expect("a new epoch at once, in place of the one that was prepared");
    assert!(newest.id > 40 && newest.stage == Stage::Prepared, "{newest:?}");
    // Not as often as somebody likes.
    later.epochs[0].id = 4_000;
    say(&mut server, key(1), beat(10, &later, 2), NOW + 200);
    assert!(server.groups(NOW)[0].epochs.iter().all(|epoch| epoch.id < 4_000));
}

#[test]
fn rekeys_are_not_held_up_by_a_member_that_is_away() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    let mut now = NOW + 20_000;
    let mut state = register(&mut server, key(1), 10, now);
    for _ in 0..6 {
        server.rekey("plant", now).unwrap();
        let wanted = server.groups(now)[0].epochs.last().unwrap().id;
        for _ in 0..40 {
            now += 1_000;
            server.handle_timeout(now);
            let answers: Vec<_> =
                said(&mut server).into_iter().map(|(_, message)| message).collect();
            if answers.iter().any(|message| matches!(message, ToGateway::State(_))) {
                state = self::state(answers);
            }
            let more = say(&mut server, key(1), beat(10, &state, 2), now);
            if more.iter().any(|message| matches!(message, ToGateway::State(_))) {
                state = self::state(more);
            }
        }
        let epochs = &server.groups(now)[0].epochs;
        assert!(epochs.len() <= 3, "{epochs:?}");
        let active = epochs.iter().find(|epoch| epoch.stage == Stage::Active).unwrap();
        assert!(active.id >= wanted, "{epochs:?}");
    }
    assert!(server.groups(now)[0].epochs.last().unwrap().id >= 6);
}
