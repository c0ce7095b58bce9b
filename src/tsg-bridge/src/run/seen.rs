//! What the key server is told of the LAN side beside machines and counters: who uses which service, and how the ports are.

use super::control::Control;
use crate::config::Bridge;
use crate::machine::Machine;
use crate::offloads;
use crate::pipeline::{Fate, Heard, Service, Talk, Use};
use std::collections::HashMap;
use std::path::Path;
use tsg_control::gateway::{MOST_FLOWS, MOST_PORTS, Seen};
use tsg_control::group::Mode;
use tsg_control::message::{PortState, SeenFlow};

/// What was told last of all that is told in turn.
#[derive(Default)]
pub(super) struct Told {
    next: usize,
}

impl Control {
    /// Gathers what is told in the next report.
    pub(super) fn look_around(&mut self, now: u64) {
        let mode = self.gateway.active_policy().map(|version| version.mode);
        let all = match mode {
            Some(Mode::Learn) => learned(self.shared.learned(), now),
            Some(Mode::Migrate) => in_clear(self.shared.talks(now), now),
            Some(Mode::ReceiveOnly | Mode::Enforce) | None => Vec::new(),
        };
        let flows = self.seen.next_part(all);
        let ports = self.config.bridges.iter().flat_map(ports_of).take(MOST_PORTS).collect();
        self.gateway.handle_seen(Seen { flows, ports });
    }
}

impl Told {
    /// So many as fit into a report, after those of the last one.
    fn next_part(&mut self, mut all: Vec<SeenFlow>) -> Vec<SeenFlow> {
        if self.next >= all.len() {
            self.next = 0;
        }
        let mut part = all.split_off(self.next);
        part.truncate(MOST_FLOWS);
        self.next += part.len();
        part
    }
}

fn learned(all: Vec<(Service, Use)>, now: u64) -> Vec<SeenFlow> {
    let told = |(service, used): (Service, Use)| SeenFlow {
        packets: used.packets,
        bytes: used.bytes,
        ..flow(service, age(used.last, now))
    };
    all.into_iter().map(told).collect()
}

/// Both directions of a service are one flow, whatever is wrong with each.
fn in_clear(all: Vec<(Talk, Heard)>, now: u64) -> Vec<SeenFlow> {
    let mut flows: HashMap<Service, SeenFlow> = HashMap::new();
    for (talk, heard) in all {
        let Some(service) = Service::of(&heard.flow, talk.port) else { continue };
        let age = age(heard.last, now);
        let told = flows.entry(service).or_insert_with(|| flow(service, age));
        told.packets += heard.packets;
        told.age = told.age.min(age);
        match talk.fate {
            Fate::Dropped => told.in_clear = true,
            Fate::Unreached => told.unreached = true,
        }
    }
    let mut flows: Vec<_> = flows.into_values().collect();
    flows.sort_by_key(|flow| {
        (core::cmp::Reverse(flow.packets), flow.client, flow.server, flow.port)
    });
    flows
}

fn age(last: u64, now: u64) -> u32 {
    u32::try_from(now.saturating_sub(last) / 1000).unwrap_or(u32::MAX)
}

const fn flow(service: Service, age: u32) -> SeenFlow {
    let Service { client, server, proto, port } = service;
    SeenFlow {
        client,
        server,
        proto,
        port,
        packets: 0,
        bytes: 0,
        age,
        in_clear: false,
        unreached: false,
    }
}

fn ports_of(bridge: &Bridge) -> impl Iterator<Item = PortState> {
    let machine = Machine::new(Path::new("/"));
    bridge.ports().map(move |name| port(name, name == bridge.wan, &machine))
}

/// A port that is not there has no link, and no speed.
fn port(name: &str, wan: bool, machine: &Machine) -> PortState {
    let value = |file| machine.interface_value(name, file);
    let on = offloads::read(name).unwrap_or_default();
    PortState {
        name: name.to_owned(),
        wan,
        up: value("carrier").as_deref() == Some("1"),
        // -1 without a link.
        mbits: value("speed").and_then(|speed| speed.parse().ok()),
        offloads: on
            .into_iter()
            .filter(|(_, setting)| setting.on)
            .map(|(feature, _)| feature.name().to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use tsg_control::policy::{Flow, Proto};

    #[test]
    fn all_are_told_in_turn() {
        let one = |port: usize| {
            let [client, server] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
            let port = u16::try_from(port).ok();
            flow(Service { client, server, proto: Some(6), port }, 0)
        };
        let all: Vec<_> = (0..MOST_FLOWS + 10).map(one).collect();
        let mut told = Told::default();
        assert_eq!(told.next_part(all.clone()), all[..MOST_FLOWS]);
        assert_eq!(told.next_part(all.clone()), all[MOST_FLOWS..]);
        assert_eq!(told.next_part(all.clone()), all[..MOST_FLOWS]);
        assert_eq!(told.next_part(Vec::new()), []);
        assert_eq!(told.next_part(all[..3].to_vec()), all[..3]);
    }

    #[test]
    fn both_directions_are_one_flow() {
        let [src, dest] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        let forth = Flow { src, dest, proto: Some(Proto::TCP), ports: Some((40_000, 502)) };
        let talk = |flow: Flow, fate| {
            let Flow { src, dest, proto, .. } = flow;
            Talk { src, dest, proto, port: Some(502), fate }
        };
        let heard = |flow, packets, last| Heard { packets, flow, last };
        let told = in_clear(
            vec![
                (talk(forth, Fate::Dropped), heard(forth, 7, 1_000)),
                (talk(forth.swapped(), Fate::Unreached), heard(forth.swapped(), 5, 9_000)),
            ],
            10_000,
        );
        let service = Service { client: src, server: dest, proto: Some(6), port: Some(502) };
        let expected =
            SeenFlow { packets: 12, in_clear: true, unreached: true, ..flow(service, 1) };
        assert_eq!(told, [expected]);
    }

    #[test]
    fn a_port_that_is_not_there_has_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("sys/class/net/tsgnone1");
        std::fs::create_dir_all(&there).unwrap();
        std::fs::write(there.join("carrier"), "1\n").unwrap();
        std::fs::write(there.join("speed"), "100\n").unwrap();
        let machine = Machine::new(folder.path());
        let up = port("tsgnone1", true, &machine);
        assert_eq!((up.wan, up.up, up.mbits, up.offloads), (true, true, Some(100), Vec::new()));
        std::fs::write(there.join("speed"), "-1\n").unwrap();
        assert_eq!(port("tsgnone1", true, &machine).mbits, None);
        assert!(!port("tsgnone2", false, &machine).up);
    }
}
