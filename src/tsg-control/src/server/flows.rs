//! Who uses which service in a group, as its gateways report it. In memory only: gateways report again.
//!
//! A group's room is shared out among those that report: who makes flows up pushes out his own. The first that reports
//! a flow has it on his account.

use super::Server;
use crate::gateway::MOST_FLOWS;
use crate::keys::PublicKey;
use crate::message::SeenFlow;
use crate::policy::{Action, Flow, Policy, Proto};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// More flows of a group are not remembered.
pub const MOST_KNOWN: usize = 2_000;

/// So many are left when room is made: that takes a while.
const LEFT: usize = MOST_KNOWN * 7 / 8;

/// Both ends of a flow see it, and gateways in series.
const MOST_WITNESSES: usize = 4;

/// What has no more packets than this may be somebody's search for open ports, and is the first to go.
const FEW: u64 = 3;

/// Nobody remembers longer, in seconds.
const LONGEST: u32 = 30 * 86_400;

/// A client's port, where rules are asked: any that clients take.
const CLIENT_PORT: u16 = 50_000;

/// A flow that was seen, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// Who uses the service.
    pub client: IpAddr,
    /// Who offers it.
    pub server: IpAddr,
    /// The protocol: `tcp`, `udp`, a number.
    pub proto: Option<String>,
    /// The service's port.
    pub port: Option<u16>,
    /// Packets in both directions.
    pub packets: u64,
    /// Bytes of them, as far as they were counted.
    pub bytes: u64,
    /// Seconds since this server first heard of it.
    pub first: u64,
    /// Seconds since the last packet.
    pub last: u64,
    /// Gateways that see it.
    pub gateways: Vec<String>,
    /// What the group's newest rules do with it.
    pub action: Action,
    /// Which of them does, from 1; `None` if no rule matches.
    pub rule: Option<usize>,
    /// It comes in clear although a rule wants it sealed: `enforce` drops it.
    pub in_clear: bool,
    /// No gateway is known in front of one of the two.
    pub unreached: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    client: IpAddr,
    server: IpAddr,
    proto: Option<u8>,
    port: Option<u16>,
}

struct Known {
    first: u64,
    /// Who reports it, the first one first; never empty.
    seen: Vec<Seen>,
}

/// What one gateway reports of a flow.
struct Seen {
    by: PublicKey,
    /// Packets and bytes of this process of it, and of those before.
    counted: (u64, u64),
    earlier: (u64, u64),
    last: u64,
    in_clear: bool,
    unreached: bool,
}

/// All flows of a group.
#[derive(Default)]
pub(super) struct Flows(BTreeMap<Key, Known>);

impl Flows {
    /// Takes in what a gateway reports.
    pub(super) fn take(&mut self, by: PublicKey, list: Vec<SeenFlow>, now: u64) {
        let list: Vec<_> = list.into_iter().take(MOST_FLOWS).filter(is_plausible).collect();
        let new = list.iter().filter(|flow| !self.0.contains_key(&Key::of(flow))).count();
        let mut room = self.make_room(by, new);
        for flow in &list {
            let key = Key::of(flow);
            match self.0.get_mut(&key) {
                Some(known) => known.hear(by, flow, now),
                None if room > 0 => {
                    room -= 1;
                    let seen = Seen::of(by, flow, now);
                    self.0.insert(key, Known { first: seen.last, seen: vec![seen] });
                }
                None => {}
            }
        }
    }

    /// This gateway is no member any more.
    pub(super) fn forget(&mut self, gateway: &PublicKey) {
        self.0.retain(|_, known| {
            known.seen.retain(|seen| seen.by != *gateway);
            !known.seen.is_empty()
        });
    }

    /// The clock that showed `before` counts from `now` on.
    pub(super) fn rebase(&mut self, before: u64, now: u64) {
        let moved = |at: u64| now.saturating_sub(before.saturating_sub(at));
        for known in self.0.values_mut() {
            known.first = moved(known.first);
            for seen in &mut known.seen {
                seen.last = moved(seen.last);
            }
        }
    }

    /// Makes room for so many more of this gateway; gives for how many there is.
    fn make_room(&mut self, by: PublicKey, new: usize) -> usize {
        if self.0.len() + new <= MOST_KNOWN {
            return new;
        }
        let mut accounts: BTreeMap<PublicKey, Vec<(bool, u64, Key)>> = BTreeMap::new();
        accounts.entry(by).or_default();
        for (key, known) in &self.0 {
            let worth = (known.packets() > FEW, known.last(), *key);
            accounts.entry(known.owner()).or_default().push(worth);
        }
        let more = |owner: &PublicKey| if *owner == by { new } else { 0 };
        let share = share(accounts.iter().map(|(owner, had)| had.len() + more(owner)).collect());
        for (owner, mut had) in accounts {
            let kept = share - more(&owner).min(share);
            had.sort_unstable();
            for (_, _, key) in had.iter().take(had.len().saturating_sub(kept)) {
                self.0.remove(key);
            }
        }
        new.min(share)
    }
}

/// So many may each have of whom these are the wishes.
fn share(mut wishes: Vec<usize>) -> usize {
    wishes.sort_unstable();
    let mut left = LEFT;
    for (at, wish) in wishes.iter().enumerate() {
        let share = left / (wishes.len() - at);
        if *wish > share {
            return share;
        }
        left -= wish;
    }
    LEFT
}

impl Key {
    const fn of(flow: &SeenFlow) -> Self {
        Self { client: flow.client, server: flow.server, proto: flow.proto, port: flow.port }
    }

    fn flow(&self) -> Flow {
        Flow {
            src: self.client,
            dest: self.server,
            proto: self.proto.map(Proto),
            ports: self.port.map(|port| (CLIENT_PORT, port)),
        }
    }
}

impl Known {
    fn owner(&self) -> PublicKey {
        self.seen.first().map_or(PublicKey([0; 32]), |seen| seen.by)
    }

    /// Each of those that see it sees all of it.
    fn packets(&self) -> u64 {
        self.seen.iter().map(|seen| seen.sum().0).max().unwrap_or(0)
    }

    fn last(&self) -> u64 {
        self.seen.iter().map(|seen| seen.last).max().unwrap_or(0)
    }

    fn hear(&mut self, by: PublicKey, flow: &SeenFlow, now: u64) {
        let count = self.seen.len();
        match self.seen.iter_mut().find(|seen| seen.by == by) {
            Some(seen) => seen.hear(flow, now),
            None if count < MOST_WITNESSES => self.seen.push(Seen::of(by, flow, now)),
            None => {}
        }
    }
}

impl Seen {
    fn of(by: PublicKey, flow: &SeenFlow, now: u64) -> Self {
        let (counted, last) = ((flow.packets, flow.bytes), last(flow, now));
        let SeenFlow { in_clear, unreached, .. } = *flow;
        Self { by, counted, earlier: (0, 0), last, in_clear, unreached }
    }

    fn hear(&mut self, flow: &SeenFlow, now: u64) {
        // Who was started anew counts from zero.
        if flow.packets < self.counted.0 {
            self.earlier = self.sum();
        }
        self.counted = (flow.packets, flow.bytes);
        self.last = last(flow, now);
        (self.in_clear, self.unreached) = (flow.in_clear, flow.unreached);
    }

    const fn sum(&self) -> (u64, u64) {
        let (packets, bytes) = self.earlier;
        (packets.saturating_add(self.counted.0), bytes.saturating_add(self.counted.1))
    }
}

fn last(flow: &SeenFlow, now: u64) -> u64 {
    now.saturating_sub(u64::from(flow.age.min(LONGEST)) * 1000)
}

/// Two machines, of one IP version, and a port where there are ports.
fn is_plausible(flow: &SeenFlow) -> bool {
    let is_machine = |address: IpAddr| {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
    };
    let is_target = |address: IpAddr| !(address.is_unspecified() || address.is_loopback());
    let has_ports = flow.proto.map(Proto).is_some_and(Proto::has_ports);
    flow.client.is_ipv4() == flow.server.is_ipv4()
        && flow.client != flow.server
        && is_machine(flow.client)
        && is_target(flow.server)
        && flow.packets > 0
        && flow.port.is_some() == has_ports
        && flow.port != Some(0)
}

impl Server {
    /// The flows of a group: those that no rule matches first, then by how much there was of them.
    ///
    /// # Errors
    /// There is no such group.
    pub fn flows(&self, name: &str, now: u64) -> Result<Vec<FlowView>, super::OrderError> {
        let group = self.group(name)?;
        let policy = &group.record.policy.policy;
        let mut views: Vec<_> = group
            .flows
            .0
            .iter()
            .map(|(key, known)| self.flow_view(key, known, policy, now))
            .collect();
        views.sort_by(|a, b| {
            let order = |view: &FlowView| {
                (
                    view.rule.is_some(),
                    core::cmp::Reverse(view.packets),
                    view.client,
                    view.server,
                    view.port,
                )
            };
            order(a).cmp(&order(b)).then_with(|| a.proto.cmp(&b.proto))
        });
        Ok(views)
    }

    fn flow_view(&self, key: &Key, known: &Known, policy: &Policy, now: u64) -> FlowView {
        let flow = key.flow();
        let decided = policy.deciding_rule(&flow);
        let rule = decided
            .and_then(|rule| policy.rules.iter().position(|one| core::ptr::eq(one, rule)))
            .map(|at| at + 1);
        let name = |seen: &Seen| Some(self.gateways.get(&seen.by)?.record.name.clone());
        let mut gateways: Vec<_> = known.seen.iter().filter_map(name).collect();
        gateways.sort_unstable();
        let ago = |at: u64| now.saturating_sub(at) / 1000;
        FlowView {
            client: key.client,
            server: key.server,
            proto: key.proto.map(|number| Proto(number).to_string()),
            port: key.port,
            packets: known.packets(),
            bytes: known.seen.iter().map(|seen| seen.sum().1).max().unwrap_or(0),
            first: ago(known.first),
            last: ago(known.last()),
            gateways,
            action: policy.action(&flow),
            rule,
            in_clear: known.seen.iter().any(|seen| seen.in_clear),
            unreached: known.seen.iter().any(|seen| seen.unreached),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn gateway(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    fn flow(server: u32, packets: u64) -> SeenFlow {
        SeenFlow {
            client: [192, 0, 2, 1].into(),
            server: IpAddr::V4((0x0a00_0000 + server).into()),
            proto: Some(6),
            port: Some(502),
            packets,
            bytes: packets.saturating_mul(100),
            age: 0,
            in_clear: false,
            unreached: false,
        }
    }

    fn counted(flows: &Flows) -> (u64, u64) {
        let known = flows.0.values().next().unwrap();
        (known.packets(), known.seen.len() as u64)
    }

    #[test]
    fn both_ends_see_the_same_packets() {
        let mut flows = Flows::default();
        flows.take(gateway(1), vec![flow(1, 10)], 1_000);
        flows.take(gateway(2), vec![flow(1, 12)], 2_000);
        assert_eq!(counted(&flows), (12, 2));
        // The second is started anew.
        flows.take(gateway(2), vec![flow(1, 3)], 3_000);
        assert_eq!(counted(&flows), (15, 2));
        flows.take(gateway(2), vec![flow(1, 5)], 4_000);
        assert_eq!(counted(&flows), (17, 2));
        let known = flows.0.values().next().unwrap();
        assert_eq!((known.first, known.last()), (1_000, 4_000));
        for number in 3..20 {
            flows.take(gateway(number), vec![flow(1, 1)], 5_000);
        }
        assert_eq!(counted(&flows), (17, MOST_WITNESSES as u64));
        for number in 1..20 {
            flows.forget(&gateway(number));
        }
        assert!(flows.0.is_empty());
    }

    #[test]
    fn who_makes_up_flows_takes_nothing_from_others() {
        let mut flows = Flows::default();
        for number in 1..=3 {
            let own = (0..100).map(|n| flow(u32::from(number) * 1_000 + n, 4)).collect();
            flows.take(gateway(number), own, 1_000);
        }
        for round in 0..100 {
            let made_up = (0..1_000).map(|n| flow(100_000 + round * 1_000 + n, u64::MAX)).collect();
            flows.take(gateway(9), made_up, 2_000 + u64::from(round));
            assert!(flows.0.len() <= MOST_KNOWN, "{}", flows.0.len());
        }
        for number in 1..=3 {
            let left = flows.0.values().filter(|known| known.owner() == gateway(number)).count();
            assert_eq!(left, 100, "{number}");
        }
        // And when they have more to say, there is room for it.
        for part in 0..4 {
            let more = (0..256).map(|n| flow(10_000 + part * 256 + n, 4)).collect();
            flows.take(gateway(1), more, 9_000);
        }
        let left = flows.0.values().filter(|known| known.owner() == gateway(1)).count();
        assert!(left > 700, "{left}");
    }

    #[test]
    fn a_search_for_open_ports_is_the_first_to_go() {
        let mut flows = Flows::default();
        flows.take(gateway(1), vec![flow(1, 100)], 1_000);
        for round in 0..20 {
            let found = (0..256).map(|n| flow(1_000 + round * 256 + n, 1)).collect();
            flows.take(gateway(1), found, 2_000);
        }
        assert!(flows.0.contains_key(&Key::of(&flow(1, 0))));
        assert!(flows.0.len() > LEFT - MOST_FLOWS, "{}", flows.0.len());
    }

    #[test]
    fn nonsense_is_not_taken() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let mut cases = 0;
        for wrong in [
            SeenFlow { client: [0; 4].into(), ..flow(1, 1) },
            SeenFlow { client: [224, 0, 0, 1].into(), ..flow(1, 1) },
            SeenFlow { client: [127, 0, 0, 1].into(), ..flow(1, 1) },
            SeenFlow { client: [255; 4].into(), ..flow(1, 1) },
            SeenFlow { server: [0; 4].into(), ..flow(1, 1) },
            SeenFlow { server: [192, 0, 2, 1].into(), ..flow(1, 1) },
            SeenFlow { client: v6, ..flow(1, 1) },
            SeenFlow { port: None, ..flow(1, 1) },
            SeenFlow { port: Some(0), ..flow(1, 1) },
            SeenFlow { proto: Some(1), ..flow(1, 1) },
            SeenFlow { proto: None, ..flow(1, 1) },
            flow(1, 0),
        ] {
            let mut flows = Flows::default();
            flows.take(gateway(1), vec![wrong.clone()], 1_000);
            assert!(flows.0.is_empty(), "{wrong:?}");
            cases += 1;
        }
        println!("{cases} cases");
        let mut flows = Flows::default();
        let ping = SeenFlow { proto: Some(1), port: None, age: u32::MAX, ..flow(1, u64::MAX) };
        flows.take(gateway(1), vec![ping.clone(), ping], 1_000);
        assert_eq!(counted(&flows), (u64::MAX, 1));
    }

    #[test]
    fn room_is_shared_out() {
        assert_eq!(share(vec![10, LEFT * 2]), LEFT - 10);
        assert_eq!(share(vec![LEFT, LEFT]), LEFT / 2);
        assert_eq!(share(vec![1, 2]), LEFT);
    }
}
