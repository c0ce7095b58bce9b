//! Why a packet was dropped: one counter each.
//!
//! Only what the packet itself shows. Reasons of the policy are the control crate's.

use core::fmt;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Not IP, or lengths that contradict each other, or too short to be a sealed packet.
    Malformed,
    /// A sealed packet arrived in fragments: something on the path cut it. Set `path_mtu`.
    SealedFragment,
    /// The SPI's epoch is not one of those this gateway holds.
    UnknownEpoch,
    /// The SPI's sender number is above all that were announced, or the budget for unknown senders
    /// is spent.
    UnknownSender,
    /// A packet with this sequence number was opened before.
    Replayed,
    /// The sequence number is behind the replay window.
    TooOld,
    /// The pseudo-time is too far in the past, or before this gateway can know what it has seen.
    Stale,
    /// The pseudo-time is too far in the future.
    Future,
    /// The ICV is wrong: another key, or a changed packet.
    Unauthentic,
    /// The padding is not 1, 2, 3…
    WrongPadding,
    /// The inside of an authentic packet cannot be restored to an IP packet.
    BadInner,
    /// A routing header or a source-route option.
    SourceRoute,
    /// No sequence numbers left for this sender.
    Exhausted,
    /// Longer than an IP packet can be, once sealed.
    TooLong,
    /// The buffer has no room for what sealing adds.
    NoRoom,
}

impl DropReason {
    /// Every reason, in the order of declaration; `reason as usize` is its index here.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::SealedFragment,
        Self::UnknownEpoch,
        Self::UnknownSender,
        Self::Replayed,
        Self::TooOld,
        Self::Stale,
        Self::Future,
        Self::Unauthentic,
        Self::WrongPadding,
        Self::BadInner,
        Self::SourceRoute,
        Self::Exhausted,
        Self::TooLong,
        Self::NoRoom,
    ];

    /// The name of its counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SealedFragment => "sealed_fragment",
            Self::UnknownEpoch => "unknown_epoch",
            Self::UnknownSender => "unknown_sender",
            Self::Replayed => "replayed",
            Self::TooOld => "too_old",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::Unauthentic => "unauthentic",
            Self::WrongPadding => "wrong_padding",
            Self::BadInner => "bad_inner",
            Self::SourceRoute => "source_route",
            Self::Exhausted => "exhausted",
            Self::TooLong => "too_long",
            Self::NoRoom => "no_room",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_names_differ() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(DropReason::ALL.iter().filter(|r| r.as_str() == reason.as_str()).count() == 1);
        }
    }
}
