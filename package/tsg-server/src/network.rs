//! The ports that gateways and monitors connect to: ZeroMQ with CURVE, a ROUTER for everything and a PUB for announcements
//! without secrets (docs/protocol.md).
//!
//! Who sent a message is whose key opened the connection. Nothing here blocks: what a slow peer does not take is dropped, and
//! the next state puts it right.

mod allowance;
mod connections;
mod listen;
mod peers;
mod roster;
mod strangers;

pub use roster::Roster;
pub(crate) use strangers::neighbourhood;

use crate::identity::Identity;
use anyhow::Result;
use connections::{Connections, Unsent};
use peers::Peers;
use roster::Standing;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use tsg_control::keys::PublicKey;
use tsg_control::message::{Announcement, DecodeError, ToGateway, ToServer, encode, from_gateway};
use tsg_control::server::{GatewayRecord, Record};
use tsg_zmtp::Keys;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// An address of this machine, or `*` for all.
    pub address: String,
    /// Port of the ROUTER; 0 for any that is free.
    pub port: u16,
    /// Port of the PUB; 0 for any that is free.
    pub pub_port: u16,
}

/// The open ports, and who is connected.
pub struct Network {
    connections: Connections,
    peers: Peers,
    roster: Roster,
    dropped: BTreeMap<&'static str, u64>,
    listen: String,
    publish: String,
}

/// Files that are kept for the database and for operators.
const KEPT: u64 = 256;

/// More connections are never open: each takes memory.
const MOST_CONNECTIONS: u64 = 65_536;

/// What came of looking for a message.
pub enum Received {
    /// A message of the gateway with this key.
    Message(PublicKey, ToServer),
    /// One of the gateway with this key that cannot be read.
    Unreadable(PublicKey, DecodeError),
    /// One that was dropped.
    Dropped,
    /// There is none.
    Nothing,
}

impl Network {
    /// Opens both ports. `files` is how many files and connections this process may have open.
    ///
    /// # Errors
    /// The addresses cannot be used.
    pub fn open(listen: &Listen, roster: Roster, files: u64) -> Result<Self> {
        let publisher = listen::open(&listen.address, listen.pub_port)?;
        let router = listen::open(&listen.address, listen.port)?;
        let (listen, publish) = (listen::endpoint(&router)?, listen::endpoint(&publisher)?);
        // Where the limit is as low as that, operators share what there is.
        let most = files.saturating_sub(KEPT).max(files / 4).min(MOST_CONNECTIONS);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Self {
            connections: Connections::open([router, publisher], most)?,
            peers: Peers::default(),
            roster,
            dropped: BTreeMap::new(),
            listen,
            publish,
        })
    }

    /// The ROUTER's address, `tcp://192.0.2.10:5555`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The PUB's address.
    pub fn publish(&self) -> &str {
        &self.publish
    }

    /// Messages that were not taken, by reason.
    pub const fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.dropped
    }

    /// Connections of gateways, and of those that want to be let in.
    pub fn connections(&self) -> u64 {
        self.connections.count() as u64
    }

    /// For polling: readable when something has happened.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.connections.as_fd()
    }

    /// There is something to receive that needs not be waited for.
    pub fn has_heard(&self) -> bool {
        self.connections.has_heard()
    }

    /// Takes over a change that is durable: who is let in, and who is thrown out.
    pub fn note(&mut self, record: &Record) {
        self.roster.note(record);
        // A gateway that is out is told so where it asks; a monitor would go on hearing.
        if let Record::Gateway(GatewayRecord { key, .. }) | Record::GatewayGone(key) = record
            && self.roster.standing(key) != Standing::Member
        {
            self.connections.close_monitors(key);
        }
    }

    /// Looks for the next message. `now` is any time in milliseconds that only runs.
    ///
    /// # Errors
    /// The kernel refuses to wait for connections.
    pub fn receive(&mut self, identity: &Identity, now: u64) -> Result<Received> {
        if !self.connections.has_heard() {
            let public = identity.public().0;
            let keys = Keys { server: &public, public: &public, secret: identity.secret() };
            self.connections.look(&keys, &self.roster, now)?;
        }
        let Some(heard) = self.connections.next_heard() else { return Ok(Received::Nothing) };
        let from = heard.from;
        let standing = self.roster.standing(&from);
        let bytes = heard.frame.as_ref().map_or(0, |frame| frame.len());
        if let Err(reason) = self.peers.hear(&from, standing, heard.address, bytes, now) {
            return Ok(self.drop(reason));
        }
        let Some(frame) = heard.frame else { return Ok(self.drop("several frames")) };
        match from_gateway(&frame) {
            Ok(message) => {
                let registers = matches!(message, ToServer::Register(_));
                match registers.then(|| self.peers.hear_registration(&from, now)) {
                    Some(Err(reason)) => Ok(self.drop(reason)),
                    Some(Ok(())) | None => Ok(Received::Message(from, message)),
                }
            }
            Err(error) => {
                self.drop(match &error {
                    DecodeError::TooLong(_) => "too long",
                    DecodeError::Malformed(_) => "malformed",
                    DecodeError::Version(_) => "other version",
                    DecodeError::Kind(_) => "unknown message",
                });
                Ok(Received::Unreadable(from, error))
            }
        }
    }

    fn drop(&mut self, reason: &'static str) -> Received {
        *self.dropped.entry(reason).or_insert(0) += 1;
        Received::Dropped
    }

    /// Sends a message if the gateway can take it now.
    pub fn send(&mut self, to: &PublicKey, message: &ToGateway) {
        match self.connections.send(to, &message.frame()) {
            Ok(()) => {}
            Err(Unsent::NotConnected) => {
                self.drop("not connected");
            }
            Err(Unsent::SlowReader) => {
                self.drop("slow reader");
            }
        }
    }

    /// Publishes an announcement: the group's name, then the message.
    pub fn announce(&mut self, announcement: &Announcement) {
        let body = encode(announcement);
        let lost = self.connections.publish(&[announcement.group.as_bytes(), &body]);
        for _ in 0..lost {
            self.drop("not published");
        }
    }

    /// Forgets peers that are silent, and closes connections that nobody uses; call it once a second, with the time of
    /// [`Self::receive`].
    ///
    /// # Errors
    /// Nobody can connect any more: the server must be started again.
    pub fn look_around(&mut self, now: u64) -> Result<()> {
        self.peers.forget_silent(now);
        self.connections.look_around(&self.roster, now)
    }
}
