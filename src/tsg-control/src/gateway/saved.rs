//! What a gateway takes along: over a restart of its daemon, in RAM; and, for who wants that, over a
//! power cut, on flash.
//!
//! Over a restart, sender numbers are resumed by whoever keeps the sequence ceilings (tsg-bridge's
//! `lease`), and clocks count from boot. Over a power cut neither is left: sender numbers are put
//! aside for it that no boot has used before, and of the time it is only known what it was
//! ([`Times`]). docs/decisions/0009 says what that is worth.

use super::keyring::{Key, Keyring};
use super::{Event, Gateway, Known};
use crate::clock::Estimate;
use crate::message::{EpochKeys, GroupSettings, Map, PolicyVersion};
use crate::timeline::Stage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use tsg_esp::crypto::Tek;

/// What is opened by a process may be sealed so much later than the estimate of a time that has no
/// upper end, in milliseconds: notes of later packets take their time.
const NOTED_WITHIN: u64 = 1_000;

/// The state of a gateway as one value; it carries keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    group: String,
    name: String,
    policies: Vec<PolicyVersion>,
    settings: GroupSettings,
    clocks: Vec<(u64, i64, i64, u64)>,
    /// Of clocks whose time has no upper end: the clock, and the floor as in [`Times`].
    #[serde(default)]
    floors: Vec<(u64, u64)>,
    epochs: Vec<SavedEpoch>,
    /// Behind this gateway. Who speaks seldom is still there after a restart, and nobody is told otherwise meanwhile.
    #[serde(default)]
    machines: BTreeSet<IpAddr>,
    #[serde(default)]
    map: Map,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedEpoch {
    id: u64,
    stage: Stage,
    revokes: bool,
    keys: EpochKeys,
    spent: BTreeSet<u32>,
    #[serde(default)]
    kept: BTreeSet<u32>,
    #[serde(default)]
    worn: BTreeSet<u32>,
    closes: Option<u64>,
}

/// What time it was, by each clock of the key server: the clock, the least that it can have been, and
/// the floor before which everything counts as heard. No secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times(Vec<(u64, u64, u64)>);

impl Times {
    /// Everything that these others, of now, say to have been opened counts as opened by these, too.
    pub fn cover(&self, now: &Self) -> bool {
        now.0.iter().all(|&(clock, _, opened)| {
            self.0.iter().any(|&(known, _, floor)| known == clock && floor >= opened)
        })
    }
}

impl Saved {
    /// Makes of what [`Gateway::save_for_next_boot`] gave what [`Gateway::restore`] takes after the
    /// power cut. Of the sender numbers put aside `senders` are for this boot: what is left must have
    /// taken the place of what was read before any of these is used.
    pub fn begin_boot(&mut self, times: &Times, senders: usize) {
        for epoch in &mut self.epochs {
            epoch.kept = epoch.keys.senders.iter().copied().skip(senders).collect();
        }
        let clock =
            |&(clock, least, _): &(u64, u64, u64)| Estimate::at_least(clock, least, 0, 0).parts();
        self.clocks = times.0.iter().map(clock).collect();
        self.floors = times.0.iter().map(|&(clock, _, floor)| (clock, floor)).collect();
    }

    /// Sender numbers that are there for this boot, and for later ones, in the epoch that has the
    /// most.
    pub fn senders(&self) -> (usize, usize) {
        let count = |epoch: &SavedEpoch| {
            let kept =
                epoch.keys.senders.iter().filter(|number| epoch.kept.contains(number)).count();
            (epoch.keys.senders.len() - kept, kept)
        };
        self.epochs.iter().map(count).max().unwrap_or((0, 0))
    }

    /// The TEKs in it.
    pub fn teks(&self) -> impl Iterator<Item = &Tek> {
        self.epochs.iter().map(|epoch| &*epoch.keys.tek.0)
    }
}

impl Gateway {
    /// What must survive a restart of the daemon; `None` when there is nothing.
    pub fn save(&self) -> Option<Saved> {
        let state = self.state.as_ref()?;
        let open = self.clocks.iter().filter(|clock| clock.is_open());
        let epoch = |key: &Key| SavedEpoch {
            id: key.id,
            stage: key.stage,
            revokes: key.revokes,
            keys: key.keys.clone(),
            spent: key.spent.clone(),
            kept: key.kept.clone(),
            worn: key.worn.clone(),
            closes: key.closes,
        };
        Some(Saved {
            group: state.group.clone(),
            name: state.name.clone(),
            policies: state.policies.clone(),
            settings: state.settings.clone(),
            clocks: self.clocks.iter().map(Estimate::parts).collect(),
            floors: open.map(|clock| (clock.clock, clock.floor())).collect(),
            epochs: self.keyring.keys.iter().map(epoch).collect(),
            machines: self.machines.clone(),
            map: self.map.clone(),
        })
    }

    /// What may be taken along over a power cut: epochs with the sender numbers that were put aside.
    /// It does not change with time alone; `None` when there is nothing.
    pub fn save_for_next_boot(&self) -> Option<Saved> {
        let mut saved = self.save()?;
        saved.clocks.clear();
        saved.floors.clear();
        saved.machines.clear();
        saved.map = Map::default();
        saved.epochs.retain(|epoch| epoch.closes.is_none());
        for epoch in &mut saved.epochs {
            let unused = |number: &u32| epoch.kept.contains(number);
            epoch.keys.senders.retain(unused);
            epoch.kept = epoch.keys.senders.iter().copied().collect();
            epoch.spent.clear();
            epoch.worn.clear();
        }
        (!saved.epochs.is_empty()).then_some(saved)
    }

    /// The times to keep beside [`Gateway::save_for_next_boot`], good until `lease` milliseconds from
    /// `now`: they must be kept anew by then.
    pub fn times(&self, lease: u64, now: u64) -> Times {
        let window =
            self.settings().map_or(0, |settings| u64::from(settings.replay_window) * 1_000);
        let time = |clock: &Estimate| {
            let least = clock.least(now);
            let error = if clock.is_open() { NOTED_WITHIN } else { 2 * clock.error(now) };
            let opened = least.saturating_add(error).saturating_add(window);
            (clock.clock, least, opened.saturating_add(lease).max(clock.floor()))
        };
        Times(self.clocks.iter().map(time).collect())
    }

    /// Forgets what it holds and was told, as if it had just been started.
    pub fn forget(&mut self) {
        self.keyring = Keyring::default();
        self.state = None;
        self.map = Map::default();
        self.clocks.clear();
        self.events.extend([Event::Keys, Event::Policy]);
    }

    /// Goes on from where an earlier process was: of this boot, or of an earlier one, see
    /// [`Saved::begin_boot`].
    pub fn restore(&mut self, saved: Saved, now: u64) {
        self.clocks = saved.clocks.into_iter().map(Estimate::from_parts).collect();
        for clock in self.clocks.iter_mut().filter(|clock| clock.is_open()) {
            let known = saved.floors.iter().find(|(number, _)| *number == clock.clock);
            let opened = clock.least(now).saturating_add(NOTED_WITHIN);
            clock.set_floor(known.map_or(opened, |(_, floor)| opened.max(*floor)));
        }
        let open = self.clocks.iter().filter(|clock| clock.is_open()).map(|clock| clock.clock);
        let open: BTreeSet<u64> = open.collect();
        let wants = self.identity.kept > 0;
        let key = |epoch: SavedEpoch| Key {
            // After a power cut few numbers are left, and where none was wanted before there are none
            // for the next one: the key server is asked for others.
            renew: open.contains(&epoch.keys.clock) || (wants && epoch.kept.is_empty()),
            id: epoch.id,
            stage: epoch.stage,
            revokes: epoch.revokes,
            keys: epoch.keys,
            spent: epoch.spent,
            kept: epoch.kept,
            worn: epoch.worn,
            closes: epoch.closes,
            since: now,
        };
        self.machines = saved.machines;
        self.map = saved.map;
        self.keyring = Keyring::from_keys(saved.epochs.into_iter().map(key).collect());
        self.state = Some(Known {
            instance: 0,
            revision: 0,
            group: saved.group,
            name: saved.name,
            policies: saved.policies,
            settings: saved.settings,
        });
        self.keyring.expire(now, &self.clocks, self.settings().map_or(0, |s| s.island_time));
        self.events.extend([Event::Keys, Event::Policy]);
    }
}
