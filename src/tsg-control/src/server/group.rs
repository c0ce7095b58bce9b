//! A group's epochs and policy versions, and what its members are sent.

use super::record::{EpochRecord, GroupRecord, PolicyRecord, Record};
use super::{Gateway, Server};
use crate::gateway::SILENCE;
use crate::group::{Carriage, Cipher};
use crate::keys::{PublicKey, tek_check};
use crate::message::{
    Announcement, Epoch, EpochKeys, GroupSettings, Held, Map, PolicyVersion, Reading, State,
    TekField, ToGateway,
};
use crate::timeline::{Confirmed, MOST_LIVE, Stage, Step, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use tsg_esp::crypto::{Suite, Tek};
use zeroize::Zeroizing;

/// Pseudo-time counts from this long before an epoch was made, in milliseconds.
const ORIGIN: u64 = 3_600_000;

/// The highest number that fits into an SPI.
const LAST_SENDER: u32 = (1 << 24) - 1;

/// Beyond this the group gets a new epoch.
const MANY_SENDERS: u32 = LAST_SENDER / 4 * 3;

/// One process of a gateway gets at most this many sender numbers in an epoch.
const MOST_GRANTED: usize = 256;

/// A member cannot push the epoch number further than this at once.
const LONGEST_LEAP: u64 = 1 << 32;

/// A member that holds epochs which the server does not know causes at most one rekey in this
/// many milliseconds.
const LEAP_AGAIN: u64 = 60_000;

/// The map is sent at most this often, in milliseconds.
const MAP_AGAIN: u64 = 200;

/// A group and what lives in it.
pub(super) struct Group {
    pub(super) record: GroupRecord,
    pub(super) epochs: Timeline<LiveEpoch>,
    pub(super) policies: Timeline<PolicyRecord>,
    pub(super) revision: u64,
    /// A new epoch is wanted; `Some(true)` if it is to leave somebody behind.
    wanted: Option<bool>,
    map_revision: u64,
    map_due: Option<u64>,
    map_told: u64,
    leapt: Option<u64>,
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
    pub(super) tek: Tek,
    pub(super) suite: Suite,
    pub(super) carriage: Carriage,
    pub(super) clock: u64,
    pub(super) origin: u64,
    pub(super) next_sender: u32,
    pub(super) highest_sender: u32,
}

impl Group {
    pub(super) fn restore(record: GroupRecord, now: u64) -> Self {
        let mut group = Self {
            epochs: Timeline::default(),
            policies: Timeline::default(),
            revision: 1,
            wanted: None,
            map_revision: 1,
            map_due: None,
            map_told: 0,
            leapt: None,
            record,
        };
        for (at, epoch) in group.record.epochs.iter().enumerate() {
            let newest = at + 1 == group.record.epochs.len();
            let stage = if newest { Stage::Active } else { Stage::Retiring };
            let live = LiveEpoch { id: epoch.id, revokes: false, ends: epoch.ends, made: None };
            group.epochs.restore(live, stage, now, epoch.ends);
        }
        match &group.record.previous {
            None => group.policies.restore(group.record.policy.clone(), Stage::Active, now, 0),
            Some(previous) => {
                let newest = group.record.policy.clone();
                group.policies.restore(previous.clone(), Stage::Active, now, 0);
                let deadline = now + group.delay(false);
                group.policies.prepare(newest, group.revision, now, deadline);
            }
        }
        group
    }

    /// Milliseconds that a change waits for members.
    fn delay(&self, revokes: bool) -> u64 {
        let settings = &self.record.settings;
        let seconds = if revokes { settings.revoke_delay } else { settings.activation_delay };
        u64::from(seconds) * 1000
    }

    /// A policy version that comes into force when all members have it.
    pub(super) fn prepare_policy(&mut self, next: PolicyRecord, now: u64) {
        let in_force = self.policies.active().map(|entry| entry.item.clone());
        self.revision += 1;
        self.record.policy = next.clone();
        self.record.previous = in_force;
        let deadline = now + self.delay(false);
        self.policies.prepare(next, self.revision, now, deadline);
    }

    /// Something that applies at once has changed: members are sent a new state.
    pub(super) const fn touch(&mut self) {
        self.revision += 1;
    }

    /// The clock counts from `now` on: what lives ends a lifetime from here at the latest.
    pub(super) fn rebase(&mut self, now: u64) {
        let latest = now + u64::from(self.record.settings.key_lifetime) * 1000;
        for epoch in self.epochs.items_mut() {
            epoch.ends = latest;
        }
        self.epochs.rebase(now, latest);
        self.policies.rebase(now, now + self.delay(false));
    }

    pub(super) fn timeout(&self, now: u64) -> Option<u64> {
        let soon = |at: u64| Some(at.max(now + 50));
        let rekey = self.rekey_at().filter(|_| self.epochs.prepared().is_none());
        [
            self.epochs.deadline(now).and_then(soon),
            self.policies.deadline(now).and_then(soon),
            rekey.and_then(soon),
            self.map_due.and_then(soon),
            // Members that vanish are noticed by their silence.
            (self.epochs.prepared().is_some() || self.policies.prepared().is_some())
                .then_some(now + 1_000),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the epoch in force is due to be replaced: a little before its lifetime ends.
    fn rekey_at(&self) -> Option<u64> {
        let lifetime = u64::from(self.record.settings.key_lifetime) * 1000;
        let margin = (lifetime / 10).min(120_000);
        self.epochs.active().map(|entry| entry.item.ends.saturating_sub(margin))
    }

    fn live_records(&self) -> Vec<EpochRecord> {
        self.epochs
            .live()
            .iter()
            .filter(|entry| entry.stage != Stage::Prepared)
            .map(|entry| EpochRecord { id: entry.item.id, ends: entry.item.ends })
            .collect()
    }
}

impl Server {
    /// The group shall have a new epoch; one that `leaves` somebody behind does not wait for an
    /// earlier change to finish.
    pub(super) fn want_epoch(&mut self, name: &str, leaves: bool) {
        if let Some(group) = self.groups.get_mut(name) {
            group.wanted = Some(group.wanted.unwrap_or(false) || leaves);
        }
    }

    /// Moves every group on as far as it can go, and sends what members lack.
    pub(super) fn advance(&mut self, now: u64) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in &names {
            self.rekey_when_due(name, now);
            self.make_wanted_epoch(name, now);
            while self.step(name, now) {}
            self.make_wanted_epoch(name, now);
        }
        self.send_what_lacks(now);
    }

    fn rekey_when_due(&mut self, name: &str, now: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let many = group.epochs.active().is_some_and(|entry| {
            entry.item.made.as_ref().is_some_and(|made| made.next_sender > MANY_SENDERS)
        });
        let due = group.rekey_at().is_some_and(|at| now >= at);
        if (due || many) && group.epochs.prepared().is_none() && group.wanted.is_none() {
            group.wanted = Some(false);
        }
    }

    fn make_wanted_epoch(&mut self, name: &str, now: u64) {
        let all_aes = self.members(name).all(|gateway| gateway.record.aes);
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(leaves) = group.wanted else { return };
        let free = group.epochs.prepared().is_none() && group.epochs.live().len() < MOST_LIVE;
        if !free && !leaves {
            return;
        }
        group.wanted = None;
        group.revision += 1;
        group.record.last_epoch += 1;
        // One that is dropped before it came into force may have been the one that leaves
        // somebody behind.
        let revokes = leaves || group.epochs.prepared().is_some_and(|entry| entry.item.revokes);
        let mut tek = Zeroizing::new([0; 32]);
        self.random.fill(tek.as_mut());
        let settings = &group.record.settings;
        let ends = now + u64::from(settings.key_lifetime) * 1000;
        let made = MadeEpoch {
            tek: Tek::new(*tek),
            suite: settings.suite(all_aes),
            carriage: settings.carriage(),
            clock: self.clock,
            origin: now.saturating_sub(ORIGIN),
            next_sender: 1,
            highest_sender: 256,
        };
        let id = group.record.last_epoch;
        let epoch = LiveEpoch { id, revokes, ends, made: Some(made) };
        let deadline = now + group.delay(revokes);
        group.epochs.prepare(epoch, group.revision, now, deadline);
        group.record.epochs = group.live_records();
        let record = group.record.clone();
        self.records.push_back(Record::Group(record));
        self.info(format!("{name}: epoch {id} is being prepared"));
    }

    /// One step of the group's timelines; gives whether there was one.
    fn step(&mut self, name: &str, now: u64) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        let started = self.started;
        let grace = group.delay(false);
        let members: Vec<&Gateway> = self.members(name).collect();
        let confirmed = |revision: u64| confirmed(&members, revision, now, started, grace);
        // Owned answers, so that the group can be changed: there are at most three a timeline.
        let mut revisions = BTreeMap::new();
        for revision in group.epochs.live().iter().map(|entry| entry.revision) {
            revisions.insert(revision, confirmed(revision));
        }
        for revision in group.policies.live().iter().map(|entry| entry.revision) {
            revisions.insert(revision, confirmed(revision));
        }
        let confirmed = |revision: u64| revisions.get(&revision).copied().unwrap_or(Confirmed::No);
        let Some(group) = self.groups.get_mut(name) else { return false };
        let epoch = group.epochs.step(now, group.revision + 1, confirmed, |epoch| epoch.ends);
        let over = group.epochs.retain(|entry| {
            entry.stage == Stage::Prepared || entry.stage == Stage::Active || now < entry.item.ends
        });
        let policy = group.policies.step(now, group.revision + 1, confirmed, |_| now + 60_000);
        if epoch.is_none() && policy.is_none() && !over {
            return false;
        }
        group.revision += 1;
        group.record.epochs = group.live_records();
        if group.policies.live().len() == 1 {
            group.record.previous = None;
        }
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

    /// Sends the state to every member that is online and was not sent the newest, and the map.
    fn send_what_lacks(&mut self, now: u64) {
        let mut states = Vec::new();
        let mut maps = Vec::new();
        for (key, gateway) in &self.gateways {
            let Some(group) = self.groups.get(&gateway.record.group) else { continue };
            let Some(session) = gateway.online(now) else { continue };
            if gateway.record.revoked.is_some() {
                continue;
            }
            if session.sent < group.revision {
                states.push(*key);
            }
            if session.map_sent < group.map_revision && group.map_due.is_none_or(|at| now >= at) {
                maps.push(*key);
            }
        }
        for group in self.groups.values_mut() {
            if group.map_due.is_some_and(|at| now >= at) {
                group.map_due = None;
                group.map_told = now;
            }
        }
        for key in states {
            self.send_state(key, 0, now);
        }
        for key in maps {
            self.send_map(key);
        }
    }

    /// Sends one member the state that it shall be in; `request` is what it asked, or 0.
    pub(super) fn send_state(&mut self, to: PublicKey, request: u64, now: u64) {
        let Some(gateway) = self.gateways.get_mut(&to) else { return };
        let Some(group) = self.groups.get_mut(&gateway.record.group) else { return };
        let Some(session) = gateway.session.as_mut() else { return };
        let mut epochs = Vec::new();
        for (stage, epoch) in group.epochs.stages_mut() {
            let keys = match epoch.made.as_mut() {
                Some(made) if made.suite == Suite::Aes256Gcm && !gateway.record.aes => continue,
                Some(made) => {
                    grant(epoch.id, made, session);
                    Some(EpochKeys {
                        tek: TekField(made.tek.clone()),
                        suite: made.suite,
                        carriage: made.carriage,
                        clock: made.clock,
                        origin: made.origin,
                        ends: epoch.ends,
                        senders: session.granted.get(&epoch.id).cloned().unwrap_or_default(),
                        highest_sender: made.highest_sender,
                    })
                }
                None => None,
            };
            epochs.push(Epoch { id: epoch.id, stage, revokes: epoch.revokes, keys });
        }
        let policy = |stage: Stage, item: &PolicyRecord| PolicyVersion {
            version: item.version,
            stage,
            policy: item.policy.clone(),
            mode: item.mode,
            non_ip: item.non_ip.clone(),
            fail: item.fail,
        };
        let live = group.policies.live().iter();
        let state = State {
            request,
            instance: self.instance,
            revision: group.revision,
            time: Reading { clock: self.clock, now },
            group: group.record.name.clone(),
            name: gateway.record.name.clone(),
            epochs,
            policies: live.map(|entry| policy(entry.stage, &entry.item)).collect(),
            settings: GroupSettings::from(&group.record.settings),
        };
        session.sent = group.revision;
        self.transmits.push_back((to, ToGateway::State(Box::new(state))));
    }

    fn send_map(&mut self, to: PublicKey) {
        let Some(gateway) = self.gateways.get(&to) else { return };
        let Some(group) = self.groups.get(&gateway.record.group) else { return };
        let mine: BTreeSet<_> = gateway.behind().collect();
        let others: BTreeSet<_> = self
            .members(&gateway.record.group)
            .filter(|other| other.record.key != to)
            .flat_map(Gateway::behind)
            .collect();
        let map = Map {
            instance: self.instance,
            revision: group.map_revision,
            mine: mine.into_iter().collect(),
            others: others.into_iter().collect(),
        };
        let revision = group.map_revision;
        if let Some(session) = self.gateways.get_mut(&to).and_then(|g| g.session.as_mut()) {
            session.map_sent = revision;
        }
        self.transmits.push_back((to, ToGateway::Map(map)));
    }

    /// Who is behind whom has changed.
    pub(super) fn map_changed(&mut self, name: &str, now: u64) {
        if let Some(group) = self.groups.get_mut(name) {
            group.map_revision += 1;
            let soon = now.max(group.map_told + MAP_AGAIN);
            group.map_due.get_or_insert(soon);
        }
    }

    /// A member holds epochs that this server never made: it was restored from an old backup, or
    /// set up anew. Count on from there, and get everybody into one epoch again.
    pub(super) fn notice_held(&mut self, name: &str, holds: &[Held], now: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let last = group.record.last_epoch;
        let foreign = |held: &&Held| {
            held.epoch > last
                || group.epochs.live().iter().any(|entry| {
                    let made = entry.item.made.as_ref();
                    entry.item.id == held.epoch
                        && made.is_some_and(|made| tek_check(&made.tek) != held.check)
                })
        };
        let Some(highest) = holds.iter().filter(foreign).map(|held| held.epoch).max() else {
            return;
        };
        let soon = group.leapt.is_some_and(|at| now < at + LEAP_AGAIN);
        if soon || highest.saturating_sub(last) > LONGEST_LEAP {
            return;
        }
        group.leapt = Some(now);
        group.record.last_epoch = last.max(highest);
        self.warn(format!(
            "{name}: a member holds epoch {highest}, which this server did not make: counting on \
             from there"
        ));
        self.want_epoch(name, false);
    }

    /// A member without AES in a group whose epoch uses it: the group changes its cipher.
    pub(super) fn suit_ciphers(&mut self, name: &str) {
        let all_aes = self.members(name).all(|gateway| gateway.record.aes);
        let Some(group) = self.groups.get(name) else { return };
        let newest = group.epochs.live().last().and_then(|entry| entry.item.made.as_ref());
        let unfit = newest.is_some_and(|made| made.suite == Suite::Aes256Gcm) && !all_aes;
        if unfit && group.record.settings.cipher == Cipher::Auto {
            self.want_epoch(name, false);
        }
    }
}

impl Gateway {
    /// The machines behind it, as it reports them and as operators say.
    fn behind(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.record.machines.iter().chain(&self.record.pinned).copied()
    }
}

/// Sender numbers for this process in this epoch, if it has none left.
fn grant(epoch: u64, made: &mut MadeEpoch, session: &mut super::session::Session) {
    let check = tek_check(&made.tek);
    let granted = session.granted.get(&epoch).map_or(0, Vec::len);
    let held = session.holds.iter().any(|held| held.epoch == epoch && held.check == check);
    let left = session.left(epoch, check);
    // What was granted but is not yet held is still on its way.
    let enough = if held { left > 0 } else { granted > 0 };
    if enough || granted >= MOST_GRANTED {
        return;
    }
    let numbers = session.granted.entry(epoch).or_default();
    for _ in 0..session.wants {
        if made.next_sender <= LAST_SENDER {
            numbers.push(made.next_sender);
            made.next_sender += 1;
        }
    }
    while made.highest_sender < made.next_sender {
        made.highest_sender = (made.highest_sender * 2).min(LAST_SENDER + 1);
    }
}

/// What the members have confirmed of a revision.
fn confirmed(members: &[&Gateway], revision: u64, now: u64, started: u64, grace: u64) -> Confirmed {
    let mut answer = Confirmed::All;
    for gateway in members {
        let this = match &gateway.session {
            Some(session) if session.acked >= revision => Confirmed::All,
            Some(session) if now < session.heard + SILENCE => Confirmed::No,
            None if now < started + grace => Confirmed::No,
            Some(_) | None => Confirmed::Online,
        };
        if this == Confirmed::No {
            return this;
        }
        if this == Confirmed::Online {
            answer = this;
        }
    }
    answer
}
