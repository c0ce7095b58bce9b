//! What the server knows of one gateway process that is or was connected, and how many strangers
//! it listens to.

use crate::message::{Heartbeat, Held, Register};
use std::collections::BTreeMap;

/// A gateway may not ask for more sender numbers at once.
const MOST_SENDERS: u8 = 16;

/// More counters than this in a report are not kept.
const MOST_COUNTERS: usize = 128;

/// Names and alarms from gateways are shown to people: at most this long, without control
/// characters.
const MOST_SHOWN: usize = 200;

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
    pub(super) map_acked: u64,
    pub(super) map_sent: u64,
    pub(super) sealing: u64,
    pub(super) alarms: Vec<String>,
    pub(super) counters: BTreeMap<String, u64>,
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
            map_acked: 0,
            map_sent: 0,
            sealing: 0,
            alarms: Vec::new(),
            counters: BTreeMap::new(),
        }
    }

    pub(super) fn registered(&mut self, register: &Register, now: u64) {
        self.heard = now;
        self.version = shown(&register.version);
        self.wants = register.senders.clamp(1, MOST_SENDERS);
        self.keep_holds(&register.holds);
        // What was sent before may be lost with the old connection.
        self.sent = 0;
        self.map_sent = 0;
    }

    pub(super) fn beat(&mut self, heartbeat: &Heartbeat, instance: u64, now: u64) {
        self.heard = now;
        self.keep_holds(&heartbeat.holds);
        self.sealing = heartbeat.sealing;
        self.alarms = heartbeat.alarms.iter().take(16).map(|alarm| shown(alarm)).collect();
        if heartbeat.instance == instance {
            self.acked = heartbeat.revision;
            self.map_acked = heartbeat.map;
        } else {
            self.acked = 0;
            self.map_acked = 0;
        }
        // It answers a state at once: one that it still is not in by its next sign of life is lost.
        if heartbeat.ask || self.acked < self.sent {
            self.sent = self.acked.min(self.sent.saturating_sub(1));
        }
        if self.map_acked < self.map_sent {
            self.map_sent = self.map_acked;
        }
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

/// Strangers are heard at a limited rate: a bucket of tokens.
pub(super) struct Admission {
    level: u64,
    at: u64,
}

impl Admission {
    const FULL: u64 = 200;
    const PER_SECOND: u64 = 20;

    pub(super) const fn new(now: u64) -> Self {
        Self { level: Self::FULL * 1000, at: now }
    }

    pub(super) fn take(&mut self, now: u64) -> bool {
        let gained = now.saturating_sub(self.at).saturating_mul(Self::PER_SECOND);
        self.level = self.level.saturating_add(gained).min(Self::FULL * 1000);
        self.at = now;
        let enough = self.level >= 1000;
        if enough {
            self.level -= 1000;
        }
        enough
    }
}

/// Text from outside, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect()
}

pub(super) fn shown_counters(counters: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counters.into_iter().take(MOST_COUNTERS).map(|(name, n)| (shown(&name), n)).collect()
}
