//! Members that lie, and what the others notice of it.

use crate::{NOW, beat, key, last_state, register, say, server};
use tsg_control::message::{Heartbeat, State, ToServer};
use tsg_control::policy::Policy;
use tsg_control::server::Level;
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
