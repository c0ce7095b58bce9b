//! One gateway of the crowd.

use anyhow::Result;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;
use tsg_bridge::boottime;
use tsg_bridge::identity::Identity;
use tsg_bridge::pipeline::Counters;
use tsg_bridge::server::Link;
use tsg_control::gateway::{self, Event, Standing};
use tsg_control::token::Token;

/// What `tsg run` does between its link and its state machine.
pub(crate) struct Gateway {
    identity: Identity,
    link: Link,
    machine: gateway::Gateway,
    /// When it has something to do by itself, in milliseconds since boot.
    pub(crate) due: u64,
    /// Something came.
    pub(crate) is_ready: bool,
    pub(crate) is_connected: bool,
    pub(crate) is_member: bool,
    /// The newest epoch that it has the key of, and the newest that it seals in.
    pub(crate) has: u64,
    pub(crate) seals: u64,
}

impl Gateway {
    pub(crate) fn new(number: u32, token: Token) -> Result<Self> {
        let identity = Identity::generate()?;
        let servers: Vec<_> =
            token.servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
        let known = gateway::Identity {
            name: format!("box{number}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            aes: true,
            senders: 4,
            kept: 0,
            token: Some(token.secret),
        };
        let now = boottime::now();
        let process = u64::from_le_bytes(*identity.public().0.first_chunk().unwrap_or(&[0; 8]));
        let mut machine = gateway::Gateway::new(known, process, now);
        let counters = Counters::default().by_name();
        machine.handle_counters(counters, Vec::new());
        let behind = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
        machine.handle_machines(BTreeSet::from([behind]), now);
        Ok(Self {
            link: Link::open(&servers, token.server_key)?,
            identity,
            machine,
            due: 0,
            is_ready: true,
            is_connected: false,
            is_member: false,
            has: 0,
            seals: 0,
        })
    }

    /// What to wait for.
    pub(crate) fn descriptor(&self) -> Option<(RawFd, bool)> {
        self.link.descriptor()
    }

    /// Takes in what came, and sends what is due.
    pub(crate) fn turn(&mut self) {
        let received = self.link.turn(&self.identity, boottime::now());
        // Not before they were received: an answer says what time it was before it came.
        let now = boottime::now();
        if received.connected {
            self.machine.handle_connected(now);
        }
        self.is_connected =
            self.descriptor().is_some() && (self.is_connected || received.connected);
        for heard in received.messages {
            self.machine.handle_heard(heard, now);
        }
        self.machine.handle_timeout(now);
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Keys => self.look_at_keys(now),
                Event::Standing => self.is_member = *self.machine.standing() == Standing::Member,
                Event::Policy
                | Event::Machines
                | Event::Save
                | Event::TokenSpent
                | Event::Command(_) => {}
            }
        }
        while let Some(message) = self.machine.poll_transmit() {
            self.link.send(&message);
        }
        self.due = self.link.due().min(self.machine.poll_timeout().unwrap_or(u64::MAX));
    }

    fn look_at_keys(&mut self, now: u64) {
        let keys = self.machine.keys(now);
        self.has = keys.iter().map(|key| key.id).max().unwrap_or(0);
        self.seals = keys.iter().filter(|key| key.sealing).map(|key| key.id).max().unwrap_or(0);
    }
}
