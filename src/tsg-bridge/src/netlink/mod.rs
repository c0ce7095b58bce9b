//! Netlink messages (RFC 3549), written and read; and the sockets that carry them.
//!
//! Small on purpose: what the queue, the gate and the link lookup need. Attributes of the kernel are read
//! with bounds checks throughout, since a queue's messages carry bytes from the network.

mod message;
mod socket;
mod sys;

pub use message::{Attributes, Message, Messages, Request};
pub use socket::{Family, Socket};

/// Flags of a request.
pub mod flags {
    /// It is a request.
    pub const REQUEST: u16 = 1;
    /// Answer with an acknowledgement.
    pub const ACK: u16 = 4;
    /// Replace what is there.
    pub const REPLACE: u16 = 0x100;
    /// Fail if it is there.
    pub const EXCL: u16 = 0x200;
    /// All entries of a table.
    pub const DUMP: u16 = 0x300;
    /// Make it if it is not there.
    pub const CREATE: u16 = 0x400;
}
