//! The policy: ordered rules and the one matcher that is the truth about them.
//!
//! A rule speaks in fw4's words. The first rule that matches decides; it is taken for the packet
//! and for the packet with both ends swapped, and the stricter of the two wins, so that the reply
//! to a bypassed service cannot carry what another rule seals. A packet that a rule matches only one
//! way is that rule's: the default is for what no rule matches either way. What is not known of a packet (a
//! fragment's ports, what lies behind a header that cannot be walked) matches as if it were any
//! value, and the strictest action that could apply is taken. [`Policy::could`] tells of each action whether it could.
//!
//! Not here: how rules become netfilter text (tsg-bridge's `rules`), and when a policy comes into
//! force ([`crate::timeline`]).

mod matcher;
mod parse;

pub use matcher::Flow;
pub use parse::{MAX_RULES, ParseError};

use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a rule does with a packet. The order is the order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it pass as it is.
    Bypass,
    /// Seal it on the way out, and accept it only sealed on the way in.
    Encrypt,
    /// Let it pass in neither direction.
    Drop,
}

/// An address block, `192.0.2.0/24` or `2001:db8::/32`; a single address has the full length.
/// The bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The first address of the block.
    pub address: IpAddr,
    /// How many leading bits count: 0 to 32 or 128.
    pub prefix: u8,
}

/// Ports `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The lowest port of the range.
    pub first: u16,
    /// The highest port of the range; never below `first`.
    pub last: u16,
}

/// An IP protocol number. `tcp`, `udp`, `icmp`, `icmpv6`, `igmp`, `sctp`, `esp` and numbers are
/// understood; `any` in UCI is the empty list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proto(pub u8);

impl Proto {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Does this protocol have ports where TCP and UDP have them?
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

/// One line of a policy. An empty list means any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What people call it; shown in counters and alarms.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What happens to a packet that it matches.
    pub action: Action,
    /// Protocols.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "parse::words")]
    pub proto: Vec<Proto>,
    /// Source addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "parse::words")]
    pub src_ip: Vec<Block>,
    /// Destination addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "parse::words")]
    pub dest_ip: Vec<Block>,
    /// Source ports; only with protocols that have ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "parse::words")]
    pub src_port: Vec<Ports>,
    /// Destination ports; only with protocols that have ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "parse::words")]
    pub dest_port: Vec<Ports>,
}

/// Rules in order, and what happens to a packet that none of them matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The rules; the first that matches decides. Shared, as a state for each member of a large group holds them.
    #[serde(default)]
    pub rules: Arc<Vec<Rule>>,
    /// For what no rule matches.
    #[serde(default = "Policy::default_action")]
    pub default_action: Action,
}

impl Policy {
    const fn default_action() -> Action {
        Action::Bypass
    }

    /// A policy of these rules that lets the rest pass.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: Arc::new(rules), default_action: Action::Bypass }
    }

    /// What happens to a packet of this flow: the stricter of the flow's two directions.
    pub fn action(&self, flow: &Flow) -> Action {
        let (one, other) = (self.one_way(flow), self.one_way(&flow.swapped()));
        let default = (!one.surely && !other.surely).then_some(self.default_action);
        one.strictest.max(other.strictest).max(default).unwrap_or(self.default_action)
    }

    /// Would this be what happens to a packet of this flow, for some value of what is not known of it?
    pub fn could(&self, flow: &Flow, action: Action) -> bool {
        const ALL: [Option<Action>; 4] =
            [None, Some(Action::Bypass), Some(Action::Encrypt), Some(Action::Drop)];
        let may = |flow: &Flow| ALL.map(|one| self.may_decide(flow).any(|decided| decided == one));
        let [this_way, other_way] = [flow, &flow.swapped()].map(may);
        ALL.into_iter().zip(this_way).filter(|(_, may)| *may).any(|(one, _)| {
            let both = |other| one.max(other).unwrap_or(self.default_action);
            ALL.into_iter().zip(other_way).any(|(other, may)| may && both(other) == action)
        })
    }

    /// The actions of the rules that could decide on one direction of a flow, and `None` if there may be no such rule.
    fn may_decide(&self, flow: &Flow) -> impl Iterator<Item = Option<Action>> {
        let surely = self.rules.iter().position(|rule| rule.surely(flow));
        let count = surely.map_or(self.rules.len(), |at| at + 1);
        let could = self.rules.iter().take(count).filter(|rule| rule.could(flow));
        could.map(|rule| Some(rule.action)).chain(surely.is_none().then_some(None))
    }

    /// The name of the rule that decided on `flow`, for counters and alarms.
    pub fn deciding_rule(&self, flow: &Flow) -> Option<&Rule> {
        let action = self.action(flow);
        let swapped = flow.swapped();
        self.rules
            .iter()
            .find(|rule| rule.action == action && (rule.could(flow) || rule.could(&swapped)))
    }

    fn one_way(&self, flow: &Flow) -> Decision {
        let mut strictest = None;
        for rule in self.rules.iter() {
            if rule.could(flow) {
                strictest = strictest.max(Some(rule.action));
            }
            if rule.surely(flow) {
                return Decision { strictest, surely: true };
            }
        }
        Decision { strictest, surely: false }
    }
}

/// What the rules say of one direction of a flow.
struct Decision {
    /// The strictest action of the rules that could decide.
    strictest: Option<Action>,
    /// One of them surely does.
    surely: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}
