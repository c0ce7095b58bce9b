//! The epochs that a gateway holds.

use crate::clock::Estimate;
use crate::group::{Carriage, FOREVER};
use crate::keys::tek_check;
use crate::message::{Epoch, EpochKeys, Held};
use crate::timeline::{MOST_LIVE, Stage};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::spi::Spi;

/// When an epoch that revokes comes into force, those before it are closed this much later, in
/// milliseconds.
const CLOSING: u64 = 1_000;

/// So many epochs that are over are remembered: more than a key server can still list.
const MOST_OVER: usize = 2 * MOST_LIVE;

/// An epoch as the data path needs it; times are local milliseconds.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Number of the epoch.
    pub id: u64,
    /// Its TEK.
    pub tek: Arc<Tek>,
    /// Cipher.
    pub suite: Suite,
    /// How packets are carried.
    pub carriage: Carriage,
    /// Seal with this one.
    pub sealing: bool,
    /// An authentic packet in this epoch is news to [`super::Gateway::handle_authentic`].
    pub prepared: bool,
    /// Sender numbers of this gateway that are not used up; those that almost are come last.
    pub senders: Vec<u32>,
    /// No sender has a number above this one.
    pub highest_sender: u32,
    /// Pseudo-time is local time less this, modulo 2^32. `None`: the key server's time is not
    /// known, nothing can be sealed or opened in this epoch.
    pub origin: Option<i64>,
    /// How far pseudo-time can be off; of no meaning where it is `open`.
    pub error: u32,
    /// After a power cut, as long as the key server is silent: pseudo-time is the least that it can
    /// be, and a later one of an authentic packet is news to [`super::Gateway::handle_later`].
    pub open: bool,
    /// Packets from before this pseudo-time are from before this process, and not to be trusted.
    pub floor: u32,
    /// From this local time on the epoch is neither sealed nor opened with.
    pub ends: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) stage: Stage,
    pub(super) revokes: bool,
    pub(super) keys: EpochKeys,
    pub(super) spent: BTreeSet<u32>,
    /// Sender numbers for after the next power cuts: this boot must not use them.
    pub(super) kept: BTreeSet<u32>,
    /// Almost used up: these serve as long as there is no other.
    pub(super) worn: BTreeSet<u32>,
    /// Its sender numbers are to be replaced: it asks as if it had none left.
    pub(super) renew: bool,
    pub(super) closes: Option<u64>,
    /// Local time from which on this process could have seen packets of the epoch.
    pub(super) since: u64,
}

/// Others are taken to know the time as badly as this gateway, but not worse than this, in
/// milliseconds: who reaches the key server does not (DESIGN section 12).
const SENDER_ERROR: u32 = 500;

/// The epochs, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Keyring {
    pub(super) keys: Vec<Key>,
    /// Epochs that ended by the clock. What had been sealed in them is forgotten, so they must not
    /// come back, whatever `island_time` is by then.
    over: VecDeque<(u64, [u8; 8])>,
}

impl Key {
    fn byte(&self) -> u8 {
        Spi::byte_of(self.id)
    }

    fn check(&self) -> [u8; 8] {
        tek_check(&self.keys.tek.0)
    }

    /// Sender numbers that are not used up, and those of them that almost are last.
    fn senders(&self) -> impl Iterator<Item = u32> {
        let worn = self.worn.iter().copied().filter(|number| !self.spent.contains(number));
        self.fresh().filter(|number| !self.kept.contains(number)).chain(worn)
    }

    /// Those that are not used up nor almost, for this boot and for later ones.
    fn fresh(&self) -> impl Iterator<Item = u32> {
        let used = |number: &u32| self.spent.contains(number) || self.worn.contains(number);
        self.keys.senders.iter().copied().filter(move |number| !used(number))
    }

    /// Puts the last of these numbers, which are new, aside for after the next power cuts, until it is
    /// `wanted` of them; one is left.
    fn put_aside(&mut self, new: &[u32], wanted: u8) {
        let lacking = usize::from(wanted).saturating_sub(self.kept.len());
        let count = lacking.min(new.len().saturating_sub(1));
        self.kept.extend(&new[new.len() - count..]);
    }

    fn has_time(&self, clocks: &[Estimate]) -> bool {
        clocks.iter().any(|known| known.clock == self.keys.clock)
    }

    fn held(&self) -> Held {
        let senders = if self.renew { 0 } else { self.fresh().count() };
        Held {
            epoch: self.id,
            check: self.check(),
            senders: u8::try_from(senders).unwrap_or(u8::MAX),
        }
    }

    /// Local time at which it ends, when the key server's clock is known.
    fn ends(&self, clocks: &[Estimate], island: u32) -> Option<u64> {
        let natural = if island == FOREVER { None } else { self.lifetime_ends(clocks, island) };
        natural.into_iter().chain(self.closes).min()
    }

    /// Local time at which its lifetime and so many seconds more are over, when the key server's clock is known.
    fn lifetime_ends(&self, clocks: &[Estimate], more: u32) -> Option<u64> {
        let clock = clocks.iter().find(|known| known.clock == self.keys.clock)?;
        let server = i64::try_from(self.keys.ends).unwrap_or(i64::MAX);
        let local = server.saturating_sub(clock.offset(self.since));
        let local = local.saturating_add(i64::from(more) * 1000);
        Some(u64::try_from(local).unwrap_or(0))
    }
}

impl Keyring {
    pub(super) const fn from_keys(keys: Vec<Key>) -> Self {
        Self { keys, over: VecDeque::new() }
    }

    /// What the key server lists is what lives. Of new sender numbers `kept` are put aside.
    pub(super) fn take_over(&mut self, epochs: Vec<Epoch>, kept: u8, now: u64) {
        // One that revokes closes those before it for a member, too, that does not hold it.
        let in_force = epochs.iter().filter(|epoch| epoch.stage != Stage::Prepared);
        let revoking = in_force.filter(|epoch| epoch.revokes).map(|epoch| epoch.id).max();
        // What is newer than all that it lists is not retired: the server came back from an old
        // backup, does not know of it yet, and is about to count on from there.
        let newest = epochs.iter().map(|epoch| epoch.id).max().unwrap_or(u64::MAX);
        let mut keys: Vec<Key> = Vec::new();
        for epoch in epochs.into_iter().take(MOST_LIVE) {
            let held = self.keys.iter().position(|key| key.id == epoch.id);
            let key = match (held, epoch.keys) {
                (Some(at), None) => Some(self.keys.swap_remove(at)),
                (Some(at), Some(new)) => {
                    let mut key = self.keys.swap_remove(at);
                    // Another key under the same number: the server came back from an old backup.
                    // What is held says so to it, and it will count on from there.
                    if key.check() == tek_check(&new.tek.0) {
                        key.merge(new, kept);
                    }
                    Some(key)
                }
                (None, Some(new)) if self.over.contains(&(epoch.id, tek_check(&new.tek.0))) => None,
                (None, Some(new)) => {
                    let senders = new.senders.clone();
                    let mut key = Key {
                        id: epoch.id,
                        stage: Stage::Prepared,
                        revokes: epoch.revokes,
                        keys: new,
                        spent: BTreeSet::new(),
                        kept: BTreeSet::new(),
                        worn: BTreeSet::new(),
                        renew: false,
                        closes: None,
                        since: now,
                    };
                    key.put_aside(&senders, kept);
                    Some(key)
                }
                (None, None) => None,
            };
            if let Some(mut key) = key {
                // Once in force it stays so: a late state does not take that back.
                key.stage = key.stage.max(epoch.stage);
                keys.push(key);
            }
        }
        let (used, unused): (Vec<_>, Vec<_>) =
            self.keys.drain(..).partition(|key| key.stage != Stage::Prepared);
        drop(unused);
        let (unknown, retired): (Vec<_>, Vec<_>) =
            used.into_iter().partition(|key| key.id > newest);
        // On the wire two epochs with the same byte could not be told apart.
        keys.retain(|key| unknown.iter().all(|other| other.byte() != key.byte()));
        keys.extend(unknown);
        keys.sort_by_key(|key| key.id);
        let surplus = keys.len().saturating_sub(MOST_LIVE);
        let surplus: Vec<_> = keys.drain(..surplus).collect();
        self.keys = keys;
        self.remember(retired.iter().chain(&surplus));
        self.close_revoked(now);
        for key in self.keys.iter_mut().filter(|key| revoking.is_some_and(|id| key.id < id)) {
            key.closes.get_or_insert(now + CLOSING);
        }
    }

    /// The epoch is in force. Gives whether that is news.
    pub(super) fn activate(&mut self, id: u64, now: u64) -> bool {
        match self.keys.iter_mut().find(|key| key.id == id && key.stage == Stage::Prepared) {
            Some(key) => {
                key.stage = Stage::Active;
                self.close_revoked(now);
                true
            }
            None => false,
        }
    }

    /// A sender number is almost used up. Gives whether that is news.
    pub(super) fn wear(&mut self, id: u64, sender: u32) -> bool {
        self.with_sender(id, sender).is_some_and(|key| key.worn.insert(sender))
    }

    /// A sender number is used up. Gives whether that is news.
    pub(super) fn exhaust(&mut self, id: u64, sender: u32) -> bool {
        self.with_sender(id, sender).is_some_and(|key| key.spent.insert(sender))
    }

    /// The epoch, if it has this sender number.
    fn with_sender(&mut self, id: u64, sender: u32) -> Option<&mut Key> {
        self.keys.iter_mut().find(|key| key.id == id && key.keys.senders.contains(&sender))
    }

    /// Other sender numbers are wanted in place of these, which serve until then.
    pub(super) fn renew_senders(&mut self) {
        for key in &mut self.keys {
            key.renew = true;
        }
    }

    fn close_revoked(&mut self, now: u64) {
        let newest = self.keys.iter().rposition(|key| key.revokes && key.stage != Stage::Prepared);
        for key in &mut self.keys[..newest.unwrap_or(0)] {
            key.closes.get_or_insert(now + CLOSING);
        }
    }

    /// Forgets what is over. Gives whether anything was.
    pub(super) fn expire(&mut self, now: u64, clocks: &[Estimate], island: u32) -> bool {
        let lives = |key: &Key| key.ends(clocks, island).is_none_or(|at| now < at);
        let (keys, over): (Vec<_>, Vec<_>) = self.keys.drain(..).partition(lives);
        self.keys = keys;
        self.remember(&over);
        !over.is_empty()
    }

    /// Forgets all that it holds.
    pub(super) fn clear(&mut self) {
        let (used, _): (Vec<_>, Vec<_>) =
            self.keys.drain(..).partition(|key| key.stage != Stage::Prepared);
        self.remember(&used);
    }

    /// What was sealed with these is not known any more: none of them may come back.
    fn remember<'a>(&mut self, over: impl IntoIterator<Item = &'a Key>) {
        self.over.extend(over.into_iter().map(|key| (key.id, key.check())));
        self.over.drain(..self.over.len().saturating_sub(MOST_OVER));
    }

    pub(super) fn next_change(&self, clocks: &[Estimate], island: u32) -> Option<u64> {
        self.keys.iter().filter_map(|key| key.ends(clocks, island)).min()
    }

    /// The newest epoch in force in which there is a sender number left and the time is known.
    pub(super) fn sealing(&self, clocks: &[Estimate]) -> Option<u64> {
        let mut usable = self.keys.iter().rev().filter(|key| {
            key.stage != Stage::Prepared && key.senders().next().is_some() && key.has_time(clocks)
        });
        usable.next().map(|key| key.id)
    }

    /// Local time at which the lifetime of the epoch that is sealed with is over.
    pub(super) fn lifetime_ends(&self, clocks: &[Estimate]) -> Option<u64> {
        let sealing = self.sealing(clocks)?;
        self.keys.iter().find(|key| key.id == sealing)?.lifetime_ends(clocks, 0)
    }

    /// The highest sender number that it was given in an epoch, used up or not.
    pub(super) fn highest_sender(&self, epoch: u64) -> u32 {
        let given = self.keys.iter().filter(|key| key.id == epoch);
        given.flat_map(|key| key.keys.senders.iter().copied()).max().unwrap_or(0)
    }

    /// It holds an epoch whose time it does not know.
    pub(super) fn lacks_time(&self, clocks: &[Estimate]) -> bool {
        !self.keys.iter().all(|key| key.has_time(clocks))
    }

    /// All epochs that it holds.
    pub(super) fn held(&self) -> Vec<Held> {
        self.keys.iter().map(Key::held).collect()
    }

    /// The epochs that it can use: the server waits for that.
    pub(super) fn usable(&self, clocks: &[Estimate]) -> Vec<Held> {
        self.keys.iter().filter(|key| key.has_time(clocks)).map(Key::held).collect()
    }

    pub(super) fn clocks(&self) -> BTreeSet<u64> {
        self.keys.iter().map(|key| key.keys.clock).collect()
    }

    pub(super) fn views(
        &self,
        now: u64,
        started: u64,
        clocks: &[Estimate],
        island: u32,
    ) -> Vec<KeyView> {
        let sealing = self.sealing(clocks);
        let view = |key: &Key| {
            let clock = clocks.iter().find(|known| known.clock == key.keys.clock);
            let origin = clock.and_then(|clock| {
                i64::try_from(key.keys.origin).ok()?.checked_sub(clock.offset(now))
            });
            let error = clock.map_or(u64::MAX, |clock| clock.error(now));
            let error = u32::try_from(error).unwrap_or(u32::MAX);
            let open = clock.filter(|clock| clock.is_open());
            // Older than the freshness window makes no difference, and serial arithmetic is short.
            let age = now.saturating_sub(started).min(1 << 30) as u32;
            let floor = match open {
                Some(clock) => clock.floor().wrapping_sub(key.keys.origin) as u32,
                // A sender's clock may be ahead as far as this one's behind.
                None => pseudo_time(now, origin.unwrap_or(0))
                    .wrapping_sub(age)
                    .wrapping_add(error)
                    .wrapping_add(error.min(SENDER_ERROR)),
            };
            KeyView {
                id: key.id,
                tek: Arc::clone(&key.keys.tek.0),
                suite: key.keys.suite,
                carriage: key.keys.carriage,
                sealing: sealing == Some(key.id),
                prepared: key.stage == Stage::Prepared,
                senders: key.senders().collect(),
                highest_sender: key.keys.highest_sender,
                origin,
                error,
                open: open.is_some(),
                floor,
                ends: key.ends(clocks, island),
            }
        };
        self.keys.iter().map(view).collect()
    }
}

/// Pseudo-time at local time `now`, both in milliseconds.
pub const fn pseudo_time(now: u64, origin: i64) -> u32 {
    (now as i64).wrapping_sub(origin) as u32
}

impl Key {
    /// The same epoch again, with what may change in it.
    fn merge(&mut self, new: EpochKeys, kept: u8) {
        let fresh: Vec<_> =
            new.senders.into_iter().filter(|n| !self.keys.senders.contains(n)).collect();
        if self.renew && !fresh.is_empty() {
            self.spent.extend(self.keys.senders.iter().copied());
            self.kept.clear();
            self.renew = false;
        }
        self.put_aside(&fresh, kept);
        self.keys.senders.extend(fresh);
        self.keys.highest_sender = self.keys.highest_sender.max(new.highest_sender);
        self.keys.ends = new.ends;
    }
}
