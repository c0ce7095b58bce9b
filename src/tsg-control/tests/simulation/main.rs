//! Up to 200 gateways and a key server in one process with a virtual clock: whatever the network, the
//! machines and the operators do, what docs/security.md promises holds. DESIGN sections 5 and 12.
//!
//! What must hold, each marked with its number where it is checked:
//!
//! 1. No sequence number serves twice under one key, over restarts and power cuts neither (`checks`).
//! 2. Nothing is lost between members that are reached: in a rekey, in a change of policy (`loss`).
//! 3. Who was reached neither opens what a revoked gateway sealed after the promised moment, nor seals
//!    what it can open (`checks`, `ghost`).
//! 4. After a quiet time all members of a group agree with the server (`agreement`).
//! 5. What an operator was told is still true after the server died (`truth`).
//! 6. Few epochs live, told apart by their byte, and none comes back (`checks`).
//! 7. Members agree on the time as far as they say that they know it (`checks`).
//! 8. No busy loops, no storms of messages (`checks`).
//! 9. A packet is opened once, and not long after it was sealed: a recording of before a power cut not
//!    at all (`checks`).
//! 10. Nothing leaves a member in clear, nor is let in, that no policy in use lets go: for `encrypt` and
//!     `enforce` not either if it looks like the reply of something else (`clear`, judged by `rulebook`).
//! 11. What is due comes, and who reaches the server is in the epoch in force (`promises`).
//!
//! `member` is a gateway, `datapath`, `lease` and `flash` what tsg-bridge does around it; `host` is the
//! key server's machine; `trouble`, `power`, `snapshot`, `ghost` and `hostile` are what goes wrong.
//!
//! `TSG_SIM_SEED=7` replays one world, `TSG_SIM_SEEDS=1000` runs more than the usual hundred.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]
#![allow(clippy::disallowed_types, reason = "a lock that one thread takes")]
#![allow(clippy::disallowed_methods, reason = "it reads its seed from the environment")]

mod agenda;
mod agreement;
mod checks;
mod clear;
mod datapath;
mod disk;
mod flash;
mod frame;
mod ghost;
mod host;
mod hostile;
mod lease;
mod loss;
mod member;
mod net;
mod orders;
mod packet;
mod plan;
mod plane;
mod power;
mod promises;
mod random;
mod rulebook;
mod services;
mod snapshot;
mod tally;
mod trouble;
mod truth;
mod world;

use tally::Tally;
use world::World;

/// Three times a storm and a calm, in milliseconds.
const STORM: u64 = 90_000;
const CALM: u64 = 75_000;

fn world(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for _ in 0..3 {
        world.quiet_from = world.t + STORM;
        world.run(world.quiet_from);
        world.calm();
        world.run(world.t + CALM);
        // A rekey that is due just now is no fault.
        let mut tries = 0;
        while let Err(why) = world.differences() {
            tries += 1;
            world.checks.demand(tries < 20, world.t, || why);
            world.run(world.t + 1_000);
        }
    }
    world.checks.tally.policies = world.rulebook.changes;
    world.checks.tally
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_happens_what_was_promised_holds() {
    let seeds = match number("TSG_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TSG_SIM_SEEDS").unwrap_or(100),
    };
    let count = seeds.end - seeds.start;
    let mut sum = Tally::default();
    let mut failed = Vec::new();
    for seed in seeds {
        match std::panic::catch_unwind(|| world(seed)) {
            Ok(tally) => sum.add(&tally),
            Err(_) => failed.push(seed),
        }
    }
    println!("{count} worlds: {sum:?}");
    assert!(failed.is_empty(), "{} of {count} worlds failed, seeds {failed:?}", failed.len());
    assert!(count < 100 || sum.is_plenty(), "too little happened: {sum:?}");
}
