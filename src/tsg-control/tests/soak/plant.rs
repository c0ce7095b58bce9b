//! A key server and its gateways with a clock that the test moves. Nothing is lost or late here: the
//! simulation does that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use tsg_control::gateway::{Event, Gateway, Identity, Standing};
use tsg_control::keys::PublicKey;
use tsg_control::message::{self, CommandKind, Done, MAX_FRAME, ToServer};
use tsg_control::policy::Policy;
use tsg_control::server::{Random, Server, Stored};

pub(crate) const GROUP: &str = "plant";

/// The key server's time at the start; gateways count from 0.
const START: u64 = 1_700_000_000_000;

/// Milliseconds that a gateway is off while its daemon starts again.
const RESTART: u64 = 500;

struct Counter(u64);

impl Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) struct Plant {
    pub(crate) server: Server,
    pub(crate) members: BTreeMap<PublicKey, Gateway>,
    pub(crate) now: u64,
    /// Daemon processes so far.
    processes: u64,
    pub(crate) heartbeats: u64,
}

impl Plant {
    pub(crate) fn new(members: u8) -> Self {
        let mut server = Server::new(Stored::default(), Box::new(Counter(1)), START);
        server.add_group(GROUP, START).unwrap();
        let mut plant =
            Self { server, members: BTreeMap::new(), now: 0, processes: 0, heartbeats: 0 };
        for number in 0..members {
            plant.join(number);
        }
        plant
    }

    /// The key server's time.
    pub(crate) const fn time(&self) -> u64 {
        START + self.now
    }

    pub(crate) const fn key(number: u8) -> PublicKey {
        PublicKey([number + 1; 32])
    }

    /// A new box asks, and is let in.
    pub(crate) fn join(&mut self, number: u8) {
        let key = Self::key(number);
        self.boot(key);
        self.pass(1_000);
        let (wall, now) = (self.time() / 1000, self.time());
        self.server.approve(key, GROUP, wall, now).unwrap();
    }

    /// A gateway starts that knows nothing.
    pub(crate) fn boot(&mut self, key: PublicKey) {
        self.processes += 1;
        let identity = Identity {
            name: "press".to_owned(),
            version: "0.1.0".to_owned(),
            aes: true,
            senders: 4,
            kept: 0,
            token: None,
        };
        self.members.insert(key, Gateway::new(identity, self.processes << 32, self.now));
    }

    /// The daemon of a gateway starts again and goes on from RAM.
    pub(crate) fn restart(&mut self, number: u8) {
        let key = Self::key(number);
        let saved = self.members.remove(&key).and_then(|gateway| gateway.save()).unwrap();
        self.pass(RESTART);
        self.boot(key);
        let now = self.now;
        self.member(number).restore(saved, now);
    }

    pub(crate) fn member(&mut self, number: u8) -> &mut Gateway {
        self.members.get_mut(&Self::key(number)).unwrap()
    }

    /// `machines` machines are heard behind a gateway.
    pub(crate) fn hear(&mut self, number: u8, machines: u8) {
        let address = |n| IpAddr::from(Ipv4Addr::new(192, 0, number, n));
        let heard: BTreeSet<IpAddr> = (0..machines).map(address).collect();
        let now = self.now;
        self.member(number).handle_machines(heard, now);
    }

    pub(crate) fn set_policy(&mut self, rules: &[&str]) {
        let policy = Policy::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
        let now = self.time();
        self.server.set_policy(GROUP, policy, now).unwrap();
    }

    pub(crate) fn command(&mut self, number: u8, kind: CommandKind) {
        let now = self.time();
        self.server.command(Self::key(number), kind, now).unwrap();
    }

    /// Everybody is a member that can seal, in the same epoch.
    pub(crate) fn works(&self) -> bool {
        let sealing = |gateway: &Gateway| {
            let keys = gateway.keys(self.now);
            let sealing = keys.iter().find(|key| key.sealing && key.origin.is_some());
            sealing.map(|key| key.id).filter(|_| *gateway.standing() == Standing::Member)
        };
        let epochs: BTreeSet<_> = self.members.values().map(sealing).collect();
        epochs.len() == 1 && !epochs.contains(&None)
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        loop {
            self.talk();
            let server = self.server.poll_timeout(self.time()).map(|at| at.saturating_sub(START));
            let members = self.members.values().filter_map(Gateway::poll_timeout);
            let next = members.chain(server).min().unwrap_or(until).max(self.now + 1);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            self.server.handle_timeout(self.time());
            for gateway in self.members.values_mut() {
                gateway.handle_timeout(self.now);
            }
        }
    }

    /// Everything that anybody has to say is said.
    fn talk(&mut self) {
        let mut silent = false;
        while !silent {
            silent = true;
            let time = START + self.now;
            for (key, gateway) in &mut self.members {
                while let Some(event) = gateway.poll_event() {
                    if let Event::Command(command) = event {
                        gateway.done(Done {
                            command: command.command,
                            ok: true,
                            text: "as you wish".to_owned(),
                        });
                    }
                }
                while let Some(said) = gateway.poll_transmit() {
                    self.heartbeats += u64::from(matches!(said, ToServer::Heartbeat(_)));
                    let heard = message::decode(&message::encode(&said), MAX_FRAME).unwrap();
                    self.server.handle_message(*key, heard, time);
                    silent = false;
                }
            }
            while self.server.poll_record().is_some() {}
            while self.server.poll_announcement().is_some() {}
            while self.server.poll_event().is_some() {}
            while let Some((to, said)) = self.server.poll_transmit() {
                let heard = message::decode(&message::encode(&said), MAX_FRAME).unwrap();
                if let Some(gateway) = self.members.get_mut(&to) {
                    gateway.handle_message(heard, self.now);
                }
                silent = false;
            }
        }
    }
}
