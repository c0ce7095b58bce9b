//! What there is to protect: who uses which service, in a group that learns, whatever the rules say. For an operator who
//! is about to write them.
//!
//! Bounded at both ends, as [`super::talks`] is; but here what is new takes the place of what was heard least.

use super::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use tsg_control::policy::{Flow, Proto};

/// More are not told apart.
const MOST: usize = 1_024;

/// Room is made for so many at once, as looking for it takes a while.
const ROOM: usize = MOST / 8;

/// What has no more packets than this may be somebody's search for open ports, and is the first to go.
const FEW: u64 = 3;

/// A machine that uses a service of another, by whatever port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Who uses it.
    pub client: IpAddr,
    /// Who offers it, or the group of them that it is sent to.
    pub server: IpAddr,
    /// By which protocol, as its number.
    pub proto: Option<u8>,
    /// On which port, if there are any.
    pub port: Option<u16>,
}

impl Service {
    /// The service that a packet of this flow is of, `port` being its port; `None` for one that does not show it.
    pub fn of(flow: &Flow, port: Option<u16>) -> Option<Self> {
        let Flow { src, dest, proto, ports } = *flow;
        if ports.is_none() && proto.is_none_or(Proto::has_ports) {
            return None;
        }
        let forth = match ports {
            Some((source, to)) if source != to => port == Some(to),
            // Either may be the client, so the lower one is.
            Some(_) | None => dest.is_multicast() || src <= dest,
        };
        let (client, server) = if forth { (src, dest) } else { (dest, src) };
        Some(Self { client, server, proto: proto.map(|proto| proto.0), port })
    }
}

/// How much of it there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Packets in both directions.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When the last of them came, in milliseconds of the boot's clock.
    pub last: u64,
}

/// What one worker counted since it was idle.
#[derive(Debug, Default)]
pub(super) struct Learning(HashMap<Service, (u64, u64)>);

impl Learning {
    pub(super) fn count(&mut self, service: Service, bytes: usize) {
        if self.0.len() < MOST || self.0.contains_key(&service) {
            let (packets, sum) = self.0.entry(service).or_default();
            *packets += 1;
            *sum += bytes as u64;
        }
    }
}

/// What all workers counted.
#[derive(Debug, Default)]
pub(super) struct Learned(Mutex<HashMap<Service, Use>>);

impl Learned {
    /// Takes over what a worker counted.
    pub(super) fn add(&self, learning: &mut Learning, now: u64) {
        if learning.0.is_empty() {
            return;
        }
        let mut known = lock(&self.0);
        for (service, (packets, bytes)) in learning.0.drain() {
            if known.len() >= MOST && !known.contains_key(&service) {
                make_room(&mut known);
            }
            let sum = known.entry(service).or_insert(Use { packets: 0, bytes: 0, last: now });
            sum.packets += packets;
            sum.bytes += bytes;
            sum.last = now;
        }
    }

    /// Everything, what there was most of first.
    pub(super) fn list(&self) -> Vec<(Service, Use)> {
        let mut list: Vec<_> =
            lock(&self.0).iter().map(|(service, used)| (*service, *used)).collect();
        list.sort_by_key(|(service, used)| (core::cmp::Reverse(used.packets), *service));
        list
    }

    /// Nobody learns any more.
    pub(super) fn clear(&self) {
        *lock(&self.0) = HashMap::new();
    }
}

fn make_room(known: &mut HashMap<Service, Use>) {
    let mut worth: Vec<_> =
        known.iter().map(|(service, used)| (used.packets > FEW, used.last, *service)).collect();
    let (least, ..) = worth.select_nth_unstable(ROOM);
    for (_, _, service) in least {
        known.remove(service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn flow(proto: u8, ports: Option<(u16, u16)>) -> Flow {
        Flow { src: A, dest: B, proto: Some(Proto(proto)), ports }
    }

    fn service(port: u16) -> Service {
        Service { client: A, server: B, proto: Some(6), port: Some(port) }
    }

    #[test]
    fn request_and_reply_are_of_one_service() {
        let request = flow(6, Some((40_000, 502)));
        for flow in [request, request.swapped()] {
            assert_eq!(Service::of(&flow, Some(502)), Some(service(502)));
        }
        // Nothing shows who is the client of these.
        for flow in [flow(17, Some((2_222, 2_222))), flow(1, None)] {
            let port = flow.ports.map(|(port, _)| port);
            let known = Service::of(&flow, port).unwrap();
            assert_eq!((known.client, known.server), (A, B));
            assert_eq!(Service::of(&flow.swapped(), port), Some(known));
        }
        let group = IpAddr::from([224, 0, 1, 1]);
        let to_group = Flow { src: [240, 0, 0, 1].into(), dest: group, ..flow(17, Some((7, 7))) };
        assert_eq!(Service::of(&to_group, Some(7)).unwrap().server, group);
        // A later piece of a packet.
        assert_eq!(Service::of(&flow(17, None), None), None);
        assert_eq!(Service::of(&Flow { proto: None, ..flow(6, None) }, None), None);
    }

    #[test]
    fn who_looks_for_open_ports_hides_nothing_that_is_used() {
        let learned = Learned::default();
        let mut learning = Learning::default();
        for _ in 0..=FEW {
            learning.count(service(502), 60);
        }
        learned.add(&mut learning, 0);
        for round in 1..=20 {
            for port in 0..2_000 {
                learning.count(service(round * 2_000 + port), 40);
            }
            learned.add(&mut learning, u64::from(round));
            assert!(learned.list().len() <= MOST);
        }
        let list = learned.list();
        assert_eq!(list[0], (service(502), Use { packets: 4, bytes: 240, last: 0 }));
        assert!(list.len() > MOST - ROOM);
        learned.clear();
        assert_eq!(learned.list(), []);
    }
}
