//! What the machines say to each other, and the rules that operators make for it.

use crate::random::Chance;
use std::net::IpAddr;
use tsg_control::policy::{Flow, Policy, Proto, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Every policy encrypts it.
    Modbus,
    /// Every policy lets it pass.
    Web,
    /// Policies differ in what becomes of these.
    Drives,
    Sensors,
    /// No rule names it.
    Other,
}

impl Service {
    const fn proto_and_port(self) -> (Proto, u16) {
        match self {
            Self::Modbus => (Proto::TCP, 502),
            Self::Web => (Proto::TCP, 80),
            Self::Drives => (Proto::TCP, 44_818),
            Self::Sensors => (Proto::UDP, 2_222),
            Self::Other => (Proto::UDP, 9_000),
        }
    }
}

/// What a packet is about: from a machine behind one box to a machine behind another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(crate) service: Service,
    from: u16,
    to: u16,
    is_reply: bool,
}

impl Topic {
    pub(crate) fn some(from: usize, to: usize, chance: &mut Chance) -> Self {
        let service = match chance.below(14) {
            0 => Service::Web,
            1 => Service::Drives,
            2 => Service::Sensors,
            3 => Service::Other,
            _ => Service::Modbus,
        };
        Self { service, from: from as u16, to: to as u16, is_reply: chance.happens(500) }
    }

    pub(crate) fn flow(self) -> Flow {
        let (proto, port) = self.service.proto_and_port();
        let (src, dest) = (machine(self.from.into()), machine(self.to.into()));
        let ports = if self.is_reply { (port, 50_000) } else { (50_000, port) };
        Flow { src, dest, proto: Some(proto), ports: Some(ports) }
    }

    /// The box that it is for.
    pub(crate) fn to(self) -> usize {
        self.to.into()
    }
}

/// The machine behind a box.
pub(crate) fn machine(who: usize) -> IpAddr {
    [10, 2, (who >> 8) as u8, who as u8].into()
}

/// What an operator thinks of.
pub(crate) fn policy(chance: &mut Chance) -> Policy {
    let mut texts = vec![
        "encrypt name=modbus proto=tcp dest_port=502".to_owned(),
        "bypass name=web proto=tcp dest_port=80".to_owned(),
    ];
    let action = |chance: &mut Chance| ["encrypt", "bypass", "drop"][chance.below(3)];
    for rest in ["proto=tcp dest_port=44818", "proto=udp dest_port=2222"] {
        if chance.happens(750) {
            texts.push(format!("{} {rest}", action(chance)));
        }
    }
    if chance.happens(300) {
        // Half of the machines are special.
        texts.insert(0, format!("{} src_ip=10.2.0.0/28 proto=udp", action(chance)));
    }
    let first = chance.between(1_000, 30_000);
    texts.push(format!("{} proto=tcp dest_port={first}-{}", action(chance), first + 10));
    let rule = |text: &String| -> Rule { text.parse().unwrap() };
    Policy::new(texts.iter().map(rule).collect())
}
