//! How a tunnel is, and what became of its packets.

use super::other::Other;
use crate::pipeline::{Counters, Reason};
use std::collections::BTreeMap;

/// How the tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There are no keys.
    Down,
    /// Packets go through.
    Up,
    /// The other end says nothing though it was sent something.
    Silent,
}

impl State {
    pub(super) fn of(peer: &Other, now: u64) -> Self {
        match (peer.is_up(), peer.is_silent(now)) {
            (false, _) => Self::Down,
            (true, true) => Self::Silent,
            (true, false) => Self::Up,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Silent => "silent",
        }
    }
}

/// What became of packets, since the start.
#[derive(Default)]
pub(super) struct Counts {
    /// Sealed, opened, and dropped by reason.
    pub(super) packets: Counters,
    /// ESP that the kernel did not take.
    pub(super) send_failed: u64,
    /// Packets that the device did not take.
    pub(super) not_taken: u64,
}

impl Counts {
    pub(super) fn refuse(&mut self, done: Result<(), Reason>) {
        if let Err(reason) = done {
            self.packets.refuse(reason);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.packets.add(&other.packets);
        self.send_failed += other.send_failed;
        self.not_taken += other.not_taken;
    }

    /// All counts by name; drops as `drop_…`.
    pub(super) fn by_name(&self) -> BTreeMap<String, u64> {
        let mut counts = self.packets.by_name();
        counts.insert("send_failed".to_owned(), self.send_failed);
        counts.insert("not_taken".to_owned(), self.not_taken);
        counts
    }
}
