//! The connection to the key server: a ZeroMQ DEALER with CURVE, one server at a time.
//!
//! CURVE proves that the other end has the key server's secret key, so what arrives is the key
//! server's word. Nothing is queued for a server that is not there: the state machine asks again
//! by itself, and old questions would be of no use.

mod servers;
#[cfg(test)]
mod tests;
mod wire;

pub use servers::Servers;

use crate::config::Endpoint;
use crate::identity::Identity;
use anyhow::Result;
use std::os::fd::RawFd;
use tsg_control::keys::PublicKey;
use tsg_control::message::{self, DecodeError, Heard, ToServer};
use tsg_zmtp::Keys;
use tsg_zmtp::client::Event;
use wire::{End, Wire};

/// After a connection that was not made the next attempt waits for this long, and for twice as long after each
/// further one, up to that; in milliseconds. Up to half as much is added by chance: not all gateways are to come at once.
const PAUSE_MS: (u64, u64) = (250, 8_000);

/// A name that nobody knows the address of is asked for again after this.
const NO_ADDRESS_MS: u64 = 500;

/// The way to one key server out of several.
pub struct Link {
    servers: Servers,
    at: usize,
    /// Which of the server's addresses is tried.
    address: usize,
    server_key: PublicKey,
    wire: Option<Wire>,
    /// When the next attempt is due, and how long the pause before it was.
    next: u64,
    pause: u64,
    /// Why the last attempt failed.
    trouble: Option<String>,
}

/// What came over the link.
#[derive(Debug, Default)]
pub struct Received {
    /// The connection was made anew.
    pub connected: bool,
    /// Connections since then that ended before the other end had shown that it is the key server: it
    /// closes them when it is not the one that the gateway has the key of.
    pub broken_off: u32,
    /// Messages in order.
    pub messages: Vec<Heard>,
    /// Why others are none.
    pub unreadable: Vec<DecodeError>,
}

impl Link {
    /// Will connect to the first of `servers`.
    ///
    /// # Errors
    /// There is no room for the thread that looks up their names.
    pub fn open(servers: &[Endpoint], server_key: PublicKey) -> Result<Self> {
        Ok(Self {
            servers: Servers::find(servers)?,
            at: 0,
            address: 0,
            server_key,
            wire: None,
            next: 0,
            pause: 0,
            trouble: None,
        })
    }

    /// The server that it talks to.
    pub fn server(&self) -> Option<&Endpoint> {
        self.servers.list().get(self.at)
    }

    /// The servers and their addresses.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Why there is no connection, if one was tried.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Turns to the next server of the list, if there is another.
    pub fn next_server(&mut self) -> bool {
        let count = self.servers.list().len();
        let others = count > 1;
        if others {
            self.at = (self.at + 1) % count;
            self.reconnect();
        }
        others
    }

    /// Makes the connection anew, at the next turn.
    pub fn reconnect(&mut self) {
        (self.wire, self.address, self.next, self.pause) = (None, 0, 0, 0);
    }

    /// What to wait for; the second part says that something waits to be written.
    pub fn descriptor(&self) -> Option<(RawFd, bool)> {
        self.wire.as_ref().map(Wire::descriptor)
    }

    /// When to take a turn, if nothing happens.
    pub fn due(&self) -> u64 {
        self.wire.as_ref().map_or(self.next, Wire::due)
    }

    /// Sends a message, if there is a connection.
    pub fn send(&mut self, message: &ToServer) {
        let open = self.wire.as_mut().is_some_and(|wire| wire.say(&message.frame()));
        if !open {
            log::debug!("no connection to the key server");
        }
    }

    /// Connects if it is time to, and reads what there is, without waiting, at local time `now`.
    pub fn turn(&mut self, identity: &Identity, now: u64) -> Received {
        let mut received = Received::default();
        let server_key = self.server_key;
        let keys = Keys {
            server: &server_key.0,
            public: &identity.public().0,
            secret: identity.secret().bytes(),
        };
        if self.wire.is_none() && now >= self.next {
            match self.address() {
                None => self.next = now + NO_ADDRESS_MS,
                Some(address) => match Wire::begin(address, &keys, now) {
                    Ok(wire) => self.wire = Some(wire),
                    Err(end) => received.broken_off = self.end(end, now),
                },
            }
        }
        if let Some(wire) = &mut self.wire {
            let was_open = wire.is_open();
            let result = wire.turn(&keys, now, |event| received.take(event));
            if received.connected {
                (self.pause, self.trouble) = (0, None);
            }
            if let Err(end) = result {
                let broken_off = self.end(end, now);
                received.broken_off = if was_open || received.connected { 0 } else { broken_off };
            }
        }
        received
    }

    fn address(&self) -> Option<std::net::SocketAddr> {
        let known = self.servers.addresses_of(self.at);
        known.get(self.address % known.len().max(1)).copied()
    }

    /// Lets go of a connection; 1 if the other end broke it off.
    fn end(&mut self, end: End, now: u64) -> u32 {
        self.wire = None;
        let (why, broken_off) = match end {
            End::Silent(why) => (why, 0),
            End::Broken(why) => (why, 1),
        };
        if self.trouble.as_ref() != Some(&why) {
            let server = self.server().map(ToString::to_string).unwrap_or_default();
            log::warn!("key server {server}: {why}");
        }
        self.trouble = Some(why);
        self.address = self.address.wrapping_add(1);
        self.pause = (self.pause * 2).clamp(PAUSE_MS.0, PAUSE_MS.1);
        self.next = now + self.pause + up_to(self.pause / 2);
        broken_off
    }
}

impl Received {
    fn take(&mut self, event: Event) {
        match event {
            Event::Open => self.connected = true,
            Event::SeveralFrames => log::warn!("from the key server: a message of several frames"),
            Event::Message(frame) => match message::from_server(&frame) {
                Ok(heard) => self.messages.push(heard),
                Err(error) => self.unreadable.push(error),
            },
        }
    }
}

/// A random number, not above `most`.
fn up_to(most: u64) -> u64 {
    let mut bytes = [0; 8];
    tsg_sodium::random(&mut bytes);
    u64::from_le_bytes(bytes) % (most + 1)
}
