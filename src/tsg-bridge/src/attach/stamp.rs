//! A cheap answer to "has somebody touched the rules?".

use super::sys;
use crate::netlink::{Attributes, Family, Request, Socket, flags};

/// NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN.
const GET_GENERATION: u16 = 10 << 8 | 16;
const GENERATION: u16 = 1;

/// Changes whenever rules do: nftables counts its transactions, and of the older tables the size is
/// looked at. What is not in this kernel is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    generation: Option<u32>,
    mangle: [Option<(u32, u32)>; 2],
}

impl Stamp {
    pub(super) fn read() -> Self {
        Self {
            generation: generation(),
            mangle: [sys::table_size(false, "mangle"), sys::table_size(true, "mangle")],
        }
    }

    /// Between `before` and this one there was a single transaction of nftables.
    pub(super) fn follows(&self, before: &Self) -> bool {
        let next = before.generation.map(|number| number.wrapping_add(1));
        next.is_some() && self.generation == next
    }
}

/// How many transactions nftables has seen.
pub(crate) fn generation() -> Option<u32> {
    let mut socket = Socket::open(Family::Netfilter).ok()?;
    let mut request = Request::new(GET_GENERATION, flags::REQUEST | flags::ACK, &[0; 4]);
    let mut number = None;
    socket.query(&mut request, |_, body| number = generation_in(body)).ok()?;
    number
}

/// Reads it from the body of the kernel's answer.
pub(super) fn generation_in(body: &[u8]) -> Option<u32> {
    let value = Attributes(body.get(4..)?).find(GENERATION)?;
    value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
