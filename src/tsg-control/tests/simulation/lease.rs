//! Sequence numbers as tsg-bridge's `lease` hands them out: ceilings in RAM that outlive the daemon,
//! and most epochs. A worker seals below the ceiling, and changes to another sender number
//! when three quarters of its own are leased.

use crate::member::Secret;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tsg_esp::seal::{SEQUENCE_END, SPARE_FROM};

const BLOCK: u64 = 1 << 20;

/// Epochs that are gone are remembered up to this many: they may come back.
const MOST_GONE: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Leases {
    ceilings: BTreeMap<(Secret, u32), u64>,
    /// Epochs with ceilings that are not held any more, the longest gone first.
    gone: VecDeque<Secret>,
    /// What the workers seal with.
    workers: BTreeMap<usize, Sealing>,
    /// What this daemon has said to be almost used up.
    told: BTreeSet<(Secret, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Sealing {
    epoch: Secret,
    sender: u32,
    next: u64,
    limit: u64,
}

/// What a worker tells of a sender number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Worn(u32),
    Exhausted(u32),
}

impl Leases {
    pub(crate) fn reboot(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn restart(&mut self) {
        self.workers.clear();
        self.told.clear();
    }

    pub(crate) fn keep(&mut self, epochs: &[Secret]) {
        self.gone.retain(|epoch| !epochs.contains(epoch));
        for (epoch, _) in self.ceilings.keys() {
            if !epochs.contains(epoch) && !self.gone.contains(epoch) {
                self.gone.push_back(*epoch);
            }
        }
        while self.gone.len() > MOST_GONE {
            let forgotten = self.gone.pop_front();
            self.ceilings.retain(|(epoch, _), _| Some(*epoch) != forgotten);
        }
        self.workers.retain(|_, sealing| epochs.contains(&sealing.epoch));
        self.told.retain(|(epoch, _)| epochs.contains(epoch));
    }

    /// The number of the last of `count` packets that a worker seals; `None` if it cannot seal so
    /// many.
    pub(crate) fn take(
        &mut self,
        worker: usize,
        epoch: Secret,
        senders: &[u32],
        count: u64,
        notes: &mut Vec<Note>,
    ) -> Option<(u32, u64)> {
        self.workers.retain(|other, sealing| {
            *other != worker || (sealing.epoch == epoch && senders.contains(&sealing.sender))
        });
        let mut left = count;
        loop {
            let mut sealing = match self.workers.get(&worker) {
                Some(sealing) => *sealing,
                None => self.lease(worker, epoch, senders)?,
            };
            let fits = left.min(sealing.limit - sealing.next);
            (sealing.next, left) = (sealing.next + fits, left - fits);
            self.workers.insert(worker, sealing);
            if left == 0 {
                return Some((sealing.sender, sealing.next - 1));
            }
            notes.extend(self.renew(worker, sealing));
        }
    }

    /// A worker has sealed so much that its sender number has only a few left of three quarters of
    /// its sequence numbers, or, once it has said that, of all of them.
    pub(crate) fn wear(&mut self, worker: usize, few: u64) {
        let Some(sealing) = self.workers.get_mut(&worker) else { return };
        let name = (sealing.epoch, sealing.sender);
        let end = match self.told.contains(&name) {
            true => SEQUENCE_END,
            false => sealing.limit.max(SPARE_FROM),
        };
        sealing.next = sealing.next.max(end - few);
        sealing.limit = end;
        self.ceilings.insert(name, end);
    }

    /// There is a sender number for a worker that has none.
    pub(crate) fn has_spare(&self, epoch: Secret, senders: &[u32]) -> bool {
        self.free(epoch, senders).next().is_some()
    }

    fn renew(&mut self, worker: usize, sealing: Sealing) -> Option<Note> {
        let Sealing { epoch, sender, limit, .. } = sealing;
        if limit >= SPARE_FROM {
            self.workers.remove(&worker);
            self.told.insert((epoch, sender));
            let over = limit >= SEQUENCE_END;
            return Some(if over { Note::Exhausted(sender) } else { Note::Worn(sender) });
        }
        let limit = limit + BLOCK;
        self.ceilings.insert((epoch, sender), limit);
        self.workers.insert(worker, Sealing { limit, ..sealing });
        None
    }

    fn lease(&mut self, worker: usize, epoch: Secret, senders: &[u32]) -> Option<Sealing> {
        let free = self.free(epoch, senders);
        let sender = free.min_by_key(|&sender| self.next(epoch, sender) >= SPARE_FROM)?;
        let next = self.next(epoch, sender);
        let limit = (next + BLOCK).min(SEQUENCE_END);
        self.ceilings.insert((epoch, sender), limit);
        let sealing = Sealing { epoch, sender, next, limit };
        self.workers.insert(worker, sealing);
        Some(sealing)
    }

    fn free(&self, epoch: Secret, senders: &[u32]) -> impl Iterator<Item = u32> {
        let taken = move |sender: u32| {
            self.workers.values().any(|held| (held.epoch, held.sender) == (epoch, sender))
        };
        let left = move |&sender: &u32| !taken(sender) && self.next(epoch, sender) < SEQUENCE_END;
        senders.iter().copied().filter(left)
    }

    fn next(&self, epoch: Secret, sender: u32) -> u64 {
        self.ceilings.get(&(epoch, sender)).copied().unwrap_or(1)
    }
}
