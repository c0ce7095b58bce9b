//! Sequence numbers as tsg-bridge's `lease` hands them out: a ceiling in RAM that outlives the
//! daemon, and goes with its epoch.

use std::collections::BTreeMap;
use tsg_esp::seal::{SEQUENCE_END, SPARE_FROM};

const BLOCK: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Leases {
    ceilings: BTreeMap<(u64, u32), u64>,
    /// What this daemon uses next.
    next: BTreeMap<(u64, u32), u64>,
}

impl Leases {
    pub(crate) fn reboot(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn restart(&mut self) {
        self.next.clear();
    }

    pub(crate) fn keep(&mut self, epochs: &[u64]) {
        self.ceilings.retain(|(epoch, _), _| epochs.contains(epoch));
        self.next.retain(|(epoch, _), _| epochs.contains(epoch));
    }

    /// The next number, `stride` packets after the one before; and whether the sender number is
    /// to be replaced. `None` when it is used up.
    pub(crate) fn take(&mut self, epoch: u64, sender: u32, stride: u64) -> Option<(u64, bool)> {
        let ceiling = self.ceilings.entry((epoch, sender)).or_insert(1);
        let next = match self.next.get(&(epoch, sender)) {
            Some(next) => *next,
            None if *ceiling < SPARE_FROM => *ceiling,
            None => return None,
        };
        let number = next + stride - 1;
        if number >= SEQUENCE_END {
            return None;
        }
        let mut over = false;
        while *ceiling <= number {
            over |= *ceiling >= SPARE_FROM;
            *ceiling += BLOCK;
        }
        *ceiling = (*ceiling).min(SEQUENCE_END);
        self.next.insert((epoch, sender), number + 1);
        Some((number, over))
    }
}
