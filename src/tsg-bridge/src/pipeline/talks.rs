//! Who talks in clear although a rule wants it sealed, and who is sealed for nobody: what stops, or would stop, in
//! `enforce`. For an operator who is about to leave `migrate`.
//!
//! Bounded at both ends: a worker counts by itself and hands its counts over when it is idle.

use super::{View, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use tsg_control::policy::{Flow, Ports, Proto};

/// More are not told apart until some were silent for long.
const MOST: usize = 1_024;

/// What was silent for this long is forgotten, in milliseconds.
const FORGET: u64 = 24 * 3_600_000;

/// One machine talks to another, by one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Talk {
    /// Who sends.
    pub src: IpAddr,
    /// To whom.
    pub dest: IpAddr,
    /// By which protocol, if it shows.
    pub proto: Option<Proto>,
    /// The port of the service, on whichever end.
    pub port: Option<u16>,
    /// What happens to it in `enforce`.
    pub fate: Fate,
}

/// What happens in `enforce` to what is not sealed on both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It came in clear from the WAN: it is dropped.
    Dropped,
    /// It goes to a machine that is behind no known gateway: it is sealed, and nobody opens it.
    Unreached,
}

/// How much of it there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Packets.
    pub packets: u64,
    /// One of its flows.
    pub flow: Flow,
    /// When the last of them came, in milliseconds of the boot's clock.
    pub last: u64,
}

/// Services of plants on ports that clients take theirs from, too: PROFINET's context manager, EtherNet/IP, BACnet, ADS.
const HIGH: [u16; 4] = [34_964, 44_818, 47_808, 48_898];

/// The port of the service that a flow is of: the one that its rule speaks of, or that is known for it, and without one
/// the lower one, as services have that.
pub(super) fn service_port(flow: &Flow, view: &View) -> Option<u16> {
    let (src, dest) = flow.ports?;
    let named = view.deciding_rule(flow).map_or(&[][..], |rule| &rule.dest_port);
    let is_named = |port| {
        if named.is_empty() {
            HIGH.contains(&port) && src.min(dest) >= 1_024
        } else {
            named.iter().any(|range: &Ports| range.contains(port))
        }
    };
    Some(match (is_named(dest), is_named(src)) {
        (true, false) => dest,
        (false, true) => src,
        (true, true) | (false, false) => dest.min(src),
    })
}

/// What one worker counted since it was idle.
#[derive(Debug, Default)]
pub(super) struct Counting {
    packets: HashMap<Talk, (Flow, u64)>,
}

impl Counting {
    pub(super) fn count(&mut self, talk: Talk, flow: &Flow) {
        if self.packets.len() < MOST || self.packets.contains_key(&talk) {
            self.packets.entry(talk).or_insert((*flow, 0)).1 += 1;
        }
    }
}

/// What all workers counted.
#[derive(Debug, Default)]
pub(super) struct Talks {
    heard: Mutex<HashMap<Talk, Heard>>,
}

impl Talks {
    /// Takes over what a worker counted.
    pub(super) fn add(&self, counting: &mut Counting, now: u64) {
        if counting.packets.is_empty() {
            return;
        }
        let mut heard = lock(&self.heard);
        for (talk, (flow, packets)) in counting.packets.drain() {
            if heard.len() >= MOST && !heard.contains_key(&talk) {
                heard.retain(|_, heard| now < heard.last + FORGET);
                if heard.len() >= MOST {
                    continue;
                }
            }
            let sum = heard.entry(talk).or_insert(Heard { packets: 0, flow, last: now });
            sum.packets += packets;
            sum.last = now;
        }
    }

    /// Everything, what there was most of first.
    pub(super) fn list(&self, now: u64) -> Vec<(Talk, Heard)> {
        let mut heard = lock(&self.heard);
        heard.retain(|_, heard| now < heard.last + FORGET);
        let mut list: Vec<_> = heard.iter().map(|(talk, heard)| (*talk, *heard)).collect();
        drop(heard);
        list.sort_by_key(|(talk, heard)| {
            (core::cmp::Reverse(heard.packets), talk.src, talk.dest, talk.port)
        });
        list
    }

    /// Another policy judges otherwise.
    pub(super) fn clear(&self) {
        lock(&self.heard).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(number: u16) -> Talk {
        let (src, dest) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        Talk { src, dest, proto: Some(Proto::TCP), port: Some(number), fate: Fate::Dropped }
    }

    fn flow(number: u16) -> Flow {
        let Talk { src, dest, proto, .. } = talk(number);
        Flow { src, dest, proto, ports: Some((40_000, number)) }
    }

    fn add(talks: &Talks, numbers: impl Iterator<Item = u16>, now: u64) {
        let mut counting = Counting::default();
        numbers.for_each(|number| counting.count(talk(number), &flow(number)));
        talks.add(&mut counting, now);
        assert!(counting.packets.is_empty());
    }

    #[test]
    fn counts_add_up_and_the_most_comes_first() {
        let talks = Talks::default();
        add(&talks, [1, 2, 2].into_iter(), 10);
        add(&talks, [2].into_iter(), 20);
        let told = talks.list(20);
        assert_eq!(told[0], (talk(2), Heard { packets: 3, flow: flow(2), last: 20 }));
        assert_eq!(told[1], (talk(1), Heard { packets: 1, flow: flow(1), last: 10 }));
        talks.clear();
        assert_eq!(talks.list(20), []);
    }

    #[test]
    fn who_makes_up_flows_takes_no_more_room_and_hides_none_that_is_known() {
        let talks = Talks::default();
        add(&talks, [7].into_iter(), 0);
        add(&talks, 0..5_000, 10);
        add(&talks, 5_000..10_000, 20);
        assert_eq!(talks.list(20).len(), MOST);
        add(&talks, [7].into_iter(), 30);
        let known = talks.list(30).into_iter().find(|(known, _)| *known == talk(7)).unwrap();
        assert_eq!(known.1.last, 30);
        // A day later there is room again.
        add(&talks, [20_000].into_iter(), 30 + FORGET);
        assert_eq!(talks.list(30 + FORGET).len(), 1);
    }
}
