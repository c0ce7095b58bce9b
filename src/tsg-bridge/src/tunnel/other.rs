//! The other end, whichever way this one has keys with it: [agreed on](super::peer), or [static](super::standing).

use super::peer::{Heard, Peer};
use super::standing::Standing;
use crate::pipeline::Reason;
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::Suite;

/// The other end of a tunnel. Its methods are those of [`Peer`].
pub(super) enum Other {
    Agreeing(Box<Peer>),
    Standing(Box<Standing>),
}

impl Other {
    pub(super) const fn is_up(&self) -> bool {
        match self {
            Self::Agreeing(peer) => peer.is_up(),
            Self::Standing(standing) => standing.is_up(),
        }
    }

    /// The cipher that packets are sealed with, and when its keys were agreed on, if they were.
    pub(super) fn keys(&self) -> Option<(Suite, Option<u64>)> {
        match self {
            Self::Agreeing(peer) => peer.keys().map(|(suite, agreed)| (suite, Some(agreed))),
            Self::Standing(standing) => Some((standing.suite(), None)),
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

    pub(super) fn seal(
        &mut self,
        packet: &mut Packet<'_>,
        next_header: u8,
        now: u64,
    ) -> Result<(), Reason> {
        match self {
            Self::Agreeing(peer) => peer.seal(packet, next_header, now),
            Self::Standing(standing) => {
                standing.seal(packet, next_header, now).map_err(|error| error.reason().into())
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        packet: &mut Packet<'_>,
        now: u64,
        say: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Reason> {
        match self {
            Self::Agreeing(peer) => peer.hear(packet, now, say),
            Self::Standing(standing) => Ok(Heard::Now(standing.hear(packet, now)?)),
        }
    }

    pub(super) fn tick(&mut self, now: u64, say: &mut Vec<Vec<u8>>) {
        match self {
            Self::Agreeing(peer) => peer.tick(now, say),
            Self::Standing(standing) => standing.tick(now),
        }
    }
}
