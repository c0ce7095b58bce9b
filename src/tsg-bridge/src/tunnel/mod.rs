//! The tunnel: packets in ESP between two hosts that have a key in common, whole ones or, in transport mode, those that
//! the two have for each other.

mod agreement;
mod associations;
mod device;
mod ends;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod hello;
mod key;
mod mode;
mod moment;
mod opening;
mod other;
mod path;
mod peer;
mod run;
mod settings;
mod shared;
mod standing;
mod status;
mod sys;
mod transport;
mod upkeep;
mod way;
mod wire;
mod worker;
mod xfrm;

pub use key::Key;
pub use run::run;
pub use settings::{Keys, Static, Tunnel};
pub use xfrm::print as print_xfrm;

/// Threads that carry packets, each with an association of its own in each direction. A power of two.
const MOST_WORKERS: u32 = 16;

/// One half of keys to come: the public half of a pair that is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Public([u8; 32]);

impl Public {
    /// No half.
    const NONE: Self = Self([0; 32]);
}
