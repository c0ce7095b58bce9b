//! One rule against one flow.

use super::{Block, Ports, Proto, Rule};
use core::net::IpAddr;

/// What a rule can see of a packet. `None` is "not known": it could be any value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dest: IpAddr,
    /// Upper-layer protocol; `None` when the header chain could not be walked to its end.
    pub proto: Option<Proto>,
    /// Source and destination port; `None` for a fragment without them, or cut short.
    /// Not looked at for protocols without ports.
    pub ports: Option<(u16, u16)>,
}

impl Flow {
    /// The same flow seen from the other end.
    pub const fn swapped(&self) -> Self {
        let ports = match self.ports {
            Some((source, dest)) => Some((dest, source)),
            None => None,
        };
        Self { src: self.dest, dest: self.src, proto: self.proto, ports }
    }
}

/// Three-valued logic: a condition holds, may hold, or does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    No,
    Maybe,
    Yes,
}

impl Rule {
    /// The rule matches whatever the unknown parts of the flow are.
    pub(super) fn surely(&self, flow: &Flow) -> bool {
        self.holds(flow) == Holds::Yes
    }

    /// The rule matches, or would for some value of what is unknown.
    pub(super) fn could(&self, flow: &Flow) -> bool {
        self.holds(flow) != Holds::No
    }

    #[inline]
    fn holds(&self, flow: &Flow) -> Holds {
        let addresses = within(&self.src_ip, flow.src).min(within(&self.dest_ip, flow.dest));
        let (source, dest) = flow.ports.unzip();
        addresses
            .min(proto(&self.proto, flow.proto))
            .min(port(&self.src_port, flow.proto, source))
            .min(port(&self.dest_port, flow.proto, dest))
    }
}

#[inline]
fn within(blocks: &[Block], address: IpAddr) -> Holds {
    yes(blocks.is_empty() || blocks.iter().any(|block| block.contains(address)))
}

#[inline]
fn proto(wanted: &[Proto], seen: Option<Proto>) -> Holds {
    match seen {
        _ if wanted.is_empty() => Holds::Yes,
        Some(seen) => yes(wanted.contains(&seen)),
        None => Holds::Maybe,
    }
}

#[inline]
fn port(wanted: &[Ports], proto: Option<Proto>, seen: Option<u16>) -> Holds {
    match (proto, seen) {
        _ if wanted.is_empty() => Holds::Yes,
        (Some(proto), _) if !proto.has_ports() => Holds::No,
        (_, Some(seen)) => yes(wanted.iter().any(|ports| ports.contains(seen))),
        (_, None) => Holds::Maybe,
    }
}

const fn yes(truth: bool) -> Holds {
    if truth { Holds::Yes } else { Holds::No }
}

impl Block {
    /// Is `address` in this block? Never across IP versions.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (block.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (block.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Ports {
    /// Is `port` in the range?
    #[inline]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Policy};
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn flow(src: &str, dest: &str, proto: u8, ports: Option<(u16, u16)>) -> Flow {
        Flow {
            src: src.parse().unwrap(),
            dest: dest.parse().unwrap(),
            proto: Some(Proto(proto)),
            ports,
        }
    }

    #[test]
    fn a_reply_meets_the_rule_of_its_request() {
        let policy = Policy::new(vec![rule("encrypt proto=tcp dest_port=502")]);
        let request = flow("192.0.2.1", "192.0.2.2", 6, Some((40000, 502)));
        assert_eq!(policy.action(&request), Action::Encrypt);
        assert_eq!(policy.action(&request.swapped()), Action::Encrypt);
        assert_eq!(
            policy.action(&flow("192.0.2.1", "192.0.2.2", 17, Some((40000, 502)))),
            Action::Bypass
        );
    }

    #[test]
    fn a_reply_to_a_bypassed_service_cannot_carry_what_another_rule_seals() {
        let policy = Policy::new(vec![
            rule("bypass proto=tcp dest_port=80"),
            rule("encrypt proto=tcp dest_port=502"),
        ]);
        let reply = flow("192.0.2.1", "192.0.2.2", 6, Some((80, 40000)));
        assert_eq!(policy.action(&reply), Action::Bypass);
        let disguised = flow("192.0.2.1", "192.0.2.2", 6, Some((80, 502)));
        assert_eq!(policy.action(&disguised), Action::Encrypt);
        assert_eq!(policy.action(&disguised.swapped()), Action::Encrypt);
    }

    #[test]
    fn what_is_not_known_meets_the_strictest_rule_that_could_apply() {
        let policy = Policy::new(vec![
            rule("bypass src_ip=192.0.2.9"),
            rule("bypass proto=tcp dest_port=80"),
            rule("encrypt proto=tcp dest_port=502"),
            rule("drop proto=udp dest_port=161"),
        ]);
        let fragment = flow("192.0.2.1", "192.0.2.2", 6, None);
        assert_eq!(policy.action(&fragment), Action::Encrypt);
        let unparsed = Flow { proto: None, ..fragment };
        assert_eq!(policy.action(&unparsed), Action::Drop);
        let icmp = flow("192.0.2.1", "192.0.2.2", 1, None);
        assert_eq!(policy.action(&icmp), Action::Bypass);
    }

    #[test]
    fn the_default_is_for_what_no_rule_matches_in_either_direction() {
        let rules = ["encrypt proto=tcp dest_port=502", "bypass proto=tcp dest_port=80"];
        let rules = rules.map(rule).to_vec();
        let policy = Policy { default_action: Action::Drop, ..Policy::new(rules) };
        for (ports, action) in [
            ((40_000, 502), Action::Encrypt),
            ((40_000, 80), Action::Bypass),
            ((80, 502), Action::Encrypt),
            ((40_000, 443), Action::Drop),
        ] {
            let request = flow("192.0.2.1", "192.0.2.2", 6, Some(ports));
            assert_eq!(policy.action(&request), action, "{ports:?}");
            assert_eq!(policy.action(&request.swapped()), action, "{ports:?}");
        }
        // It may be one that no rule matches.
        let fragment = flow("192.0.2.1", "192.0.2.2", 6, None);
        assert_eq!(policy.action(&fragment), Action::Drop);
    }

    #[test]
    fn what_is_not_known_could_be_what_any_rule_says() {
        let policy = |default_action, rules: &[&str]| {
            let rules = rules.iter().copied().map(rule).collect();
            Policy { default_action, ..Policy::new(rules) }
        };
        let fragment = flow("192.0.2.1", "192.0.2.2", 17, None);
        const ENCRYPT: &str = "encrypt proto=udp dest_port=5000";
        let cases: [(Action, &[&str], [bool; 3]); 9] = [
            (Action::Bypass, &[], [true, false, false]),
            (Action::Bypass, &[ENCRYPT], [true, true, false]),
            (Action::Drop, &[ENCRYPT], [false, true, true]),
            (Action::Encrypt, &[], [false, true, false]),
            (Action::Bypass, &["drop proto=udp dest_port=161", ENCRYPT], [true, true, true]),
            // Behind a rule that surely decides none is reached; the other direction may be stricter.
            (Action::Bypass, &["bypass proto=udp", ENCRYPT], [true, false, false]),
            (Action::Bypass, &["bypass proto=udp src_ip=192.0.2.1", ENCRYPT], [true, true, false]),
            (Action::Bypass, &["drop proto=udp src_ip=192.0.2.1", ENCRYPT], [false, false, true]),
            (Action::Bypass, &["drop proto=udp src_ip=192.0.2.2", ENCRYPT], [false, false, true]),
        ];
        for (default, rules, could) in cases {
            let policy = policy(default, rules);
            let actions = [Action::Bypass, Action::Encrypt, Action::Drop];
            let found = actions.map(|action| policy.could(&fragment, action));
            assert_eq!(found, could, "{rules:?}");
            // What is known to the end could be nothing else.
            let whole = flow("192.0.2.1", "192.0.2.2", 17, Some((40_000, 5_000)));
            let decided = policy.action(&whole);
            assert!(actions.iter().all(|&one| policy.could(&whole, one) == (one == decided)));
            assert!(policy.could(&fragment, decided), "{rules:?}");
        }
    }

    #[test]
    fn a_rule_that_surely_matches_ends_the_search() {
        let policy = Policy::new(vec![
            rule("bypass proto=tcp src_ip=192.0.2.0/24 dest_ip=192.0.2.0/24"),
            rule("encrypt proto=tcp dest_port=502"),
        ]);
        assert_eq!(policy.action(&flow("192.0.2.1", "192.0.2.2", 6, None)), Action::Bypass);
        assert_eq!(policy.action(&flow("192.0.2.1", "198.51.100.2", 6, None)), Action::Encrypt);
    }

    #[test]
    fn blocks_have_edges() {
        let all: Block = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let half: Block = "8000::/1".parse().unwrap();
        assert!(half.contains("ffff::1".parse().unwrap()));
        assert!(!half.contains("7fff::1".parse().unwrap()));
        let all: Block = "::/0".parse().unwrap();
        assert!(all.contains("::1".parse().unwrap()));
    }
}
