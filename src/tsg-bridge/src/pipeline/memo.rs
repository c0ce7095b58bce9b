//! What the policy said of the flows that were seen last: asking it takes as long as it has rules, and most
//! packets are of few flows.

use std::net::IpAddr;
use tsg_control::policy::Flow;

/// Flows that are remembered; who makes more only slows himself down.
const PLACES: usize = 256;

/// An answer for each of some flows. To be cleared when the policy changes.
#[derive(Debug)]
pub(super) struct Memo<T> {
    places: Vec<Option<(Flow, T)>>,
}

impl<T: Copy> Memo<T> {
    pub(super) fn new() -> Self {
        Self { places: vec![None; PLACES] }
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(None);
    }

    /// The answer for this flow; `ask` gives it if it is not known.
    pub(super) fn of(&mut self, flow: &Flow, ask: impl FnOnce() -> T) -> T {
        let place = self.places.get_mut(place_of(flow));
        match &place {
            Some(Some((known, answer))) if known == flow => *answer,
            _ => {
                let answer = ask();
                if let Some(place) = place {
                    *place = Some((*flow, answer));
                }
                answer
            }
        }
    }
}

/// Multiplicative hashing (Knuth, volume 3, section 6.4).
fn place_of(flow: &Flow) -> usize {
    const GOLDEN: u32 = 0x9e37_79b1;
    let end = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => v6.to_bits() as u32,
    };
    let (from, to) = flow.ports.unwrap_or_default();
    let ports = u32::from(from) << 16 | u32::from(to);
    let mixed = [end(flow.src), end(flow.dest), ports]
        .into_iter()
        .fold(0u32, |mixed, word| (mixed ^ word).wrapping_mul(GOLDEN).rotate_left(5));
    (mixed >> 24) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::policy::Proto;

    fn flow(port: u16) -> Flow {
        let (src, dest) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        Flow { src, dest, proto: Some(Proto(6)), ports: Some((port, 502)) }
    }

    #[test]
    fn a_flow_is_asked_about_once_and_anew_after_a_change() {
        let mut memo = Memo::new();
        assert_eq!(memo.of(&flow(1), || 1), 1);
        assert_eq!(memo.of(&flow(1), || 2), 1);
        memo.clear();
        assert_eq!(memo.of(&flow(1), || 3), 3);
    }

    #[test]
    fn flows_in_one_place_are_not_taken_for_each_other() {
        let mut memo = Memo::new();
        for round in 0..3 {
            for port in 0..5_000 {
                assert_eq!(memo.of(&flow(port), || port), port, "round {round}");
            }
        }
        let mut places: Vec<_> = (0..5_000).map(|port| place_of(&flow(port))).collect();
        places.sort_unstable();
        places.dedup();
        assert!(places.len() > PLACES * 9 / 10, "only {} places are used", places.len());
    }

    #[test]
    fn all_of_a_flow_counts() {
        let mut memo = Memo::new();
        memo.of(&flow(1), || 0);
        let others = [
            Flow { src: [10, 0, 0, 3].into(), ..flow(1) },
            Flow { dest: [10, 0, 0, 3].into(), ..flow(1) },
            Flow { proto: Some(Proto(17)), ..flow(1) },
            Flow { proto: None, ..flow(1) },
            Flow { ports: None, ..flow(1) },
        ];
        for (answer, other) in (1..).zip(others) {
            memo.of(&flow(1), || 0);
            assert_eq!(memo.of(&other, || answer), answer);
        }
    }
}
