//! What the server knows of one gateway process that is or was connected.

use crate::gateway::MOST_PORTS;
use crate::message::{Heartbeat, Held, PortState, Register};
use std::collections::{BTreeMap, VecDeque};

/// A gateway may not ask for more sender numbers at once.
const MOST_SENDERS: u8 = 32;

/// More counters than this in a report are not kept.
const MOST_COUNTERS: usize = 128;

/// More offloads of a port are not kept.
const MOST_OFFLOADS: usize = 8;

/// Names of ports are at most this long, those of offloads as long as the kernel's.
const MOST_PORT_NAME: usize = 15;
const MOST_OFFLOAD_NAME: usize = 31;

/// Counters that are followed over the last minutes, beside drops.
const FOLLOWED: [&str; 4] = ["sealed", "opened", "bypassed", "in_clear"];

/// Over so many minutes.
pub const RECENT_MINUTES: u64 = 5;

/// Names and alarms from gateways are shown to people: at most this long, without control
/// characters.
const MOST_SHOWN: usize = 200;

/// A sign of life within this many milliseconds of a state may have crossed it.
const CROSSING: u64 = 1_000;

/// A map that a gateway does not say it has within this many milliseconds is lost. Not sooner: maps are long, and one that
/// only waits somewhere would wait for each other that is sent.
const MAP_LOST: u64 = 30_000;

/// A gateway that asks for a state which it has already gets it again after this many
/// milliseconds.
const ASK_AGAIN: u64 = 60_000;

/// One process of a gateway.
pub(super) struct Session {
    pub(super) process: u64,
    pub(super) heard: u64,
    pub(super) version: String,
    /// How many sender numbers it wants in an epoch.
    pub(super) wants: u8,
    /// Sender numbers given to this process, by epoch.
    pub(super) granted: BTreeMap<u64, Vec<u32>>,
    pub(super) holds: Vec<Held>,
    /// The revision of this server process that it is in.
    pub(super) acked: u64,
    /// The revision that it was last sent.
    pub(super) sent: u64,
    pub(super) sent_at: u64,
    /// The epoch in which it is to get more sender numbers with the next state.
    pub(super) refill: Option<u64>,
    refilled: Option<u64>,
    pub(super) map_sent: u64,
    pub(super) map_sent_at: u64,
    pub(super) sealing: u64,
    pub(super) alarms: Vec<String>,
    pub(super) counters: BTreeMap<String, u64>,
    /// When it last reported them.
    pub(super) reported: Option<u64>,
    /// What came to them lately, by the minute.
    recent: VecDeque<(u64, BTreeMap<String, u64>)>,
    pub(super) ports: Vec<PortState>,
}

impl Session {
    pub(super) fn new(process: u64, now: u64) -> Self {
        Self {
            process,
            heard: now,
            version: String::new(),
            wants: 1,
            granted: BTreeMap::new(),
            holds: Vec::new(),
            acked: 0,
            sent: 0,
            sent_at: 0,
            refill: None,
            refilled: None,
            map_sent: 0,
            map_sent_at: 0,
            sealing: 0,
            alarms: Vec::new(),
            counters: BTreeMap::new(),
            reported: None,
            recent: VecDeque::new(),
            ports: Vec::new(),
        }
    }

    pub(super) fn registered(&mut self, register: &Register) {
        self.version = shown(&register.version);
        self.wants = register.senders.clamp(1, MOST_SENDERS);
        self.keep_holds(&register.holds);
        // What was sent before may be lost with the old connection.
        self.sent = 0;
        self.map_sent = 0;
    }

    /// Takes in a sign of life, `newest` being the revision of its group. Gives whether it has
    /// confirmed something.
    pub(super) fn beat(
        &mut self,
        heartbeat: &Heartbeat,
        instance: u64,
        newest: u64,
        now: u64,
    ) -> bool {
        let before = (self.acked, std::mem::take(&mut self.holds));
        self.keep_holds(&heartbeat.holds);
        self.sealing = heartbeat.sealing;
        self.alarms = heartbeat.alarms.iter().take(16).map(|alarm| shown(alarm)).collect();
        let ours = heartbeat.instance == instance;
        // A higher one is of the group that it was in before.
        self.acked = if ours && heartbeat.revision <= newest { heartbeat.revision } else { 0 };
        let map = if ours { heartbeat.map } else { 0 };
        // It answers a state at once: one that it still is not in by its next sign of life is lost.
        if !self.just_sent(now) && self.acked < self.sent {
            self.sent = self.acked;
        }
        if now.abs_diff(self.map_sent_at) >= MAP_LOST {
            self.map_sent = self.map_sent.min(map);
        }
        if heartbeat.ask && now.abs_diff(self.sent_at) >= ASK_AGAIN {
            self.sent = 0;
        }
        before != (self.acked, self.holds.clone())
    }

    /// Was it sent a state so lately that its answer may still be on the way?
    const fn just_sent(&self, now: u64) -> bool {
        now.abs_diff(self.sent_at) < CROSSING
    }

    /// It wants more sender numbers: not if they are on the way already.
    pub(super) fn may_refill(&mut self, now: u64) -> bool {
        let may = self.refilled.is_none_or(|at| now.abs_diff(at) >= CROSSING);
        if may {
            self.refilled = Some(now);
        }
        may
    }

    /// Does it hold this epoch, and know the time in it?
    pub(super) fn holds(&self, epoch: u64, check: [u8; 8]) -> bool {
        self.holds.iter().any(|held| held.epoch == epoch && held.check == check)
    }

    /// Takes in what it has counted.
    pub(super) fn count(&mut self, counters: BTreeMap<String, u64>, now: u64) {
        // What was counted before the first report that was heard is not of now.
        if self.reported.is_some() {
            let minute = now / 60_000;
            if self.recent.back().is_none_or(|(last, _)| *last != minute) {
                self.recent.push_back((minute, BTreeMap::new()));
            }
            let Some((_, sums)) = self.recent.back_mut() else { return };
            for (name, &count) in counters.iter().filter(|(name, _)| is_followed(name)) {
                let before = self.counters.get(name).copied().unwrap_or(0);
                if count > before && (sums.len() < MOST_COUNTERS || sums.contains_key(name)) {
                    let sum = sums.entry(name.clone()).or_default();
                    *sum = sum.saturating_add(count - before);
                }
            }
        }
        self.counters = counters;
        self.reported = Some(now);
        self.recent.retain(|(minute, _)| is_recent(*minute, now));
    }

    /// What came to its counters in the last minutes.
    pub(super) fn recent(&self, now: u64) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (_, counts) in self.recent.iter().filter(|(minute, _)| is_recent(*minute, now)) {
            for (name, count) in counts {
                let sum: &mut u64 = sums.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        sums
    }

    fn keep_holds(&mut self, holds: &[Held]) {
        self.holds = holds.iter().copied().take(crate::timeline::MOST_LIVE + 1).collect();
    }

    /// Sender numbers that it has left in an epoch from before this server or process started.
    pub(super) fn left(&self, epoch: u64, check: [u8; 8]) -> u8 {
        let held = self.holds.iter().find(|held| held.epoch == epoch && held.check == check);
        held.map_or(0, |held| held.senders)
    }
}

/// Text from outside, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect()
}

fn is_followed(name: &str) -> bool {
    name.starts_with("drop_") || FOLLOWED.contains(&name)
}

const fn is_recent(minute: u64, now: u64) -> bool {
    (now / 60_000).abs_diff(minute) < RECENT_MINUTES
}

pub(super) fn shown_ports(ports: Vec<PortState>) -> Vec<PortState> {
    let all = ports.into_iter().take(MOST_PORTS);
    let one = |port: PortState| PortState {
        name: short(&port.name, MOST_PORT_NAME),
        offloads: port
            .offloads
            .iter()
            .take(MOST_OFFLOADS)
            .map(|name| short(name, MOST_OFFLOAD_NAME))
            .collect(),
        ..port
    };
    all.map(one).collect()
}

/// A name that the kernel gives.
fn short(name: &str, most: usize) -> String {
    name.chars().filter(|c| !c.is_control()).take(most).collect()
}

pub(super) fn shown_counters(counters: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counters.into_iter().take(MOST_COUNTERS).map(|(name, n)| (shown(&name), n)).collect()
}
