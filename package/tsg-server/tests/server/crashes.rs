//! Killed at any moment: what was acknowledged is there, what was not may be, and no epoch comes
//! twice.

use super::daemon::{AdminClient, Daemon};
use super::gateway::{TestGateway, members};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use tsg_control::keys::PublicKey;

const ROUNDS: u32 = 20;

/// What operators were told.
#[derive(Default)]
struct Acknowledged {
    groups: Vec<String>,
    approved: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
    tokens: Vec<u64>,
    /// The newest epoch that somebody was told of.
    epoch: u64,
    policy: u64,
}

/// Orders without end, until the server is gone.
fn operator(
    socket: PathBuf,
    id: u32,
    round: u32,
    count: Arc<AtomicU32>,
) -> JoinHandle<Acknowledged> {
    thread::spawn(move || {
        let mut done = Acknowledged::default();
        let Ok(mut client) = AdminClient::connect(&socket) else { return done };
        for step in 0_u32.. {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&round.to_be_bytes());
            key[4..8].copy_from_slice(&id.to_be_bytes());
            key[8..12].copy_from_slice(&(step / 6).to_be_bytes());
            let key = PublicKey(key);
            let name = format!("g-{round}-{id}-{step}");
            let operation = match step % 6 {
                0 => json!({"group_add": {"group": name}}),
                1 => json!({"gateway_approve": {"gateway": key, "group": "plant"}}),
                2 => json!({"policy_set": {"group": "plant", "rules": [{"action": "encrypt"}]}}),
                3 => json!({"token_create": {"group": "plant", "lifetime": 600}}),
                4 => json!({"gateway_revoke": {"gateway": key, "reason": "lost"}}),
                _ => json!({"rekey": {"group": "plant"}}),
            };
            let Some(answer) = client.ask(&operation) else { return done };
            let value = &answer["ok"]["value"];
            assert!(value.is_object(), "{operation}: {answer}");
            match step % 6 {
                0 => done.groups.push(name),
                1 => done.approved.push(key),
                2 => done.policy = value["version"].as_u64().unwrap(),
                3 => done.tokens.push(value["id"].as_u64().unwrap()),
                4 => done.revoked.push(key),
                _ => done.epoch = value["epoch"].as_u64().unwrap(),
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        done
    })
}

/// Is everything there that was acknowledged?
fn compare(daemon: &Daemon, all: &[Acknowledged]) {
    let mut client = daemon.admin();
    let mut list = |what: &str| client.ask(&json!({what: {}})).unwrap()["ok"]["value"].clone();
    let by = |list: Value, name: &str, value: &str| -> BTreeMap<String, Value> {
        let rows = list.as_array().unwrap().iter();
        rows.map(|row| (row[name].to_string(), row[value].clone())).collect()
    };
    let groups = by(list("group_list"), "name", "policy_version");
    let gateways = by(list("gateway_list"), "key", "state");
    let tokens = by(list("token_list"), "id", "group");
    for done in all {
        for name in &done.groups {
            assert!(groups.contains_key(&json!(name).to_string()), "group {name} is lost");
        }
        for key in &done.approved {
            assert!(gateways.contains_key(&json!(key).to_string()), "gateway {key} is lost");
        }
        for key in &done.revoked {
            assert_eq!(gateways[&json!(key).to_string()], "revoked");
        }
        for id in &done.tokens {
            assert!(tokens.contains_key(&id.to_string()), "token {id} is lost");
        }
        assert!(groups["\"plant\""].as_u64().unwrap() >= done.policy);
    }
}

/// Lets the gateway go on until so many orders were acknowledged.
fn until_count(gateway: &mut TestGateway, count: &AtomicU32, wanted: u32) {
    gateway.until("orders", |_| count.load(Ordering::Relaxed) >= wanted);
}

#[test]
fn nothing_acknowledged_is_lost() {
    let mut daemon = Daemon::start();
    let mut gateway = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let mut all = Vec::new();
    let mut seed = u32::from(gateway.key.0[0]) << 8 | u32::from(gateway.key.0[1]);
    println!("seed {seed}");
    for round in 0..ROUNDS {
        let count = Arc::new(AtomicU32::new(0));
        let socket = daemon.place.socket();
        let operators: Vec<_> =
            (0..3).map(|id| operator(socket.clone(), id, round, Arc::clone(&count))).collect();
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        until_count(&mut gateway, &count, 1 + (seed >> 16) % 60);
        let place = daemon.kill();
        all.extend(operators.into_iter().map(|thread| thread.join().unwrap()));
        daemon = Daemon::start_in(place);
        compare(&daemon, &all);
        // TEKs are compared as they come.
        let before = gateway.heartbeat().instance;
        gateway.reconnected();
        gateway.until("the new server", |g| g.heartbeat().instance != before);
    }
    // What the last operator was told to come is there.
    let told = all.iter().map(|done| done.epoch).max().unwrap();
    gateway.until(&format!("epoch {told}"), |g| {
        g.given.keys().next_back().is_some_and(|&id| id >= told)
    });
    let orders: usize = all.iter().map(|done| done.groups.len() + done.approved.len()).sum();
    let epochs = gateway.given.len();
    println!("{ROUNDS} crashes, {orders} orders of two kinds, {epochs} epochs");
    assert!(orders > 50 && epochs > 2);
}
