//! How the data path gets at packets: what crosses the bridge between the LAN and the WAN ports and is
//! matched by a rule comes to a [`Handler`], and what the handler makes of it goes on to the other side.
//!
//! Three kinds of attach (DESIGN section 7) behind one interface: a queue from nftables' bridge family, a queue
//! from iptables with br_netfilter, and an ingress hook on each port that takes frames out to a TAP.
//! [`probe()`] tells which of them this kernel can, [`start`] starts one, and [`Running`] is the handle on it:
//! its rules, its gate, its counters.
//!
//! Not here: what the rules say ([`crate::rules`]), the gate ([`crate::gate`]), and what is done to a packet.

mod batch;
mod counters;
mod ethernet;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod ingress;
mod keeper;
mod lately;
pub(crate) mod links;
mod listener;
mod neighbours;
mod nfqueue;
mod outbox;
mod ports;
mod probe;
mod programs;
mod running;
mod sockets;
#[cfg(test)]
mod sorting;
mod stamp;
mod sys;
mod sysctl;
pub(crate) mod virtio;

pub(crate) use batch::{Batch, Exit, LARGEST, To};
pub use counters::Counters;
pub use ethernet::{Link, Tag, Vlans};
pub use frame::{Frame, Handler, Side, Verdict};
pub use listener::Machine;
pub use outbox::{Full, Outbox};
pub use ports::Ports;
pub use probe::{Finding, Probe, probe};
pub(crate) use programs::run as run_program;
pub use running::{Handlers, Running, Status, Wire, clear, connect, remove, start};
pub(crate) use stamp::generation as nft_generation;
pub(crate) use sys::{FilterStep, attach_filter, send_all, sleeps_exactly};
pub use sys::{MARK, MARK_MASK};

/// A way to get at packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `queue` in a forward chain of nftables' bridge family.
    NfqueueNft,
    /// `-j NFQUEUE` of iptables and ip6tables, with br_netfilter.
    NfqueueIptables,
    /// An ingress hook on each port and `fwd to` a TAP.
    Ingress,
}

impl Kind {
    /// All kinds, in the order in which `auto` prefers them.
    pub const ALL: [Self; 3] = [Self::NfqueueNft, Self::NfqueueIptables, Self::Ingress];

    /// The kind's name in UCI and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NfqueueNft => "nfqueue-nft",
            Self::NfqueueIptables => "nfqueue-iptables",
            Self::Ingress => "ingress",
        }
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
