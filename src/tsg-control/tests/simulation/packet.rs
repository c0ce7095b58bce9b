//! What goes over the plant network, sealed or in clear.

use crate::member::Secret;
use crate::services::Topic;

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    /// It was sealed by a gateway that obeys.
    pub(crate) honest: bool,
    /// It comes from a gateway that was thrown out.
    pub(crate) ghost: bool,
    pub(crate) sent: u64,
    /// Tells it from all others.
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) replayed: bool,
    /// The sender was fit to be heard by all when it sent this.
    pub(crate) counts: bool,
    pub(crate) epoch: u64,
    pub(crate) tek: Secret,
    pub(crate) sender: u32,
    pub(crate) pseudo: u32,
    pub(crate) topic: Topic,
    /// Its sender had no numbers left in a newer epoch in force.
    pub(crate) fell_back: bool,
    /// How far its sender may be off in time.
    pub(crate) error: u32,
}

/// A packet in clear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(crate) from: usize,
    pub(crate) topic: Topic,
    /// It was let out by a gateway that obeys, and was fit to be heard by all.
    pub(crate) counts: bool,
}

/// What became of a sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It is authentic, and some policy wants sealed what is in it, or none does.
    Yes {
        prepared: bool,
        /// It is from later than its receiver took it to be.
        later: bool,
        wanted: bool,
    },
    UnknownEpoch,
    WrongKey,
    SenderTooHigh,
    NoTime,
    Over,
    NotFresh,
    Replayed,
}
