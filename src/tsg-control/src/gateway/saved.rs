//! What a gateway takes along over a restart of its daemon, in RAM.
//!
//! Sender numbers are resumed by whoever keeps the sequence ceilings (tsg-bridge's `lease`);
//! clocks count from boot, so all this must not outlive the boot.

use super::keyring::{Key, Keyring};
use super::{Event, Gateway, Known};
use crate::clock::Estimate;
use crate::message::{EpochKeys, GroupSettings, PolicyVersion};
use crate::timeline::Stage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tsg_esp::crypto::Tek;

/// The state of a gateway as one value; it carries keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    group: String,
    name: String,
    policies: Vec<PolicyVersion>,
    settings: GroupSettings,
    clocks: Vec<(u64, i64, i64, u64)>,
    epochs: Vec<SavedEpoch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedEpoch {
    id: u64,
    stage: Stage,
    revokes: bool,
    keys: EpochKeys,
    spent: BTreeSet<u32>,
    closes: Option<u64>,
}

impl Saved {
    /// The TEKs in it.
    pub fn teks(&self) -> impl Iterator<Item = &Tek> {
        self.epochs.iter().map(|epoch| &epoch.keys.tek.0)
    }
}

impl Gateway {
    /// What must survive a restart of the daemon; `None` when there is nothing.
    pub fn save(&self) -> Option<Saved> {
        let state = self.state.as_ref()?;
        let epoch = |key: &Key| SavedEpoch {
            id: key.id,
            stage: key.stage,
            revokes: key.revokes,
            keys: key.keys.clone(),
            spent: key.spent.clone(),
            closes: key.closes,
        };
        Some(Saved {
            group: state.group.clone(),
            name: state.name.clone(),
            policies: state.policies.clone(),
            settings: state.settings.clone(),
            clocks: self.clocks.iter().map(Estimate::parts).collect(),
            epochs: self.keyring.keys.iter().map(epoch).collect(),
        })
    }

    /// Goes on from where an earlier process of the same boot was.
    pub fn restore(&mut self, saved: Saved, now: u64) {
        self.clocks = saved.clocks.into_iter().map(Estimate::from_parts).collect();
        let key = |epoch: SavedEpoch| Key {
            id: epoch.id,
            stage: epoch.stage,
            revokes: epoch.revokes,
            keys: epoch.keys,
            spent: epoch.spent,
            renew: false,
            closes: epoch.closes,
            since: now,
        };
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
