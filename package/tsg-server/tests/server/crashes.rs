//! Killed at any moment: what was acknowledged is there, what was not may be; no sender number
//! comes twice under one key, and the members find together again.
//!
//! `TSG_CRASH_SEED=n` makes the same orders and the same gateways come and go as the run that
//! printed `n`; `TSG_CRASH_ROUNDS` says how often the server is killed.

mod operator;

use super::daemon::{Daemon, PATIENCE};
use super::gateway::{TestGateway, members, turn_all};
use operator::{Chance, Fate, Operator, PLANT};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tsg_control::keys::PublicKey;
use tsg_control::token::Token;

const ROUNDS: u64 = 20;

/// All members come together again after one crash in so many only: three live epochs, of which each
/// start makes one, have to be waited for.
const SETTLE: u64 = 10;

/// At most so many orders are acknowledged before the server is killed.
const MOST_ORDERS: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost() {
    let random = || {
        u64::from_ne_bytes(zmq::CurveKeyPair::new().unwrap().public_key[..8].try_into().unwrap())
    };
    let seed = number("TSG_CRASH_SEED").unwrap_or_else(random);
    let rounds = number("TSG_CRASH_ROUNDS").unwrap_or(ROUNDS);
    println!("TSG_CRASH_SEED={seed} TSG_CRASH_ROUNDS={rounds}");
    let mut world = World::new(seed, rounds);
    for round in 0..rounds {
        world.round(round);
    }
    let World { orders, uses, enrolled, settlements, .. } = world;
    println!(
        "{rounds} crashes, {orders} orders acknowledged, {} epochs, {enrolled} let in by token",
        uses.len()
    );
    // How many more epochs there were is a matter of the machine's pace.
    assert!(orders >= rounds && settlements > 0 && uses.len() > settlements);
}

/// Whose numbers are whose.
type Owner = (PublicKey, u64);

struct World {
    chance: Chance,
    rounds: u64,
    daemon: Option<Daemon>,
    gateways: Vec<TestGateway>,
    operators: Vec<Operator>,
    /// Sender numbers that gateways were ready to use, by TEK, with the process that had them.
    uses: BTreeMap<[u8; 32], BTreeMap<u32, Owner>>,
    newest: u64,
    /// Members that all have been through the same, so that they must understand each other.
    settled: BTreeSet<PublicKey>,
    /// Somebody was thrown out since all came together.
    revoked: Arc<AtomicBool>,
    orders: u64,
    enrolled: u64,
    /// How often all came together again, each time in a new epoch.
    settlements: usize,
}

/// A gateway that comes with a token.
struct Enrolling {
    at: usize,
    token: u64,
}

impl World {
    fn new(seed: u64, rounds: u64) -> Self {
        let daemon = Daemon::start();
        let gateways = members(&daemon, PLANT, &["pump", "press", "valve", "mixer"]);
        // Nobody may be left behind only because the machine is slow.
        daemon.ask(&["group", "set", PLANT, "activation_delay=5", "revoke_delay=5"]);
        let mut client = daemon.admin();
        let operators = (0..3).map(|id| Operator::new(id, seed, &mut client)).collect();
        Self {
            chance: Chance::new(seed),
            rounds,
            settled: gateways.iter().map(|gateway| gateway.key).collect(),
            daemon: Some(daemon),
            gateways,
            operators,
            revoked: Arc::default(),
            uses: BTreeMap::new(),
            newest: 0,
            orders: 0,
            enrolled: 0,
            settlements: 0,
        }
    }

    /// Orders, a crash at a random moment, and a look at what there is.
    fn round(&mut self, round: u64) {
        let daemon = self.daemon.take().unwrap();
        let enrolling = self.prepare(&daemon);
        let last = 1 + self.chance.below(MOST_ORDERS);
        let revoked = Arc::clone(&self.revoked);
        let fate = Fate { pid: daemon.pid(), count: Arc::new(AtomicU64::new(0)), last, revoked };
        let threads: Vec<_> = std::mem::take(&mut self.operators)
            .into_iter()
            .map(|operator| operator.run(daemon.place.socket(), fate.clone()))
            .collect();
        let deadline = Instant::now() + PATIENCE;
        while !threads.iter().all(|thread| thread.is_finished()) {
            assert!(Instant::now() < deadline, "round {round}: {last} orders take too long");
            self.turn();
        }
        self.operators = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        self.orders += last;
        let place = daemon.kill();
        // One that is back for a moment only.
        for _ in 0..self.chance.below(6) / 4 {
            Daemon::cut_short(&place, Duration::from_millis(self.chance.below(60)));
        }
        let daemon = Daemon::start_in(place);
        let mut client = daemon.admin();
        if let Some(enrolling) = enrolling {
            self.compare_enrolled(&enrolling, &daemon);
        }
        for operator in &mut self.operators {
            operator.compare(&mut client);
        }
        let told = &self.operators[0].told;
        self.settled.retain(|key| told.member(key));
        if round + 1 == self.rounds || self.chance.below(SETTLE) == 0 {
            self.settle(round);
        }
        self.daemon = Some(daemon);
    }

    /// Who comes, goes and restarts in the next round.
    fn prepare(&mut self, daemon: &Daemon) -> Option<Enrolling> {
        let Operator { told, secrets, door, .. } = &mut self.operators[0];
        *door = None;
        let out: Vec<_> = (0..self.gateways.len())
            .filter(|&at| !told.gateways.contains_key(&self.gateways[at].key))
            .collect();
        let free = told.tokens.iter().find(|(id, token)| {
            token.group == PLANT && token.used_by.is_none() && secrets.contains_key(id)
        });
        let token = free.map(|(id, _)| *id);
        if let (Some(token), Some(at)) = (token, self.chance.pick(&out)) {
            told.tokens.remove(&token);
            let secret = Token::decode(&secrets[&token]).unwrap().secret;
            self.gateways[at].restart(daemon, Some(secret));
            return Some(Enrolling { at, token });
        }
        let all: Vec<_> = (0..self.gateways.len()).collect();
        let at = self.chance.pick(&all)?;
        let key = self.gateways[at].key;
        let others = self.settled.iter().filter(|settled| **settled != key).count();
        if others >= 2 {
            self.settled.remove(&key);
            match self.chance.below(4) {
                0 => self.gateways[at].restart(daemon, None),
                _ => *door = Some(key),
            }
        }
        None
    }

    /// All send and receive; who is settled hears what the others seal.
    fn turn(&mut self) {
        turn_all(&mut self.gateways);
        let mut sealing = Vec::new();
        for gateway in &self.gateways {
            let owner = (gateway.key, gateway.process);
            let keys = gateway.machine.keys(gateway.now());
            for key in &keys {
                self.newest = self.newest.max(key.id);
                let uses = self.uses.entry(*key.tek.expose()).or_default();
                for &sender in &key.senders {
                    let first = *uses.entry(sender).or_insert(owner);
                    assert_eq!(first, owner, "epoch {}: sender {sender} comes twice", key.id);
                }
            }
            let newest = keys.iter().filter(|key| key.sealing).map(|key| key.id).max();
            if self.settled.contains(&gateway.key) {
                sealing.push(newest.unwrap_or_else(|| panic!("{} has no key", gateway.key)));
            }
        }
        self.understand_each_other(&sealing);
    }

    /// Each holds what the others seal with. A revocation closes the epoch before it: then it is
    /// enough that whoever still seals in that one follows with the first packet that it hears.
    fn understand_each_other(&mut self, sealing: &[u64]) {
        let revoked = self.revoked.load(Ordering::Relaxed);
        for gateway in self.gateways.iter_mut().filter(|g| self.settled.contains(&g.key)) {
            let own = gateway.sealing();
            let now = gateway.now();
            let holds: BTreeSet<_> = gateway.machine.keys(now).iter().map(|key| key.id).collect();
            for &epoch in sealing {
                let behind = revoked && epoch < own;
                assert!(
                    behind || holds.contains(&epoch),
                    "split: {sealing:?}, one holds {holds:?}"
                );
                gateway.machine.handle_authentic(epoch, now);
            }
        }
    }

    /// The token and the gateway that came with it are both in, or both are not.
    fn compare_enrolled(&mut self, enrolling: &Enrolling, daemon: &Daemon) {
        let gateway = &self.gateways[enrolling.at];
        let seen = operator::Told::seen(&mut daemon.admin(), 0);
        let token = seen.tokens[&enrolling.token].clone();
        let record = seen.gateways.get(&gateway.key).cloned();
        assert_eq!(token.used_by, record.as_ref().map(|_| gateway.key));
        if !gateway.machine.keys(gateway.now()).is_empty() {
            assert!(record.is_some(), "it was let in, and is not any more");
        }
        let told = &mut self.operators[0].told;
        told.tokens.insert(enrolling.token, token);
        self.enrolled += u64::from(record.is_some());
        told.gateways.extend(record.map(|record| (gateway.key, record)));
    }

    /// All members come into one epoch that the new server made, and nobody else does.
    fn settle(&mut self, round: u64) {
        let told = &self.operators[0].told;
        let members: BTreeSet<_> =
            self.gateways.iter().map(|g| g.key).filter(|key| told.member(key)).collect();
        let known = self.newest;
        let ordered = self.operators.iter().map(|operator| operator.epoch).max().unwrap_or(0);
        let deadline = Instant::now() + 2 * PATIENCE;
        let common = loop {
            let of_members = self.gateways.iter().filter(|g| members.contains(&g.key));
            let sealing: BTreeSet<_> = of_members.map(TestGateway::sealing).collect();
            match sealing.first() {
                Some(&epoch) if sealing.len() == 1 && epoch > known && epoch >= ordered => {
                    break epoch;
                }
                _ => {}
            }
            assert!(
                Instant::now() < deadline,
                "round {round}: members seal in {sealing:?}, known is {known}, ordered {ordered}"
            );
            self.turn();
        };
        for gateway in self.gateways.iter().filter(|g| !members.contains(&g.key)) {
            let holds = gateway.machine.keys(gateway.now());
            assert!(holds.iter().all(|key| key.id < common), "round {round}: one that is out");
        }
        self.settlements += 1;
        self.settled = members;
        self.revoked.store(false, Ordering::Relaxed);
    }
}
