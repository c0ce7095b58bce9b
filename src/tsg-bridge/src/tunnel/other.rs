//! The other end, whichever way this one has keys with it: [agreed on](super::peer), or [static](super::standing).

use super::peer::{self, Heard, Peer};
use super::standing::Standing;
use crate::pipeline::Reason;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::Suite;

/// The other end of a tunnel. Its methods are those of [`Peer`].
pub(super) enum Other {
    Agreeing(Peer),
    /// There is one worker.
    Standing(Mutex<Standing>),
}

/// A batch of one worker. Its methods are those of [`peer::Turn`].
pub(super) enum Turn<'o> {
    Agreeing(peer::Turn<'o>),
    Standing(MutexGuard<'o, Standing>, u64),
}

impl Other {
    pub(super) fn is_up(&self) -> bool {
        match self {
            Self::Agreeing(peer) => peer.is_up(),
            Self::Standing(standing) => lock(standing).is_up(),
        }
    }

    /// The cipher that packets are sealed with, and when its keys were agreed on, if they were.
    pub(super) fn keys(&self) -> Option<(Suite, Option<u64>)> {
        match self {
            Self::Agreeing(peer) => peer.keys().map(|(suite, agreed)| (suite, Some(agreed))),
            Self::Standing(standing) => Some((lock(standing).suite(), None)),
        }
    }

    /// What it is to be up, for the log: it is followed by the other end's address.
    pub(super) const fn up(&self) -> &'static str {
        match self {
            Self::Agreeing(_) => "agreed on keys with",
            Self::Standing(_) => "heard from",
        }
    }

    /// With static keys nobody has to answer, and the kernel does not.
    pub(super) fn is_silent(&self, now: u64) -> bool {
        match self {
            Self::Agreeing(peer) => peer.is_silent(now),
            Self::Standing(_) => false,
        }
    }

    pub(super) fn tick(&self, now: u64, say: &mut Vec<Vec<u8>>) {
        match self {
            Self::Agreeing(peer) => peer.tick(now, say),
            Self::Standing(standing) => lock(standing).tick(now),
        }
    }

    /// With static keys there are no questions.
    pub(super) fn ask(&self, now: u64, say: &mut Vec<Vec<u8>>) -> bool {
        match self {
            Self::Agreeing(peer) => peer.ask(now, say),
            Self::Standing(_) => false,
        }
    }

    pub(super) fn turn(&self, worker: usize, now: u64) -> Turn<'_> {
        match self {
            Self::Agreeing(peer) => Turn::Agreeing(peer.turn(worker, now)),
            Self::Standing(standing) => Turn::Standing(lock(standing), now),
        }
    }
}

fn lock(standing: &Mutex<Standing>) -> MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn<'_> {
    pub(super) fn seal(&mut self, packet: &mut Packet<'_>, next_header: u8) -> Result<(), Reason> {
        match self {
            Self::Agreeing(turn) => turn.seal(packet, next_header),
            Self::Standing(standing, now) => {
                standing.seal(packet, next_header, *now).map_err(|error| error.reason().into())
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        packet: &mut Packet<'_>,
        say: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Reason> {
        match self {
            Self::Agreeing(turn) => turn.hear(packet, say),
            Self::Standing(standing, now) => Ok(Heard::Now(standing.hear(packet, *now)?)),
        }
    }
}
