//! How the key server brings new epochs and policy versions into force (DESIGN section 5).

use super::group::{Group, LiveEpoch, MadeEpoch, POLICY_LINGER, Want};
use super::record::{PolicyRecord, Record};
use super::session::Session;
use super::{Gateway, Server};
use crate::gateway::SILENCE;
use crate::group::{Cipher, FOREVER};
use crate::keys::{PublicKey, make_tek, tek_check};
use crate::message::{Announcement, Held};
use crate::timeline::{LINGER, MOST_LIVE, Stage, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::spi::Spi;

/// Pseudo-time counts from this long before an epoch was made, in milliseconds.
const ORIGIN: u64 = 3_600_000;

/// Beyond this sender number the group gets a new epoch.
const MANY_SENDERS: u32 = Spi::MAX_SENDER / 4 * 3;

/// Room for this many sender numbers of each member is announced with an epoch, so that those who
/// come later or need more find it.
const ROOM_PER_MEMBER: usize = 64;

/// A member cannot push the epoch number further than this at once.
const LONGEST_LEAP: u64 = 1 << 32;

/// After a restored backup other members may hold epochs a little newer still: leave room.
const LEAP_OVER: u64 = 16;

/// Members that hold epochs which the server does not know cause at most one rekey in this many
/// milliseconds, all together.
const LEAP_AGAIN: u64 = 10_000;

/// A new epoch comes into force so many milliseconds before the one in force runs out, at the
/// latest: members have to hear of it.
const LAST_CALL: u64 = 2_000;

impl Server {
    /// The group shall have a new epoch.
    pub(super) fn want_epoch(&mut self, name: &str, want: Want) {
        if let Some(group) = self.groups.get_mut(name) {
            group.want(want);
        }
    }

    /// Moves every group on as far as it can go, and sends what members lack.
    pub(super) fn advance(&mut self, now: u64) {
        self.advanced = now;
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in &names {
            self.advance_group(name, now);
        }
    }

    /// Moves one group on as far as it can go, and sends what its members lack.
    pub(super) fn advance_group(&mut self, name: &str, now: u64) {
        self.rekey_when_due(name, now);
        self.make_wanted_epoch(name, now);
        while self.step(name, now) || self.prepare_newest_policy(name, now) {}
        self.make_wanted_epoch(name, now);
        // Each member's confirmation comes here: only news make it worth looking at all of them.
        if self.groups.get(name).is_some_and(|group| group.has_news(now)) {
            self.send_what_lacks(name, now);
        }
    }

    fn rekey_when_due(&mut self, name: &str, now: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let many = group.epochs.active().is_some_and(|entry| {
            entry.item.made.as_ref().is_some_and(|made| made.next_sender > MANY_SENDERS)
        });
        let due = group.rekey_at().is_some_and(|at| now >= at) && !group.members.is_empty();
        if (due || many) && group.epochs.prepared().is_none() {
            group.want(Want::Routine);
        }
    }

    fn make_wanted_epoch(&mut self, name: &str, now: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(want) = group.wanted else { return };
        let patience = group.delay(false).max(LINGER);
        let may = match want {
            Want::Routine => group.epochs.prepared().is_none() && group.epochs.room(now, patience),
            Want::AtOnce => group.epochs.room(now, patience),
            Want::Leaving => true,
        };
        if !may {
            return;
        }
        let (clock, all_aes) = (self.clock, self.members(name).all(|gateway| gateway.record.aes));
        let tek = make_tek(|bytes| self.random.fill(bytes));
        let Some(group) = self.groups.get_mut(name) else { return };
        let id = group.begin_epoch(want, tek, clock, all_aes, now);
        let record = group.record.clone();
        self.records.push_back(Record::Group(record));
        self.info(format!("{name}: epoch {id} is being prepared"));
    }

    /// A policy version that waited is prepared; gives whether there was one.
    fn prepare_newest_policy(&mut self, name: &str, now: u64) -> bool {
        let Some(group) = self.groups.get_mut(name) else { return false };
        let prepared = group.prepare_newest_policy(now);
        if prepared {
            let record = group.record.clone();
            self.records.push_back(Record::Group(record));
        }
        prepared
    }

    /// One step of the group's timelines; gives whether there was one.
    fn step(&mut self, name: &str, now: u64) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        if !group.moves() {
            return false;
        }
        let [epochs, policies] = self.awaited(group, now);
        let Some(group) = self.groups.get_mut(name) else { return false };
        let (confirmed_epochs, awaited) = answers(&epochs);
        group.awaited_epochs = awaited;
        let (confirmed_policies, awaited) = answers(&policies);
        group.awaited_policies = awaited;
        let end = |old: &LiveEpoch, new: &LiveEpoch| if new.revokes { now } else { old.ends };
        let epoch = group.epochs.step(now, group.revision + 1, &confirmed_epochs, end);
        let linger = |_: &PolicyRecord, _: &PolicyRecord| now + POLICY_LINGER;
        let policy = group.policies.step(now, group.revision + 1, &confirmed_policies, linger);
        if epoch.is_none() && policy.is_none() {
            return false;
        }
        group.revision += 1;
        group.record_timelines();
        let record = group.record.clone();
        let in_force = group.epochs.active().map_or(0, |entry| entry.item.id);
        let version = group.policies.active().map_or(0, |entry| entry.item.version);
        self.records.push_back(Record::Group(record));
        self.announcements.push_back(Announcement {
            group: name.to_owned(),
            epoch: in_force,
            policy: version,
        });
        if epoch == Some(Step::Activated) {
            self.info(format!("{name}: epoch {in_force} is in force"));
        }
        if policy == Some(Step::Activated) {
            self.info(format!("{name}: policy {version} is in force"));
        }
        true
    }

    /// A member holds epochs that this server never made: it was restored from an old backup, or
    /// set up anew. Count on from there, and get everybody into one epoch again.
    pub(super) fn notice_held(&mut self, from: PublicKey, holds: &[Held], now: u64) {
        let Some(gateway) = self.gateways.get_mut(&from) else { return };
        let Some(group) = self.groups.get_mut(&gateway.record.group) else { return };
        let last = group.record.last_epoch;
        let foreign = |held: &&Held| {
            let other = |entry: &LiveEpoch| {
                let made = entry.made.as_ref();
                entry.id == held.epoch && made.is_some_and(|made| made.check != held.check)
            };
            held.epoch > last || group.epochs.live().iter().any(|entry| other(&entry.item))
        };
        let holds = holds.iter().take(MOST_LIVE + 1);
        let Some(highest) = holds.filter(foreign).map(|held| held.epoch).max() else { return };
        let soon = group.leapt.is_some_and(|at| now < at + LEAP_AGAIN);
        if soon || !gateway.belief.take(now) {
            return;
        }
        group.leapt = Some(now);
        group.count_on_from(highest);
        group.want(Want::AtOnce);
        let text = format!(
            "{}: {} holds epoch {highest}, which this server did not make: counting on from there",
            group.record.name, gateway.record.name
        );
        self.warn(text);
    }

    /// A member without AES is in a group whose epoch may use it: then the group changes its cipher.
    pub(super) fn suit_ciphers(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else { return };
        let newest = group.epochs.live().last().and_then(|entry| entry.item.made.as_ref());
        let aes = newest.is_some_and(|made| made.suite == Suite::Aes256Gcm);
        if aes && group.record.settings.cipher == Cipher::Auto {
            self.want_epoch(name, Want::Routine);
        }
    }
}

impl Group {
    /// Members hold epochs up to this one: what comes next has a higher number. One that is further
    /// ahead, after many lies and an old backup, is reached in several leaps.
    pub(super) fn count_on_from(&mut self, highest: u64) {
        let last = self.record.last_epoch;
        let reached = highest.clamp(last, last.saturating_add(LONGEST_LEAP));
        self.record.last_epoch = reached.saturating_add(LEAP_OVER);
    }

    /// By then the next epoch should be in force: soon after that members have nothing left to seal
    /// with. A server that was away can be late, and then it waits for nobody so long; but if its
    /// clock was set meanwhile, this may seem to be long over when it is not.
    fn last_call(&self) -> u64 {
        match (self.epochs.active(), self.record.settings.island_time) {
            (None, _) | (_, FOREVER) => u64::MAX,
            (Some(entry), island) => {
                entry.item.ends.saturating_add(u64::from(island) * 1000).saturating_sub(LAST_CALL)
            }
        }
    }

    /// Prepares a new epoch; gives its number.
    fn begin_epoch(
        &mut self,
        want: Want,
        tek: Arc<Tek>,
        clock: u64,
        all_aes: bool,
        now: u64,
    ) -> u64 {
        self.wanted = None;
        self.revision += 1;
        let live: BTreeSet<_> =
            self.epochs.live().iter().map(|entry| Spi::byte_of(entry.item.id)).collect();
        self.record.last_epoch += 1;
        while live.contains(&Spi::byte_of(self.record.last_epoch)) {
            self.record.last_epoch += 1;
        }
        let id = self.record.last_epoch;
        // One that is dropped before it came into force may have been the one that leaves
        // somebody behind: its promise is kept.
        let dropped = self.epochs.prepared().filter(|entry| entry.item.revokes);
        let promised = dropped.map(|entry| entry.deadline).or(self.promised.take());
        let revokes = want == Want::Leaving || promised.is_some();
        let deadline = now + self.delay(revokes);
        let deadline = promised.map_or(deadline, |promised| promised.min(deadline));
        let deadline = deadline.min(self.last_call().max(now + LINGER));
        let room = (self.members.len() * ROOM_PER_MEMBER).next_power_of_two();
        let made = MadeEpoch {
            check: tek_check(&tek),
            tek,
            suite: self.record.settings.suite(all_aes),
            carriage: self.record.settings.carriage(),
            clock,
            origin: now.saturating_sub(ORIGIN),
            next_sender: std::mem::replace(&mut self.first_sender, 1),
            highest_sender: u32::try_from(room).unwrap_or(u32::MAX).clamp(256, Spi::MAX_SENDER),
        };
        let epoch = LiveEpoch { id, revokes, ends: self.latest_end(now), made: Some(made) };
        self.epochs.prepare(epoch, self.revision, now, deadline);
        self.record_timelines();
        id
    }
}

/// What members are asked before something moves on.
struct Question<'a> {
    stage: Stage,
    /// The revision that they must be in.
    revision: u64,
    /// The epoch that they must hold, too.
    epoch: Option<(u64, &'a MadeEpoch)>,
    now: u64,
    /// Until then members that were not heard may still come.
    grace: u64,
}

impl Question<'_> {
    /// This member is waited for.
    fn lacks(&self, gateway: &Gateway) -> bool {
        let held = |session: &Session| {
            self.epoch.is_none_or(|(id, made)| {
                session.holds(id, made.check)
                    || (made.suite == Suite::Aes256Gcm && !gateway.record.aes)
            })
        };
        // Who is away may still use what retires.
        let all = self.stage == Stage::Retiring;
        match &gateway.session {
            Some(session) if session.acked >= self.revision && held(session) => false,
            Some(session) => all || self.now < session.heard + SILENCE,
            None => all || self.now < self.grace,
        }
    }
}

/// Epochs or policy versions by number, each with a member that it waits for.
type Awaited = Vec<(u64, Option<PublicKey>)>;

impl Server {
    /// Whom the epochs and the policy versions of a group wait for.
    fn awaited(&self, group: &Group, now: u64) -> [Awaited; 2] {
        let grace = self.started.saturating_add(group.delay(false));
        let ask = |stage, revision, epoch| Question { stage, revision, epoch, now, grace };
        let epochs = group.epochs.live().iter().map(|entry| {
            let (id, made) = (entry.item.id, entry.item.made.as_ref());
            let needed = made.filter(|_| entry.stage == Stage::Prepared).map(|made| (id, made));
            let question = ask(entry.stage, entry.revision, needed);
            (id, self.who_lacks(group, group.awaited_epochs.get(&id), &question))
        });
        let policies = group.policies.live().iter().map(|entry| {
            let version = entry.item.version;
            let question = ask(entry.stage, entry.revision, None);
            (version, self.who_lacks(group, group.awaited_policies.get(&version), &question))
        });
        [epochs.collect(), policies.collect()]
    }

    /// A member that is waited for, if there is one. As long as it is the one from `before`, nobody
    /// else is looked at: this is asked whenever a member confirms something.
    fn who_lacks(
        &self,
        group: &Group,
        before: Option<&PublicKey>,
        question: &Question<'_>,
    ) -> Option<PublicKey> {
        if question.stage == Stage::Active {
            return None;
        }
        let members = &group.members;
        let first = before.or_else(|| members.first())?;
        let mut in_turn = members.range(first..).chain(members.range(..first));
        let lacks = |key: &&PublicKey| self.gateways.get(key).is_some_and(|g| question.lacks(g));
        in_turn.find(lacks).copied()
    }
}

/// For each change whether it is confirmed, and who is waited for.
fn answers(awaited: &Awaited) -> (Vec<bool>, BTreeMap<u64, PublicKey>) {
    let confirmed = awaited.iter().map(|(_, who)| who.is_none()).collect();
    (confirmed, awaited.iter().filter_map(|(what, who)| Some((*what, (*who)?))).collect())
}
