//! A policy as a sequence of chains that only say "this one", "not this one, stop looking" or nothing.
//!
//! A rule can hold, perhaps hold, or not hold for a packet, depending on what can be seen of it. The three
//! [`Class`]es fix what can be seen, so that within one class each line is a plain condition.

use tsg_control::policy::{Action, Block, Policy, Ports, Proto, Rule};

/// What can be seen of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Its protocol, and its ports if it has any.
    Known,
    /// Its protocol, which has ports that do not show.
    NoPorts,
    /// Its addresses only.
    Unknown,
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// The condition of a line; an empty list is no condition. Rules that cannot hold give no line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) src: Vec<Block>,
    pub(crate) dest: Vec<Block>,
    pub(crate) proto: Vec<Proto>,
    pub(crate) src_port: Vec<Ports>,
    pub(crate) dest_port: Vec<Ports>,
}

impl Condition {
    /// It holds for every packet.
    pub(crate) fn always(&self) -> bool {
        *self == Self::default()
    }
}

/// What a line says of the packets that its condition holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The pass's action.
    Act,
    /// On to the next pass.
    Next,
}

/// One chain: the lines in order, and what is said at their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) action: Action,
    pub(crate) lines: Vec<(Condition, Then)>,
    pub(crate) end: Then,
}

/// The passes that a packet takes, the stricter action first. Those that never act are left out.
pub(crate) fn passes(policies: &[Policy], version: Version, class: Class) -> Vec<Pass> {
    let mut passes = Vec::new();
    for action in [Action::Drop, Action::Encrypt] {
        for policy in policies {
            let [plain, swapped] =
                [false, true].map(|swapped| pass(policy, action, swapped, version, class));
            let rest = rest(policy, action, version, class);
            for pass in [Some(plain), Some(swapped), rest].into_iter().flatten() {
                if !passes.contains(&pass) {
                    passes.extend(pass.acts().then_some(pass));
                }
            }
        }
    }
    passes
}

impl Pass {
    fn acts(&self) -> bool {
        self.end == Then::Act || self.lines.iter().any(|(_, then)| *then == Then::Act)
    }
}

fn pass(policy: &Policy, action: Action, swapped: bool, version: Version, class: Class) -> Pass {
    let mut lines = Vec::new();
    for rule in policy.rules.iter() {
        let then = if rule.action == action { Then::Act } else { Then::Next };
        let Some(condition) = condition(rule, then, swapped, version, class) else { continue };
        if condition.always() {
            return Pass { action, lines, end: then }.trimmed();
        }
        lines.push((condition, then));
    }
    Pass { action, lines, end: Then::Next }.trimmed()
}

/// What no rule surely matches, either way round, is left to the default.
fn rest(policy: &Policy, action: Action, version: Version, class: Class) -> Option<Pass> {
    let mut lines = Vec::new();
    for rule in policy.rules.iter() {
        for swapped in [false, true] {
            let condition = condition(rule, Then::Next, swapped, version, class);
            lines.extend(condition.map(|condition| (condition, Then::Next)));
        }
    }
    let nothing = lines.iter().any(|(condition, _)| condition.always());
    let acts = policy.default_action == action && !nothing;
    acts.then_some(Pass { action, lines, end: Then::Act })
}

impl Pass {
    /// Without the lines at the end that say what the end says.
    fn trimmed(mut self) -> Self {
        while self.lines.last().is_some_and(|(_, then)| *then == self.end) {
            self.lines.pop();
        }
        self
    }
}

/// The rule's condition as far as packets of this class can be told by it. To act it is enough that the rule
/// could hold; to stop looking it must surely hold.
fn condition(
    rule: &Rule,
    then: Then,
    swapped: bool,
    version: Version,
    class: Class,
) -> Option<Condition> {
    let mut condition = Condition {
        src: of_version(&rule.src_ip, version)?,
        dest: of_version(&rule.dest_ip, version)?,
        proto: rule.proto.clone(),
        src_port: rule.src_port.clone(),
        dest_port: rule.dest_port.clone(),
    };
    let names_ports = !rule.src_port.is_empty() || !rule.dest_port.is_empty();
    let hidden = match class {
        Class::Known => false,
        Class::NoPorts => names_ports,
        Class::Unknown => names_ports || !rule.proto.is_empty(),
    };
    if hidden && then == Then::Next {
        return None;
    }
    if names_ports {
        // A rule with ports holds for protocols with ports only, whichever it names.
        condition.proto = match rule.proto.as_slice() {
            [] => vec![Proto::TCP, Proto::UDP, Proto::SCTP],
            named => named.iter().copied().filter(|proto| proto.has_ports()).collect(),
        };
        if condition.proto.is_empty() {
            return None;
        }
    }
    if class != Class::Known {
        condition.src_port.clear();
        condition.dest_port.clear();
    }
    if class == Class::Unknown {
        condition.proto.clear();
    }
    if swapped {
        core::mem::swap(&mut condition.src, &mut condition.dest);
        core::mem::swap(&mut condition.src_port, &mut condition.dest_port);
    }
    Some(condition)
}

/// The blocks of one IP version; `None` if there are blocks but none of it. A block of all addresses
/// is no condition.
fn of_version(blocks: &[Block], version: Version) -> Option<Vec<Block>> {
    let fits = |block: &&Block| block.address.is_ipv4() == (version == Version::V4);
    let fitting: Vec<Block> = blocks.iter().filter(fits).copied().collect();
    match (blocks.is_empty(), fitting.is_empty()) {
        (false, true) => None,
        _ if fitting.iter().any(|block| block.prefix == 0) => Some(Vec::new()),
        _ => Some(fitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tsg_control::policy::Flow;

    fn holds(condition: &Condition, flow: &Flow) -> bool {
        let block = |blocks: &[Block], address| {
            blocks.is_empty() || blocks.iter().any(|block| block.contains(address))
        };
        let port = |ports: &[Ports], port: Option<u16>| {
            ports.is_empty() || port.is_some_and(|port| ports.iter().any(|p| p.contains(port)))
        };
        let (source, dest) = flow.ports.unzip();
        let proto = condition.proto.is_empty()
            || flow.proto.is_some_and(|proto| condition.proto.contains(&proto));
        block(&condition.src, flow.src)
            && block(&condition.dest, flow.dest)
            && proto
            && port(&condition.src_port, source)
            && port(&condition.dest_port, dest)
    }

    /// What the chains say of a flow.
    fn run(policies: &[Policy], flow: &Flow) -> Action {
        let version = if flow.src.is_ipv4() { Version::V4 } else { Version::V6 };
        let class = match (flow.proto, flow.ports) {
            (None, _) => Class::Unknown,
            (Some(proto), None) if proto.has_ports() => Class::NoPorts,
            (Some(_), _) => Class::Known,
        };
        for pass in passes(policies, version, class) {
            let line = pass.lines.iter().find(|(condition, _)| holds(condition, flow));
            if line.map_or(pass.end, |(_, then)| *then) == Then::Act {
                return pass.action;
            }
        }
        Action::Bypass
    }

    fn words() -> impl Strategy<Value = String> {
        let pick = |name: &'static str, values: &'static [&'static str]| {
            prop::option::of(prop::sample::select(values))
                .prop_map(move |v| v.map_or(String::new(), |v| format!(" {name}={v}")))
        };
        let ports = &["1", "2", "1-3", "2,4"];
        let addresses = &["10.0.0.1", "10.0.0.0/30", "10.0.0.2,fd00::1", "fd00::/126", "0.0.0.0/0"];
        (
            prop::sample::select(&["encrypt", "drop", "bypass"]),
            pick("src_ip", addresses),
            pick("dest_ip", addresses),
            prop_oneof![
                pick("proto", &["icmp", "47", "tcp"]),
                (pick("src_port", ports), pick("dest_port", ports))
                    .prop_map(|(s, d)| { format!(" proto=tcp,udp{s}{d}") }),
            ],
        )
            .prop_map(|(action, src, dest, rest)| format!("{action}{src}{dest}{rest}"))
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let rules = prop::collection::vec(words().prop_map(|w| w.parse().unwrap()), 0..6);
        let default = prop::sample::select(&[Action::Bypass, Action::Encrypt, Action::Drop]);
        (rules, default)
            .prop_map(|(rules, default_action)| Policy { default_action, ..Policy::new(rules) })
    }

    fn flow() -> impl Strategy<Value = Flow> {
        let protos = prop::sample::select(&[None, Some(1), Some(6), Some(17), Some(47)]);
        (0..6u8, 0..6u8, any::<bool>(), protos, prop::option::of((0..6u16, 0..6u16))).prop_map(
            |(src, dest, v4, proto, ports)| {
                let address = |n: u8| match v4 {
                    true => [10, 0, 0, n].into(),
                    false => {
                        let mut octets = [0; 16];
                        (octets[0], octets[15]) = (0xfd, n);
                        octets.into()
                    }
                };
                let has = proto.is_none_or(|p| Proto(p).has_ports());
                Flow {
                    src: address(src),
                    dest: address(dest),
                    proto: proto.map(Proto),
                    ports: ports.filter(|_| has && proto.is_some()),
                }
            },
        )
    }

    #[test]
    fn where_a_rule_matches_all_nothing_is_left_to_the_default() {
        let all =
            Policy { default_action: Action::Drop, ..Policy::new(vec![Rule::any(Action::Bypass)]) };
        assert_eq!(passes(&[all], Version::V4, Class::Known), []);
    }

    proptest! {
        #[test]
        fn the_chains_say_what_the_matcher_says(
            policies in prop::collection::vec(policy(), 1..3),
            flow in flow(),
        ) {
            let strictest = policies.iter().map(|policy| policy.action(&flow)).max();
            prop_assert_eq!(Some(run(&policies, &flow)), strictest);
        }
    }
}
