//! The policy as netfilter text: what stays in the kernel, what goes to the daemon, what goes nowhere.
//!
//! The daemon's matcher is the truth; the rules only spare it what surely passes or surely is dropped. A
//! packet takes *passes*: first each policy's `drop` rules for the packet and for the packet with both ends
//! swapped, then the same for `encrypt`; each pass is a chain (`passes.rs`), and what cannot be told of a packet
//! counts as matching (DESIGN section 6). Text is made by pure functions, loaded by [`crate::attach`].
//!
//! Names from outside never appear in it: rules are told apart by number, ports are checked
//! by [`Ports::check`](crate::attach::Ports::check).

pub(crate) mod always;
#[cfg(test)]
pub(crate) mod frames;
mod iptables;
mod nft;
mod passes;
mod plan;
#[cfg(test)]
mod tests;

pub use always::always_passes;
pub use iptables::{Existing, IpVersion, is_first, restore_text, rules_in, withdraw_text};
pub use nft::{BoxPort, Hooks, bridge_text, netdev_text, table_name, withdraw_table};
pub use plan::Plan;

/// What the queue rules need to know of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Number of the first.
    pub first: u16,
    /// How many; at least one.
    pub count: u16,
}

impl Queues {
    pub(crate) const fn last(self) -> u16 {
        self.first + self.count.saturating_sub(1)
    }
}
