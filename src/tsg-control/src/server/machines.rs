//! Who is behind whom: what members report, what operators pin, and the map that members get of it.

use super::group::Group;
use super::record::Record;
use super::{Gateway, Server, session};
use crate::gateway::MOST_MACHINES;
use crate::keys::PublicKey;
use crate::message::{Map, Report, ToGateway};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The map is sent at most this often, in milliseconds…
const MAP_AGAIN: u64 = 200;

/// …and less often in a large group, where it goes to every member and names the machines of all, and where there are many
/// groups: all maps together name so many machines in a millisecond, if there is one behind each gateway.
const NAMED_A_MILLISECOND: u64 = 1_000;

/// A map names at most this many machines: so it fits into a frame.
const MOST_MAPPED: usize = 6_000;

/// The machines of a gateway are stored at most this often, in milliseconds: after a restart of
/// the server it reports them again.
const KEEP_AGAIN: u64 = 60_000;

impl Server {
    pub(super) fn report(&mut self, from: PublicKey, report: Report, now: u64) {
        let Some(gateway) = self.gateways.get_mut(&from) else { return };
        let Some(session) =
            gateway.session.as_mut().filter(|session| session.process == report.process)
        else {
            return;
        };
        gateway.past.heard(session, now);
        if gateway.record.revoked.is_some() || !gateway.reports.take(now) {
            return;
        }
        session.count(session::shown_counters(report.counters), now);
        session.ports = session::shown_ports(report.ports);
        if !report.flows.is_empty()
            && let Some(group) = self.groups.get_mut(&gateway.record.group)
        {
            group.flows.take(from, report.flows, now);
        }
        let mut machines = report.machines;
        machines.truncate(MOST_MACHINES);
        machines.sort_unstable();
        machines.dedup();
        if gateway.record.machines != machines {
            gateway.record.machines = machines;
            gateway.unkept = true;
            let group = gateway.record.group.clone();
            self.map_changed(&group, now);
        }
        self.keep_machines(from, now);
    }

    /// Stores what a gateway reported, if that is due.
    pub(super) fn keep_machines(&mut self, of: PublicKey, now: u64) {
        let Some(gateway) = self.gateways.get_mut(&of) else { return };
        if gateway.unkept && gateway.kept.is_none_or(|at| now.abs_diff(at) >= KEEP_AGAIN) {
            gateway.unkept = false;
            gateway.kept = Some(now);
            self.records.push_back(Record::Gateway(gateway.record.clone()));
        }
    }

    /// Who is behind whom has changed.
    pub(super) fn map_changed(&mut self, name: &str, now: u64) {
        let all = self.gateways.len() as u64;
        if let Some(group) = self.groups.get_mut(name) {
            group.map_revision += 1;
            let members = group.members.len() as u64;
            let pause = MAP_AGAIN.max(members.saturating_mul(all) / NAMED_A_MILLISECOND);
            let soon = now.max(group.map_told.saturating_add(pause));
            group.map_due.get_or_insert(soon);
        }
    }

    pub(super) fn send_map(&mut self, to: PublicKey, now: u64) {
        let Some(name) = self.gateways.get(&to).map(|gateway| gateway.record.group.clone()) else {
            return;
        };
        self.gather_map(&name);
        let Some(gateway) = self.gateways.get_mut(&to) else { return };
        let Some(group) = self.groups.get(&name) else { return };
        let mine: BTreeSet<_> = gateway.behind().into_iter().collect();
        let elsewhere =
            |machine: &IpAddr, members: u32| members > u32::from(mine.contains(machine));
        let others = group.map.iter().filter(|(machine, members)| elsewhere(machine, **members));
        let others: Vec<_> = others.map(|(machine, _)| *machine).collect();
        let map = Map {
            instance: self.instance,
            revision: group.map_revision,
            mine: mine.into_iter().collect(),
            others,
        };
        if let Some(session) = gateway.session.as_mut() {
            session.map_sent = group.map_revision;
            session.map_sent_at = now;
        }
        self.transmits.push_back((to, ToGateway::Map(map)));
    }

    /// Who is behind how many members, once for all to whom it is sent.
    pub(super) fn gather_map(&mut self, name: &str) {
        let gathered = |group: &Group| group.map_gathered == group.map_revision;
        if self.groups.get(name).is_none_or(gathered) {
            return;
        }
        let behind: Vec<_> = self.members(name).map(Gateway::behind).collect();
        let mut map = BTreeMap::new();
        for machine in behind.iter().flatten() {
            *map.entry(*machine).or_default() += 1;
        }
        let too_many = (map.len() > MOST_MAPPED).then_some(map.len());
        if too_many.is_some() {
            let kept = shared_out(&behind);
            map.retain(|machine, _| kept.contains(machine));
        }
        let Some(group) = self.groups.get_mut(name) else { return };
        group.map = map;
        group.map_gathered = group.map_revision;
        let before = std::mem::replace(&mut group.map_is_cut, too_many.is_some());
        if let Some(machines) = too_many.filter(|_| !before) {
            self.warn_of_cut(name, machines);
        }
    }

    fn warn_of_cut(&mut self, name: &str, machines: usize) {
        let most = self.members(name).max_by_key(|gateway| gateway.behind().len());
        let most = most.map(|gateway| gateway.record.name.clone()).unwrap_or_default();
        self.warn(format!(
            "{name}: {machines} machines are reported, the map holds {MOST_MAPPED}: in migrate the \
             others are reached in clear. Most are behind {most}"
        ));
    }
}

impl Gateway {
    /// The machines behind it, as operators say and as it reports them.
    fn behind(&self) -> Vec<IpAddr> {
        let mut seen = BTreeSet::new();
        let all = self.record.pinned.iter().chain(&self.record.machines).copied();
        all.filter(|machine| seen.insert(*machine)).collect()
    }
}

/// As many machines as the map holds, in turn one of each member: one that reports many takes
/// nothing from one that reports few.
fn shared_out(behind: &[Vec<IpAddr>]) -> BTreeSet<IpAddr> {
    let longest = behind.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|nth| behind.iter().filter_map(move |list| list.get(nth)));
    let mut kept = BTreeSet::new();
    for machine in in_turn {
        if kept.len() >= MOST_MAPPED {
            break;
        }
        kept.insert(*machine);
    }
    kept
}
