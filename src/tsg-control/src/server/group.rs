//! A group's epochs and policy versions.
//!
//! Not here: when they move on ([`super::advance`]), what members are sent ([`super::state`]).

use super::flows::Flows;
use super::record::{EpochRecord, GroupRecord, PolicyRecord};
use crate::group::Carriage;
use crate::keys::PublicKey;
use crate::message::{self, MAX_POLICY};
use crate::timeline::{Stage, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tsg_esp::crypto::{Suite, Tek};

/// A policy version that is no longer in force is accepted so long at most, in milliseconds.
pub(super) const POLICY_LINGER: u64 = 60_000;

/// A new epoch that is wanted, the more urgent the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// When the change that runs is over.
    Routine,
    /// In place of one that is being prepared: that one would not do.
    AtOnce,
    /// At once, and who cannot be reached in time is left behind.
    Leaving,
}

/// A group and what lives in it.
pub(super) struct Group {
    pub(super) record: GroupRecord,
    pub(super) members: BTreeSet<PublicKey>,
    pub(super) epochs: Timeline<LiveEpoch>,
    pub(super) policies: Timeline<PolicyRecord>,
    pub(super) revision: u64,
    /// The revision that all members who were online were sent.
    pub(super) told: u64,
    /// A member that each epoch and policy version waits for before it moves on.
    pub(super) awaited_epochs: BTreeMap<u64, PublicKey>,
    pub(super) awaited_policies: BTreeMap<u64, PublicKey>,
    pub(super) wanted: Option<Want>,
    /// The first sender number of the next epoch.
    pub(super) first_sender: u32,
    /// When the revocation that `wanted` carries on must be in force.
    pub(super) promised: Option<u64>,
    /// How many members each machine is behind, as of the revision `map_gathered`.
    pub(super) map: BTreeMap<IpAddr, u32>,
    pub(super) map_gathered: u64,
    pub(super) map_revision: u64,
    pub(super) map_due: Option<u64>,
    pub(super) map_told: u64,
    /// There are more machines than a map can name.
    pub(super) map_is_cut: bool,
    pub(super) leapt: Option<u64>,
    pub(super) flows: Flows,
}

/// An epoch that members may hold.
pub(super) struct LiveEpoch {
    pub(super) id: u64,
    pub(super) revokes: bool,
    pub(super) ends: u64,
    /// What only the process that made the epoch has.
    pub(super) made: Option<MadeEpoch>,
}

/// The secret of an epoch that this process made.
pub(super) struct MadeEpoch {
    pub(super) tek: Arc<Tek>,
    pub(super) check: [u8; 8],
    pub(super) suite: Suite,
    pub(super) carriage: Carriage,
    pub(super) clock: u64,
    pub(super) origin: u64,
    pub(super) next_sender: u32,
    pub(super) highest_sender: u32,
}

impl Group {
    pub(super) fn restore(record: GroupRecord, now: u64) -> Self {
        let closing = record.epochs.iter().any(|epoch| epoch.closing);
        let mut group = Self {
            members: BTreeSet::new(),
            epochs: Timeline::default(),
            policies: Timeline::default(),
            revision: 1,
            told: 0,
            awaited_epochs: BTreeMap::new(),
            awaited_policies: BTreeMap::new(),
            wanted: closing.then_some(Want::Leaving),
            first_sender: 1,
            promised: None,
            map: BTreeMap::new(),
            map_gathered: 0,
            map_revision: 1,
            map_due: None,
            map_told: 0,
            map_is_cut: false,
            leapt: None,
            flows: Flows::default(),
            record,
        };
        let latest = group.latest_end(now);
        for (at, epoch) in group.record.epochs.iter().enumerate() {
            let newest = at + 1 == group.record.epochs.len();
            let stage = if newest { Stage::Active } else { Stage::Retiring };
            // The clock of an earlier process may have been another one.
            let ends = epoch.ends.min(latest);
            let live = LiveEpoch { id: epoch.id, revokes: false, ends, made: None };
            group.epochs.restore(live, stage, group.revision, now, ends);
        }
        group.restore_policies(now);
        group
    }

    fn restore_policies(&mut self, now: u64) {
        let (newest, revision) = (self.record.policy.clone(), self.revision);
        let patience = now + self.delay(false);
        // Who stored them may have known no limit: one that may be too long goes alone.
        let fits = |policy: &PolicyRecord| message::encoded_len(&policy.policy) <= MAX_POLICY;
        let previous = self.record.previous.clone();
        match previous.filter(|previous| fits(previous) && fits(&newest)) {
            None => self.policies.restore(newest, Stage::Active, revision, now, 0),
            Some(previous) if previous.retiring => {
                let end = now + POLICY_LINGER;
                self.policies.restore(previous, Stage::Retiring, revision, now, end);
                self.policies.restore(newest, Stage::Active, revision, now, 0);
            }
            Some(previous) => {
                self.policies.restore(previous, Stage::Active, revision, now, 0);
                self.policies.prepare(newest, revision, now, patience);
            }
        }
    }

    /// What is on disk of epochs and policies is as they stand now.
    pub(super) fn record_timelines(&mut self) {
        self.record.epochs = self.live_records();
        let newest = self.record.policy.version;
        // One that is only being prepared is in no member's use.
        let mut older = self
            .policies
            .live()
            .iter()
            .filter(|entry| entry.item.version != newest && entry.stage != Stage::Prepared);
        let previous = older.next_back().map(|entry| PolicyRecord {
            retiring: entry.stage == Stage::Retiring,
            ..entry.item.clone()
        });
        self.record.previous = previous;
    }

    /// Milliseconds that a change waits for members.
    pub(super) fn delay(&self, revokes: bool) -> u64 {
        let settings = &self.record.settings;
        let seconds = if revokes { settings.revoke_delay } else { settings.activation_delay };
        u64::from(seconds) * 1000
    }

    /// When the lifetime of an epoch that is made now ends.
    pub(super) fn latest_end(&self, now: u64) -> u64 {
        now + u64::from(self.record.settings.key_lifetime) * 1000
    }

    /// A new epoch is wanted.
    pub(super) fn want(&mut self, want: Want) {
        self.wanted = self.wanted.max(Some(want));
    }

    /// A policy version that comes into force when all members have it.
    pub(super) fn prepare_policy(&mut self, next: PolicyRecord, now: u64) {
        self.record.policy = next;
        self.prepare_newest_policy(now);
        self.record_timelines();
    }

    /// Gives whether the newest policy version, which waited for the one before it to come into
    /// force, is being prepared now.
    pub(super) fn prepare_newest_policy(&mut self, now: u64) -> bool {
        let version = self.record.policy.version;
        let known = self.policies.live().iter().any(|entry| entry.item.version == version);
        if known || self.policies.is_put_off(now) {
            return false;
        }
        self.revision += 1;
        let deadline = now + self.delay(false);
        self.policies.prepare(self.record.policy.clone(), self.revision, now, deadline);
        self.record_timelines();
        true
    }

    /// Something that applies at once has changed: members are sent a new state.
    pub(super) const fn touch(&mut self) {
        self.revision += 1;
    }

    /// The clock that showed `before` counts from `now` on.
    pub(super) fn rebase(&mut self, before: u64, now: u64) {
        let soon = now + self.delay(false);
        self.policies.rebase(now, |_| soon);
        self.map_told = now;
        self.map_due = self.map_due.map(|_| now);
        self.leapt = None;
        self.flows.rebase(before, now);
        self.revision += 1;
        if !self.members.is_empty() {
            self.rebase_epochs(before, now);
        }
    }

    /// Nothing more is handed out of what was made by the old count; members that hold it go on with it until a new
    /// epoch is in force.
    fn rebase_epochs(&mut self, before: u64, now: u64) {
        let left = |deadline: u64| now.saturating_add(deadline.saturating_sub(before));
        let prepared = self.epochs.prepared();
        let leaving = prepared.filter(|entry| entry.item.revokes).map(|entry| entry.deadline);
        self.promised = leaving.or(self.promised).map(left);
        self.want(if leaving.is_some() { Want::Leaving } else { Want::AtOnce });
        self.epochs.take_prepared();
        let latest = self.latest_end(now);
        for epoch in self.epochs.items_mut() {
            epoch.ends = latest;
            epoch.made = None;
        }
        let first_open = self.first_open();
        self.epochs.rebase(now, |epoch| if epoch.id < first_open { now } else { latest });
    }

    /// Nobody is in: what those who were in know must not come into use again.
    pub(super) fn forget_epochs(&mut self) {
        self.epochs = Timeline::default();
        self.wanted = None;
        self.record.epochs.clear();
    }

    /// A change is on its way, so what members confirm matters.
    pub(super) fn moves(&self) -> bool {
        let epochs = self.epochs.live().iter().any(|entry| entry.stage != Stage::Active);
        let policies = self.policies.live().iter().any(|entry| entry.stage != Stage::Active);
        epochs || policies || self.wanted.is_some()
    }

    /// There is something that members have not been sent.
    pub(super) fn has_news(&self, now: u64) -> bool {
        self.told != self.revision || self.map_due.is_some_and(|at| now >= at)
    }

    /// This process can hand out an epoch of its own.
    pub(super) fn has_own_epoch(&self) -> bool {
        self.epochs.live().iter().any(|entry| entry.item.made.is_some())
    }

    /// When there is something to do: not before `now`, and counted from when it was last looked
    /// for, so that what fell due since then is not passed over.
    pub(super) fn timeout(&self, advanced: u64, now: u64) -> Option<u64> {
        let soon = |at: u64| Some(at.max(now + 50));
        let waits = self.wanted.is_some()
            || self.epochs.prepared().is_some()
            || self.policies.prepared().is_some();
        let rekey = self.rekey_at().filter(|_| !waits && !self.members.is_empty());
        [
            self.epochs.deadline(advanced).and_then(soon),
            self.policies.deadline(advanced).and_then(soon),
            rekey.and_then(soon),
            self.map_due.and_then(soon),
            // Members that vanish are noticed by their silence.
            waits.then_some(now + 1_000),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the epoch in force is due to be replaced: so long before its lifetime ends that members
    /// which are slow to answer can be waited for.
    pub(super) fn rekey_at(&self) -> Option<u64> {
        let lifetime = u64::from(self.record.settings.key_lifetime) * 1000;
        let patience = (self.delay(false) + 10_000).min(lifetime / 2);
        let margin = (lifetime / 10).min(120_000).max(patience);
        self.epochs.active().map(|entry| entry.item.ends.saturating_sub(margin))
    }

    /// What a server that starts has to know of the epochs. Those that a revocation has closed are
    /// not among them.
    fn live_records(&self) -> Vec<EpochRecord> {
        let closing = self.wanted == Some(Want::Leaving)
            || self.epochs.prepared().is_some_and(|entry| entry.item.revokes);
        let steady = || self.epochs.live().iter().filter(|entry| entry.stage != Stage::Prepared);
        let first = self.first_open();
        let record = |epoch: &LiveEpoch| EpochRecord { id: epoch.id, ends: epoch.ends, closing };
        steady().map(|entry| &entry.item).filter(|epoch| epoch.id >= first).map(record).collect()
    }

    /// The newest epoch in force that revokes: those before it are closed.
    pub(super) fn first_open(&self) -> u64 {
        let in_force = self.epochs.live().iter().filter(|entry| entry.stage != Stage::Prepared);
        in_force.filter(|entry| entry.item.revokes).map(|entry| entry.item.id).max().unwrap_or(0)
    }
}
