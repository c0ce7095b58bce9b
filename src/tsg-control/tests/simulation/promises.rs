//! 11: what is due comes, whatever hostile members do: a rekey, a policy version, and that members
//! which reach the server are in the epoch in force.

use crate::agenda::Happening;
use crate::world::World;
use std::collections::BTreeMap;
use tsg_control::server::GroupView;
use tsg_control::timeline::Stage;

/// A change that runs (15 s), room for the next (15 s), and the next (15 s).
pub(crate) const PATIENCE: u64 = 50_000;

/// A member that is connected is in the epoch in force after this long: two heartbeats.
const SETTLED: u64 = 25_000;

const PAUSE: u64 = 2_500;

#[derive(Debug)]
struct Promise {
    group: String,
    what: Change,
    by: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// An epoch after this one is in force.
    Epoch(u64),
    /// This policy version is, or a later one.
    Policy(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Promises {
    open: Vec<Promise>,
    /// Which epoch is in force, and since when that is known.
    in_force: BTreeMap<String, (u64, u64)>,
}

impl Promises {
    /// The server or its clock begins anew: everything has time again.
    pub(crate) fn postpone(&mut self, t: u64) {
        for promise in &mut self.open {
            promise.by = t + PATIENCE;
        }
        self.in_force.clear();
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl World {
    pub(crate) fn promise(&mut self, group: &str, what: Change) {
        let promise = Promise { group: group.to_owned(), what, by: self.t + PATIENCE };
        self.promises.open.push(promise);
    }

    pub(crate) fn last_epoch(&self, group: &str) -> u64 {
        let Some(server) = &self.server else { return 0 };
        let groups = server.groups(self.server_time());
        let group = groups.iter().find(|view| view.name == group);
        group.and_then(|view| view.epochs.last()).map_or(0, |epoch| epoch.id)
    }

    pub(crate) fn audit(&mut self) {
        self.later(self.t + PAUSE, Happening::Audit);
        (0..self.plan.boxes).for_each(|who| self.note_knowledge(who));
        let Some(server) = &self.server else { return };
        let groups = server.groups(self.server_time());
        for group in &groups {
            self.audit_group(group);
        }
        let t = self.t;
        let empty = |name: &str| groups.iter().any(|view| view.name == name && view.members == 0);
        self.promises.open.retain(|promise| !empty(&promise.group));
        if let Some(late) = self.promises.open.iter().find(|promise| t > promise.by) {
            self.checks.demand(false, t, || format!("{late:?} is not kept: {groups:?}"));
        }
    }

    fn audit_group(&mut self, group: &GroupView) {
        let t = self.t;
        let active = group.epochs.iter().rev().find(|epoch| epoch.stage == Stage::Active);
        let Some(active) = active else { return };
        self.promises.open.retain(|promise| {
            promise.group != group.name
                || match promise.what {
                    Change::Epoch(after) => active.id <= after,
                    Change::Policy(version) => group.policy_in_force < version,
                }
        });
        let known = self.promises.in_force.entry(group.name.clone()).or_insert((active.id, t));
        if known.0 != active.id {
            *known = (active.id, t);
        }
        let since = known.1;
        if active.remaining == 0 && group.members > 0 && t > since + PATIENCE {
            self.checks.demand(false, t, || format!("an epoch outlives its time: {group:?}"));
        }
        if self.is_harsh() || t < since + SETTLED {
            return;
        }
        for member in &self.members {
            let dry = member.is_dry && t < self.anew + PATIENCE;
            let reached = member.is_reached(t, SETTLED) && !member.is_hostile() && !dry;
            if !reached || member.group.as_deref() != Some(&group.name) || !member.is_member() {
                continue;
            }
            let sealing = member.views.iter().find(|view| view.sealing);
            let fine = sealing.is_some_and(|view| view.id >= active.id);
            self.checks.demand(fine, t, || {
                format!("box {} is not in epoch {}: {:?}", member.index, active.id, member.views)
            });
        }
    }
}
