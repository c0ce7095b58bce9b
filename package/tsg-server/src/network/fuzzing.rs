//! A door for the fuzzers (tests/fuzz), and in no other build.

use super::peers::{Envelope, Peers};
use super::room::Room;
use super::roster::Roster;
use super::zap;
use tsg_control::keys::PublicKey;
use tsg_control::server::Record;

/// What stands in front of the state machine: who may connect, and how much one may say.
pub struct Porch {
    roster: Roster,
    room: Room,
    peers: Peers,
}

impl Porch {
    /// With the records of those that are let in or thrown out, and room for a few strangers.
    pub fn new(records: &[Record]) -> Self {
        let roster = Roster::default();
        records.iter().for_each(|record| roster.note(record));
        Self { room: Room::open(64, 1), peers: Peers::new(roster.clone()), roster }
    }

    /// The answer of the ZAP handler to these frames.
    pub fn admit(&self, request: &[Vec<u8>]) -> [Vec<u8>; 6] {
        zap::answer(request, &self.roster, &self.room)
    }

    /// May a message be read that comes from `from` by this connection? A `registration` is asked for twice.
    ///
    /// # Errors
    /// Why not.
    pub fn hear(
        &mut self,
        from: PublicKey,
        (route, address): (&[u8], &str),
        bytes: usize,
        registration: bool,
        now: u64,
    ) -> Result<(), &'static str> {
        let envelope = Envelope { from, route, address, bytes };
        // Connections with an odd name are gone.
        let alive = |route: &[u8]| route.last().is_none_or(|last| last % 2 == 0);
        self.peers.hear(&envelope, now, alive)?;
        if registration {
            self.peers.hear_registration(&from, now)?;
        }
        self.peers.forget_silent(now, alive);
        Ok(())
    }

    /// Where an answer to this key goes.
    pub fn route(&self, key: &PublicKey) -> Option<&[u8]> {
        self.peers.route(key)
    }

    /// Peers that are remembered.
    pub fn count(&self) -> u64 {
        self.peers.count()
    }
}
