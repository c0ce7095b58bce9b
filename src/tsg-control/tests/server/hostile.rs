//! Members that lie, and what the others notice of it.

use crate::{
    NOW, beat, held, key, last_state, register, registration, said, say, senders, server,
    state as state_of,
};
use tsg_control::message::{Heartbeat, Register, State, ToGateway, ToServer};
use tsg_control::policy::Policy;
use tsg_control::server::{Event, Level, Server};
use tsg_control::timeline::Stage;

/// A sign of life of a member that claims another epoch and confirms nothing.
fn lie(process: u64, state: &State, epoch: u64) -> ToServer {
    let mut lie = state.clone();
    lie.revision = 0;
    lie.epochs.truncate(1);
    lie.epochs[0].id = epoch;
    beat(process, &lie, 2)
}

#[test]
fn lies_do_not_keep_epochs_from_coming_into_force() {
    let mut server = server();
    for number in [1, 2] {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    let mut honest = register(&mut server, key(1), 10, NOW);
    let liar = register(&mut server, key(2), 20, NOW);
    let (mut now, mut rekeys, mut in_force) = (NOW, 0, 0);
    for second in 0..3_600 {
        now += 1_000;
        server.handle_timeout(now);
        let newest = server.groups(now)[0].epochs.last().unwrap().id;
        say(&mut server, key(2), lie(20, &liar, newest + 5), now);
        if second % 10 == 0 {
            let answer = say(&mut server, key(1), beat(10, &honest, 2), now);
            honest = last_state(answer).unwrap_or(honest);
        }
        let epochs = &server.groups(now)[0].epochs;
        let active = epochs.iter().rfind(|epoch| epoch.stage == Stage::Active);
        let active = active.map_or(0, |epoch| epoch.id);
        rekeys += u32::from(active != in_force);
        in_force = active;
        if let Some(prepared) = epochs.iter().find(|epoch| epoch.stage == Stage::Prepared) {
            let waits = 86_400 - prepared.remaining;
            assert!(waits <= 20, "prepared for {waits} s");
        }
    }
    assert!((3..=12).contains(&rekeys), "{rekeys} rekeys in an hour of lies");
    let liar = server.gateways(now).into_iter().find(|view| view.key == key(2)).unwrap().name;
    let named = std::iter::from_fn(|| server.poll_event())
        .any(|event| event.level == Level::Warning && event.text.contains(&liar));
    assert!(named, "the operator reads who it is");
}

#[test]
fn policies_in_a_row_come_into_force_though_a_member_does_not_answer() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    register(&mut server, key(1), 10, NOW);
    for step in 0..4 {
        let now = NOW + step * 10_000;
        server.handle_timeout(now);
        let alive = Heartbeat { process: 10, ..Heartbeat::default() };
        say(&mut server, key(1), ToServer::Heartbeat(alive), now);
        server.set_policy("plant", Policy::default(), now).unwrap();
    }
    assert!(server.groups(NOW)[0].policy_in_force > 1);
}

/// A group of two, and the state of the first. Each call gives the same, as a snapshot does: random
/// numbers and all.
fn snapshot() -> (Server, State) {
    let mut server = server();
    for number in [1, 2] {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    let first = register(&mut server, key(1), 10, NOW);
    let first = last_state(say(&mut server, key(1), beat(10, &first, 2), NOW)).unwrap_or(first);
    (server, first)
}

#[test]
fn a_server_that_was_resumed_from_a_snapshot_begins_anew() {
    let (mut ahead, _) = snapshot();
    ahead.rename(key(1), "lathe", NOW + 1_000).unwrap();
    let state = state_of(said(&mut ahead).into_iter().map(|(_, message)| message).collect());
    // Numbers that the snapshot does not know of.
    let given = register(&mut ahead, key(2), 20, NOW + 2_000);

    let (mut server, _) = snapshot();
    let answer = say(&mut server, key(1), beat(10, &state, 2), NOW + 3_000);
    assert!(matches!(answer[..], [ToGateway::Unknown(_)]), "{answer:?}");
    let new = register(&mut server, key(2), 21, NOW + 3_000);
    assert_ne!(new.instance, state.instance, "or members ignore it as old");
    assert_ne!(new.time.clock, state.time.clock);
    let keys = |state: &State| state.epochs.iter().filter(|epoch| epoch.keys.is_some()).count();
    assert_eq!((keys(&given), keys(&new)), (1, 1));
    assert_ne!(held(&new, 0)[0].check, held(&given, 0)[0].check, "the same number twice");
    // Not as often as somebody likes, and not for the same one again soon.
    let again = register(&mut server, key(1), 10, NOW + 3_000);
    let mut ahead = last_state(say(&mut server, key(1), beat(10, &again, 2), NOW + 3_000));
    let ahead = ahead.get_or_insert(again);
    ahead.revision += 1_000;
    for second in 4..60 {
        let answer = say(&mut server, key(1), beat(10, ahead, 2), NOW + second * 1_000);
        assert!(matches!(answer[0], ToGateway::Pulse(_)), "{answer:?}");
    }
}

#[test]
fn sender_numbers_of_a_future_that_was_forgotten_are_noticed() {
    // Handing out numbers changes nobody's state.
    let (mut ahead, first) = snapshot();
    let given = register(&mut ahead, key(2), 20, NOW + 2_000);
    assert_eq!((given.revision, senders(&given)), (first.revision, vec![3, 4]));

    let (mut server, _) = snapshot();
    register(&mut server, key(2), 20, NOW + 3_000);
    let beat = |sender| {
        let ToServer::Heartbeat(beat) = beat(20, &given, 2) else { panic!("no heartbeat") };
        ToServer::Heartbeat(Heartbeat { sealing: given.epochs[0].id, sender, ..beat })
    };
    let answer = say(&mut server, key(2), beat(4), NOW + 3_000);
    assert!(matches!(answer[0], ToGateway::Pulse(_)), "these are its own: {answer:?}");
    let answer = say(&mut server, key(2), beat(5), NOW + 3_000);
    assert!(matches!(answer[..], [ToGateway::Unknown(_)]), "{answer:?}");
    let new = register(&mut server, key(1), 11, NOW + 3_000);
    assert_ne!(held(&new, 0)[0].check, held(&given, 0)[0].check);
}

#[test]
fn who_comes_from_another_group_is_no_sign_of_a_rollback_and_confirms_nothing() {
    let (mut server, _) = snapshot();
    for number in 0..5 {
        server.rename(key(1), &format!("lathe-{number}"), NOW).unwrap();
    }
    let state = register(&mut server, key(1), 10, NOW);
    server.add_group("lab", NOW).unwrap();
    server.revoke(key(1), "moves", NOW).unwrap();
    server.approve(key(1), "lab", 0, NOW).unwrap();
    let new = register(&mut server, key(1), 10, NOW);
    assert!(new.revision < state.revision);
    // What it said before it heard that.
    let answer = say(&mut server, key(1), beat(10, &state, 2), NOW);
    assert!(matches!(answer[0], ToGateway::Pulse(_)), "{answer:?}");
    let view = server.gateways(NOW).into_iter().find(|view| view.key == key(1)).unwrap();
    assert!(!view.current, "it is not in that state yet");
    assert_eq!(register(&mut server, key(1), 10, NOW).instance, state.instance);
}

#[test]
fn a_gateway_that_starts_again_and_again_does_not_use_up_the_numbers_of_all() {
    let (mut server, first) = snapshot();
    let mut taken = 0;
    for process in 0..2_000 {
        let greedy = Register { senders: 16, ..registration(1_000 + process) };
        let answer = say(&mut server, key(2), ToServer::Register(greedy), NOW);
        taken += senders(&state_of(answer)).len();
    }
    assert!((4_096..4_096 + 16).contains(&taken), "{taken}");
    assert_eq!(server.groups(NOW)[0].epochs.last().unwrap().id, first.epochs[0].id, "no rekey");
    let view = server.gateways(NOW).into_iter().find(|view| view.key == key(2)).unwrap();
    assert!(view.alarms.iter().any(|alarm| alarm.contains("sender numbers")), "{:?}", view.alarms);
    let said = |event: &Event| event.level == Level::Warning && event.text.contains(&view.name);
    let warnings = std::iter::from_fn(|| server.poll_event()).filter(said).count();
    assert_eq!(warnings, 1);
    assert_eq!(senders(&register(&mut server, key(1), 11, NOW)).len(), 2, "others get theirs");
}
