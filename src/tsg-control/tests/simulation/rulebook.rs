//! Which policies operators gave, and when the server said that each came into force: what gateways
//! make of that is judged by it.

use crate::orders::group_index;
use crate::services::is_modbus;
use crate::trouble::GROUPS;
use tsg_control::group::Mode;
use tsg_control::policy::{Action, Flow, Policy};
use tsg_control::server::{GroupRecord, PolicyRecord};

/// What the rules of yesterday let through stops after this long (docs/operations.md).
const LINGERS: u64 = 60_000;

#[derive(Debug)]
struct Version {
    number: u64,
    policy: Policy,
    mode: Mode,
    given: u64,
    in_force: Option<u64>,
    /// When another took its place.
    over: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Rulebook {
    groups: [Vec<Version>; GROUPS.len()],
    /// How many versions came into force.
    pub(crate) changes: u64,
}

impl Version {
    fn of(record: &PolicyRecord, t: u64) -> Self {
        let (policy, mode) = (record.policy.clone(), record.mode);
        Self { number: record.version, policy, mode, given: t, in_force: None, over: None }
    }

    /// Who knew all until `since` may send by it at `t`.
    fn sends(&self, since: u64, t: u64) -> bool {
        self.in_force.is_some_and(|at| at <= t) && self.over.is_none_or(|at| at >= since)
    }

    /// Who knew all until `since` may let in by it.
    fn lets_in(&self, since: u64) -> bool {
        self.over.is_none_or(|at| at + LINGERS >= since)
    }

    fn goes_in_clear(&self, flow: &Flow) -> bool {
        // An operator gave rules, where there are any.
        let modbus = is_modbus(flow) && !self.policy.rules.is_empty();
        let least = if modbus { Action::Encrypt } else { Action::Bypass };
        match self.policy.action(flow).max(least) {
            Action::Bypass => true,
            Action::Encrypt => self.mode != Mode::Enforce,
            Action::Drop => false,
        }
    }
}

impl Rulebook {
    /// The server starts with this on its disk; with it comes back what was in its memory at `taken`.
    pub(crate) fn begin(&mut self, record: &GroupRecord, taken: Option<u64>, t: u64) {
        let versions = &mut self.groups[group_index(&record.name)];
        for version in versions.iter_mut() {
            let comes_back = taken.is_some_and(|at| version.given <= at && version.lets_in(at));
            version.over = version.over.filter(|_| !comes_back).or(Some(t));
        }
        let mut newest = Version::of(&record.policy, t);
        match &record.previous {
            Some(previous) if !previous.retiring => {
                versions.push(Version { in_force: Some(t), ..Version::of(previous, t) });
            }
            Some(previous) => {
                let (in_force, over) = (Some(t), Some(t));
                versions.push(Version { in_force, over, ..Version::of(previous, t) });
                newest.in_force = Some(t);
            }
            None => newest.in_force = Some(t),
        }
        versions.push(newest);
    }

    /// An operator gave this one.
    pub(crate) fn give(&mut self, group: &str, number: u64, policy: &Policy, mode: Mode, t: u64) {
        let versions = &mut self.groups[group_index(group)];
        if versions.iter().all(|version| version.over.is_some() || version.number != number) {
            let policy = policy.clone();
            versions.push(Version { number, policy, mode, given: t, in_force: None, over: None });
        }
    }

    /// The server does not know how long ago that was, what it is retiring.
    pub(crate) fn clock_jumped(&mut self, t: u64) {
        for over in self.groups.iter_mut().flatten().filter_map(|version| version.over.as_mut()) {
            *over = if *over + LINGERS > t { t } else { *over };
        }
    }

    /// The server says that this one is in force.
    pub(crate) fn announced(&mut self, group: &str, number: u64, t: u64) {
        let versions = &mut self.groups[group_index(group)];
        for version in versions.iter_mut().filter(|version| version.over.is_none()) {
            if version.number == number && version.in_force.is_none() {
                version.in_force = Some(t);
                self.changes += 1;
            }
            if version.number < number {
                version.over = Some(t);
            }
        }
    }

    /// May a packet be sent in clear at `t` by who knew all until `since`?
    pub(crate) fn sends_in_clear(&self, group: &str, flow: &Flow, since: u64, t: u64) -> bool {
        let mut versions = self.groups[group_index(group)].iter();
        versions.any(|version| version.sends(since, t) && version.goes_in_clear(flow))
    }

    /// May a packet be let in in clear at `t` by who knew all until `since`?
    pub(crate) fn lets_in(&self, group: &str, flow: &Flow, since: u64, t: u64) -> bool {
        let mut versions = self.groups[group_index(group)].iter();
        versions.any(|version| {
            version.given <= t && version.lets_in(since) && version.goes_in_clear(flow)
        })
    }

    /// Do all versions that may be in use let this flow cross, sealed or in clear?
    pub(crate) fn carries(&self, group: &str, flow: &Flow, since: u64, t: u64) -> bool {
        let versions = self.groups[group_index(group)].iter();
        let mut used = versions.filter(|version| version.sends(since, t));
        used.all(|version| version.policy.action(flow) != Action::Drop)
    }
}
