//! What workers tell the control thread. Bounded, and each thing once in a while.

use super::lock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// More notes than this wait for nobody.
const MOST: usize = 256;

/// Something that a worker noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A packet of an epoch that is not known.
    UnknownEpoch,
    /// An authentic packet of an epoch that was only prepared.
    Authentic {
        /// Number of the epoch.
        epoch: u64,
    },
    /// An authentic packet of an epoch whose time is open, and of later than it is here.
    Later {
        /// Number of the epoch.
        epoch: u64,
        /// Its pseudo-time.
        time: u32,
    },
    /// A sender number is almost used up.
    Worn {
        /// Number of the epoch.
        epoch: u64,
        /// The sender number.
        sender: u32,
    },
    /// A sender number is used up.
    Exhausted {
        /// Number of the epoch.
        epoch: u64,
        /// The sender number.
        sender: u32,
    },
    /// A machine on the LAN side sent something.
    Machine(IpAddr),
    /// A machine on the LAN side has its own gateway behind this one.
    Downstream(IpAddr),
    /// Something was sealed for a machine that no gateway reports.
    Unreached(IpAddr),
}

/// The notes that wait, each with how often it was made.
pub(super) struct Notes {
    waiting: Mutex<BTreeMap<Note, u64>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl core::fmt::Debug for Notes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Notes").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Notes {
    pub(super) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { waiting: Mutex::default(), wake }
    }

    pub(super) fn put(&self, note: Note) {
        let mut waiting = lock(&self.waiting);
        let first = waiting.is_empty();
        if waiting.len() < MOST || waiting.contains_key(&note) {
            *waiting.entry(note).or_default() += 1;
        }
        drop(waiting);
        if first {
            (self.wake)();
        }
    }

    pub(super) fn take(&self) -> Vec<Note> {
        core::mem::take(&mut *lock(&self.waiting)).into_keys().collect()
    }
}
