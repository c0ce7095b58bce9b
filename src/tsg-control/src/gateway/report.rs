//! What a gateway tells of its LAN side, and when.

use super::{Event, Gateway};
use crate::group::Mode;
use crate::message::{MAX_FRAME_TO_SERVER, PortState, Report, SeenFlow, ToServer, encoded_len};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A changed list of machines is reported after this long, an unchanged one as rarely as that.
const REPORT: (u64, u64) = (200, 60_000);

/// Reports keep this distance, however often the list changes.
pub(crate) const REPORT_AGAIN: u64 = 2_000;

/// More machines than this on the LAN side are not reported.
pub const MOST_MACHINES: usize = 512;

/// More flows than this are not in one report.
pub const MOST_FLOWS: usize = 256;

/// More ports than this are not reported.
pub const MOST_PORTS: usize = 16;

/// What is told in one report, and gathered anew for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The next part of the flows.
    pub flows: Vec<SeenFlow>,
    /// The gateway's ports.
    pub ports: Vec<PortState>,
}

impl Gateway {
    /// The machines on the LAN side are these now.
    pub fn handle_machines(&mut self, machines: BTreeSet<IpAddr>, now: u64) {
        let machines: BTreeSet<_> = machines.into_iter().take(MOST_MACHINES).collect();
        if machines != self.machines {
            self.machines = machines;
            self.report_soon(now);
            self.events.extend([Event::Machines, Event::Save]);
        }
    }

    pub(super) fn report_soon(&mut self, now: u64) {
        let soon = self.reported.map_or(0, |at| at + REPORT_AGAIN).max(now + REPORT.0);
        self.report_at = Some(self.report_at.map_or(soon, |at| at.min(soon)));
    }

    /// Counters and alarms for the next report and heartbeat.
    pub fn handle_counters(&mut self, counters: BTreeMap<String, u64>, alarms: Vec<String>) {
        self.counters = counters;
        self.alarms = alarms;
    }

    /// A report is due until `then`, and it was not told yet what there is to see.
    pub fn wants_seen(&self, then: u64) -> bool {
        self.seen.is_none() && self.is_member() && self.report_at.is_some_and(|at| at <= then)
    }

    /// The group wants to know who uses which service.
    pub fn reports_flows(&self) -> bool {
        let mode = self.active_policy().map(|version| version.mode);
        matches!(mode, Some(Mode::Learn | Mode::Migrate))
    }

    /// What there is to see, for the next report.
    pub fn handle_seen(&mut self, seen: Seen) {
        self.seen = Some(seen);
    }

    pub(super) fn report(&mut self, now: u64) {
        self.report_at = Some(now + REPORT.1);
        let seen = self.seen.take().unwrap_or_default();
        if !self.is_member() {
            return;
        }
        self.reported = Some(now);
        let (mut flows, mut ports) = (seen.flows, seen.ports);
        flows.truncate(if self.reports_flows() { MOST_FLOWS } else { 0 });
        ports.truncate(MOST_PORTS);
        let mut report = Report {
            process: self.process,
            machines: self.machines.iter().copied().collect(),
            counters: self.counters.clone(),
            flows,
            ports,
        };
        // Machines come first: packets go by them.
        while !report.flows.is_empty() && !fits(&report) {
            report.flows.truncate(report.flows.len() * 3 / 4);
        }
        self.transmits.push_back(ToServer::Report(report));
    }
}

fn fits(report: &Report) -> bool {
    // The name of the message is around it.
    encoded_len(report) + 16 <= MAX_FRAME_TO_SERVER
}
