//! What the pipeline counts: packets by what became of them, drops by their reason.

use std::collections::BTreeMap;
use tsg_esp::DropReason;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not an IP packet that can be read, or not of the version that its frame announces.
    Malformed,
    /// A source-route option or a routing header.
    SourceRoute,
    /// The policy says drop.
    Policy,
    /// There is no key, and `fail` is closed.
    NoKey,
    /// It came in clear where the policy wants it sealed.
    InClear,
    /// It was sealed, but what was inside is not for sealing.
    InsidePolicy,
    /// An ICMP error about a sealed packet: it could be forged.
    AboutSealed,
    /// An ICMP error that quotes what cannot be read.
    BadQuote,
    /// It does not fit once sealed, and its sender was told so.
    TooBig,
    /// It does not fit once sealed, and could neither be cut nor answered, or was answered enough.
    TooBigSilent,
    /// There were more pieces than could be sent at once.
    OutboxFull,
    /// Keys for unknown senders were derived too often lately.
    Budget,
    /// What the packet itself is refused for.
    Packet(DropReason),
}

impl Reason {
    const OWN: [(Self, &'static str); 12] = [
        (Self::Malformed, "malformed_ip"),
        (Self::SourceRoute, "source_route"),
        (Self::Policy, "policy"),
        (Self::NoKey, "no_key"),
        (Self::InClear, "in_clear"),
        (Self::InsidePolicy, "inside_policy"),
        (Self::AboutSealed, "icmp_about_sealed"),
        (Self::BadQuote, "icmp_bad_quote"),
        (Self::TooBig, "too_big"),
        (Self::TooBigSilent, "too_big_silent"),
        (Self::OutboxFull, "outbox_full"),
        (Self::Budget, "budget"),
    ];

    fn index(self) -> usize {
        if let Self::Packet(reason) = self {
            let at = DropReason::ALL.iter().position(|&known| known == reason);
            return Self::OWN.len() + at.unwrap_or(0);
        }
        Self::OWN.iter().position(|&(known, _)| known == self).unwrap_or(0)
    }
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        Self::Packet(reason)
    }
}

const REASONS: usize = Reason::OWN.len() + DropReason::ALL.len();

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sealed, pieces counted once each.
    pub sealed: u64,
    /// Packets opened.
    pub opened: u64,
    /// Bytes of those that were sealed, as the machines had sent them: whole IP packets.
    pub sealed_bytes: u64,
    /// Bytes of those that were opened, likewise.
    pub opened_bytes: u64,
    /// Packets that passed in clear, as the policy wants.
    pub bypassed: u64,
    /// Sealed packets that passed unopened: for or from a gateway in series.
    pub in_series: u64,
    /// Packets that a rule wants sealed and that went in clear: in `learn`, `receive-only`,
    /// `migrate`, or for want of a key with `fail` open.
    pub in_clear: u64,
    /// Packets sealed for machines that are behind no gateway as far as the map knows.
    pub unreached: u64,
    /// Packets cut into pieces.
    pub fragmented: u64,
    /// TCP connections whose segment size was lowered.
    pub clamped: u64,
    /// Paths that were said to take less than was known.
    pub path_mtu_lowered: u64,
    /// Dummy packets opened, which bring nothing but the time.
    pub time_heard: u64,
    /// Dummy packets sent to gateways that do not know the time.
    pub time_told: u64,
    drops: [u64; REASONS],
}

impl Counters {
    pub(crate) fn refuse(&mut self, reason: Reason) {
        if let Some(count) = self.drops.get_mut(reason.index()) {
            *count += 1;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sealed += other.sealed;
        self.opened += other.opened;
        self.sealed_bytes += other.sealed_bytes;
        self.opened_bytes += other.opened_bytes;
        self.bypassed += other.bypassed;
        self.in_series += other.in_series;
        self.in_clear += other.in_clear;
        self.unreached += other.unreached;
        self.fragmented += other.fragmented;
        self.clamped += other.clamped;
        self.path_mtu_lowered += other.path_mtu_lowered;
        self.time_heard += other.time_heard;
        self.time_told += other.time_told;
        for (sum, count) in self.drops.iter_mut().zip(&other.drops) {
            *sum += count;
        }
    }

    /// How often packets were dropped for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or(0)
    }

    /// All counts by name; drops as `drop_…`.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let named = [
            ("sealed", self.sealed),
            ("opened", self.opened),
            ("sealed_bytes", self.sealed_bytes),
            ("opened_bytes", self.opened_bytes),
            ("bypassed", self.bypassed),
            ("in_series", self.in_series),
            ("in_clear", self.in_clear),
            ("unreached", self.unreached),
            ("fragmented", self.fragmented),
            ("clamped", self.clamped),
            ("path_mtu_lowered", self.path_mtu_lowered),
            ("time_heard", self.time_heard),
            ("time_told", self.time_told),
        ];
        let own = Reason::OWN.iter().map(|&(reason, name)| (name, self.dropped(reason)));
        let packet = DropReason::ALL
            .iter()
            .map(|&reason| (reason.as_str(), self.dropped(Reason::Packet(reason))));
        let mut counts: BTreeMap<String, u64> =
            named.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        // Two reasons may share a name: the same fault found on different floors.
        for (name, count) in own.chain(packet) {
            *counts.entry(format!("drop_{name}")).or_default() += count;
        }
        counts
    }
}
