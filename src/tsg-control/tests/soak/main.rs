//! Days of a plant in which every hour the same happens: what key server and gateways hold at its end
//! must not become more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]

mod heap;
mod plant;

use plant::{GROUP, Plant};
use std::collections::BTreeMap;
use tsg_control::gateway::Gateway;
use tsg_control::message::{CommandKind, encoded_len};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// They are there the whole time.
const MEMBERS: u8 = 8;
const NEWCOMER: u8 = 100;

/// Where it may be emulated only as long as it takes to see a slope.
const HOURS: u64 = if cfg!(target_arch = "x86_64") { 72 } else { 8 };
/// By then everything has been as large as it gets.
const SETTLED: u64 = 6;

const POLICIES: [&[&str]; 2] = [
    &["encrypt proto=tcp dest_port=502", "bypass proto=udp dest_port=123"],
    &["encrypt proto=tcp dest_port=502", "bypass proto=udp dest_port=124"],
];

/// More of each than an hour of a real plant has.
fn an_hour(plant: &mut Plant, hour: u64) {
    let end = plant.now + HOUR;
    for rules in POLICIES {
        plant.set_policy(rules);
        plant.pass(4 * MINUTE);
    }
    let now = plant.time();
    plant.server.rekey(GROUP, now).unwrap();
    plant.pass(MINUTE);
    for machines in [9, 4] {
        for number in 0..MEMBERS {
            plant.hear(number, machines);
        }
        plant.pass(MINUTE);
    }
    let now = plant.now;
    for gateway in plant.members.values_mut() {
        gateway.handle_connected(now);
    }
    plant.pass(MINUTE);
    plant.restart(0);
    plant.boot(Plant::key(1));
    plant.pass(MINUTE);
    come_and_go(plant);
    for kind in [CommandKind::Diagnostics, CommandKind::Rekey, CommandKind::Reregister] {
        plant.command(7, kind);
        plant.pass(MINUTE);
    }
    let (id, _secret) = plant.server.create_token(GROUP, plant.time() / 1000 + 60).unwrap();
    plant.server.revoke_token(id).unwrap();
    let window = [("replay_window".to_owned(), (4 + hour % 2).to_string())];
    let now = plant.time();
    plant.server.set_group(GROUP, &window, now).unwrap();
    plant.pass(MINUTE);
    let now = plant.time();
    plant.server.handle_clock_jump(now);
    for minute in 0..10 {
        let counters = [("sealed".to_owned(), plant.now), ("opened".to_owned(), minute)];
        let alarms = vec![format!("an alarm that lasts for {minute} minutes")];
        for gateway in plant.members.values_mut() {
            gateway.handle_counters(BTreeMap::from(counters.clone()), alarms.clone());
        }
        plant.pass(MINUTE);
    }
    assert!(plant.now < end, "the hour is too short for all this");
    plant.pass(end - plant.now);
    assert!(plant.works(), "hour {hour}");
}

/// A box is added, thrown out and forgotten.
fn come_and_go(plant: &mut Plant) {
    let key = Plant::key(NEWCOMER);
    plant.join(NEWCOMER);
    plant.pass(MINUTE);
    let now = plant.time();
    plant.server.revoke(key, "lost", now).unwrap();
    plant.pass(MINUTE);
    plant.members.remove(&key);
    let now = plant.time();
    plant.server.remove(key, now).unwrap();
}

/// What there is to be counted, in bytes or pieces.
fn sizes(plant: &Plant) -> Vec<(&'static str, usize)> {
    // A number takes a byte more now and then.
    let saved = |gateway: &Gateway| encoded_len(&gateway.save().unwrap()).next_multiple_of(128);
    let saved = plant.members.values().map(saved).max();
    let keys = plant.members.values().map(|gateway| gateway.keys(plant.now).len()).max();
    let policies = plant.members.values().map(|gateway| gateway.policies().len()).max();
    let now = plant.time();
    vec![
        ("heap", heap::held()),
        ("state of a gateway", saved.unwrap_or(0)),
        ("epochs of a gateway", keys.unwrap_or(0)),
        ("policies of a gateway", policies.unwrap_or(0)),
        ("gateways", plant.server.gateways(now).len()),
        ("epochs", plant.server.groups(now)[0].epochs.len()),
        ("tokens", plant.server.tokens().len()),
    ]
}

#[test]
fn days_of_operation_leave_nothing_behind() {
    let mut plant = Plant::new(MEMBERS);
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for hour in 0..HOURS {
        an_hour(&mut plant, hour);
        let sizes = sizes(&plant);
        // Nothing is printed here: the test's own output lies in the heap that is counted.
        for (what, size) in sizes {
            let known = most.entry(what).or_default();
            assert!(hour < SETTLED || size <= *known, "hour {hour}: {what} is {size}, was {known}");
            *known = size.max(*known);
        }
    }
    let epochs = plant.server.groups(plant.time())[0].epochs.last().unwrap().id;
    let heartbeats = plant.heartbeats / u64::from(MEMBERS);
    println!("{HOURS} hours: {epochs} epochs, {heartbeats} heartbeats of each gateway");
    assert!(heartbeats >= HOURS * 360 && epochs > 2 * HOURS);
}
