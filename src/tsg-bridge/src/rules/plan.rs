//! What the rules and the gate are made from.

use core::net::SocketAddr;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::policy::{Action, Policy};
use tsg_esp::ip::protocol;

/// Everything that decides how the kernel treats a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The policy; while it changes the old and the new one, of which the stricter counts. None: there is
    /// no policy yet, and then `fail` decides between the always-pass list alone and everything.
    pub policies: Vec<Policy>,
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
}

impl Plan {
    /// Without a policy and a word from the server: `fail` decides.
    pub fn unknown(fail: Fail) -> Self {
        Self {
            policies: Vec::new(),
            mode: Mode::Enforce,
            fail,
            carriages: vec![Carriage::Protocol(protocol::EXPERIMENT)],
            servers: Vec::new(),
            non_ip: NonIp::Pass,
        }
    }

    /// Matched traffic stops when the daemon does: `fail` is closed, in a mode that seals.
    pub const fn holds_closed(&self) -> bool {
        let seals = matches!(self.mode, Mode::Migrate | Mode::Enforce);
        seals && matches!(self.fail, Fail::Closed)
    }

    /// The policies that apply, the one for "none yet" included.
    pub(crate) fn effective(&self) -> Vec<Policy> {
        match (self.policies.as_slice(), self.fail) {
            ([], Fail::Closed) => vec![Policy { rules: Vec::new(), default_action: Action::Drop }],
            ([], Fail::Open) => Vec::new(),
            (policies, _) => policies.to_vec(),
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

    /// UDP destination ports of sealed packets.
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
