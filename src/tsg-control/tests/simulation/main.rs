//! Ten gateways and a key server in one process with a virtual clock: whatever the network, the
//! machines and the operators do, what docs/security.md promises holds. DESIGN sections 5 and 12.
//!
//! `TSG_SIM_SEED=7` replays one world, `TSG_SIM_SEEDS=1000` runs more than the usual hundred.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test reads its seed")]

mod checks;
mod disk;
mod ghost;
mod member;
mod net;
mod plan;
mod random;
mod trouble;
mod world;

use checks::Tally;
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
        world.converged();
    }
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
    for seed in seeds {
        let tally = world(seed);
        sum.sealed += tally.sealed;
        sum.opened += tally.opened;
        sum.counted += tally.counted;
        sum.epochs += tally.epochs;
        sum.ghosts += tally.ghosts;
        sum.crashes += tally.crashes;
    }
    println!("{count} worlds: {sum:?}");
    assert!(count < 100 || sum.epochs > 1_000 && sum.ghosts > 50 && sum.crashes > 50, "{sum:?}");
}
