//! What the rules and the gate are made from.

use core::net::SocketAddr;
use std::sync::Arc;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::policy::{Action, Policy};
use tsg_esp::ip::protocol;

/// Everything that decides how the kernel treats a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The policy; while it changes the old and the new one: then the daemon judges what either of them
    /// acts on, and the gate stops what both stop. None: there is no policy yet, and then `fail`
    /// decides between the always-pass list alone and everything.
    pub policies: Vec<Policy>,
    /// What is not in force yet: the daemon judges what it acts on, and the gate opens nothing for it.
    pub prepared: Vec<Policy>,
    /// The gateway's own rules, which apply beside each of the policies: the stricter counts.
    pub local: Policy,
    /// The group's mode.
    pub mode: Mode,
    /// What holds when the daemon does not.
    pub fail: Fail,
    /// How sealed packets are carried; more than one while an epoch with another carriage lives.
    pub carriages: Vec<Carriage>,
    /// The key servers, whose TCP connections always pass.
    pub servers: Vec<SocketAddr>,
    /// Frames that are not IP.
    pub non_ip: NonIp,
    /// For a while the daemon lets pass in clear what is to be sealed. The gate lets it do so; the rules are as ever,
    /// so that it ends with the daemon.
    pub bypassed: bool,
}

impl Plan {
    /// Without a policy and a word from the server: `fail` decides.
    pub fn unknown(fail: Fail) -> Self {
        Self {
            policies: Vec::new(),
            prepared: Vec::new(),
            local: Policy::default(),
            mode: Mode::Enforce,
            fail,
            carriages: vec![Carriage::Protocol(protocol::EXPERIMENT)],
            servers: Vec::new(),
            non_ip: NonIp::Pass,
            bypassed: false,
        }
    }

    /// Everything passes: no gateway is wanted here.
    pub(crate) fn wire() -> Self {
        Self { carriages: Vec::new(), ..Self::unknown(Fail::Open) }
    }

    /// Matched traffic stops when the daemon does: `fail` is closed, in a mode that seals.
    pub const fn holds_closed(&self) -> bool {
        let seals = matches!(self.mode, Mode::Migrate | Mode::Enforce);
        seals && matches!(self.fail, Fail::Closed)
    }

    /// The policies that apply at once, of which the strictest counts, the one for "none yet" included.
    /// While the policy changes, what one version drops may be what the other lets through: the
    /// daemon is asked, as about what is to be sealed.
    pub(crate) fn effective(&self) -> Vec<Policy> {
        let local = (!self.local.rules.is_empty()).then(|| self.local.clone());
        let versions = match (self.policies.as_slice(), self.prepared.as_slice(), self.fail) {
            ([], _, Fail::Closed) => {
                vec![Policy { rules: Arc::default(), default_action: Action::Drop }]
            }
            ([], _, Fail::Open) => Vec::new(),
            ([policy], [], _) => vec![policy.clone()],
            (policies, prepared, _) => policies.iter().chain(prepared).map(asks).collect(),
        };
        versions.into_iter().chain(local).collect()
    }

    /// A plan for each policy that is in force somewhere: what the gate is made from.
    pub(crate) fn versions(&self) -> Vec<Self> {
        let one = |policy: Option<&Policy>| Self {
            mode: if self.bypassed { self.mode.min(Mode::ReceiveOnly) } else { self.mode },
            policies: policy.into_iter().cloned().collect(),
            prepared: Vec::new(),
            ..self.clone()
        };
        match self.policies.as_slice() {
            [] => vec![one(None)],
            policies => policies.iter().map(|policy| one(Some(policy))).collect(),
        }
    }

    /// Something may have to be sealed or dropped, so the daemon must see what it alone can judge.
    pub(crate) fn acts(&self) -> bool {
        self.mode == Mode::Learn || self.effective().iter().any(acts)
    }

    /// Protocol numbers of sealed packets.
    pub(crate) fn protocols(&self) -> Vec<u8> {
        let number = |carriage: &Carriage| match *carriage {
            Carriage::Protocol(number) => Some(number),
            Carriage::Udp(_) => None,
        };
        distinct(self.carriages.iter().filter_map(number))
    }

    /// UDP ports of sealed packets, on both ends.
    pub(crate) fn udp_ports(&self) -> Vec<u16> {
        let port = |carriage: &Carriage| match *carriage {
            Carriage::Protocol(_) => None,
            Carriage::Udp(port) => Some(port),
        };
        distinct(self.carriages.iter().filter_map(port))
    }

    /// The key servers' addresses and ports of one IP version, each once.
    pub(crate) fn servers_of(&self, v4: bool) -> Vec<SocketAddr> {
        distinct(self.servers.iter().copied().filter(|server| server.is_ipv4() == v4))
    }
}

/// The policy with everything that it drops handed to the daemon.
fn asks(policy: &Policy) -> Policy {
    let mut rules = policy.rules.to_vec();
    for rule in rules.iter_mut().filter(|rule| rule.action == Action::Drop) {
        rule.action = Action::Encrypt;
    }
    Policy { rules: rules.into(), default_action: policy.default_action.min(Action::Encrypt) }
}

fn acts(policy: &Policy) -> bool {
    policy.default_action != Action::Bypass
        || policy.rules.iter().any(|rule| rule.action != Action::Bypass)
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for value in values {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    list
}
