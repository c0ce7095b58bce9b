//! What the machines say to each other, and the rules that operators make for it.

use crate::random::Chance;
use std::net::IpAddr;
use tsg_control::policy::{Flow, Policy, Proto, Rule};

const MODBUS: u16 = 502;
const WEB: u16 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
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
            Self::Modbus => (Proto::TCP, MODBUS),
            Self::Web => (Proto::TCP, WEB),
            Self::Drives => (Proto::TCP, 44_818),
            Self::Sensors => (Proto::UDP, 2_222),
            Self::Other => (Proto::UDP, 9_000),
        }
    }
}

/// What a packet is about: from a machine behind one box to a machine behind another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    service: Service,
    from: u16,
    to: u16,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
    /// A request that looks like a reply of the web, which every policy lets pass.
    LikeReply,
    /// And a reply that looks like a request to it.
    LikeRequest,
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
        let way = match chance.below(20) {
            0 => Way::LikeReply,
            1 => Way::LikeRequest,
            at if at % 2 == 0 => Way::Request,
            _ => Way::Reply,
        };
        Self { service, from: from as u16, to: to as u16, way }
    }

    pub(crate) fn flow(self) -> Flow {
        let (proto, port) = self.service.proto_and_port();
        let (src, dest) = (machine(self.from.into()), machine(self.to.into()));
        let ports = match self.way {
            Way::Request => (50_000, port),
            Way::Reply => (port, 50_000),
            Way::LikeReply => (WEB, port),
            Way::LikeRequest => (port, WEB),
        };
        Flow { src, dest, proto: Some(proto), ports: Some(ports) }
    }

    /// To the machine that it is from.
    pub(crate) const fn answer(self) -> Self {
        Self { from: self.to, to: self.from, ..self }
    }

    /// The box that it is for.
    pub(crate) fn to(self) -> usize {
        self.to.into()
    }
}

/// It is what every policy encrypts: so much is known without the matcher.
pub(crate) fn is_modbus(flow: &Flow) -> bool {
    let to_or_from = flow.ports.is_some_and(|(from, to)| from == MODBUS || to == MODBUS);
    flow.proto == Some(Proto::TCP) && to_or_from
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
