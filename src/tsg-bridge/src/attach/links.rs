//! What the kernel knows of an interface.

use crate::netlink::{Attributes, Family, Request, Socket, flags};

const GET_LINK: u16 = 18;
/// The length of `struct ifinfomsg`.
const FIXED: usize = 16;
const ADDRESS: u16 = 1;
const PEER: u16 = 5;
const MASTER: u16 = 10;
const PEER_IS_ELSEWHERE: u16 = 37;

/// An interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its Ethernet address.
    pub(super) address: Option<[u8; 6]>,
    /// The number of the bridge that it is in; 0 if it is in none.
    pub(super) master: u32,
    /// The number of the other end of a veth device, if that is in this namespace too; else 0.
    pub(super) peer: u32,
}

/// Asks for interface `ifindex`; `None` if there is none.
pub(super) fn link(ifindex: u32) -> Option<Link> {
    let mut link = Link::default();
    ask(ifindex, |body| link = Link::parse(body))?;
    Some(link)
}

/// Asks for interface `ifindex`, and reads the body of the kernel's answer; `None` if there is none.
pub(crate) fn ask(ifindex: u32, mut read: impl FnMut(&[u8])) -> Option<()> {
    if ifindex == 0 {
        return None;
    }
    // `struct ifinfomsg`.
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let mut request = Request::new(GET_LINK, flags::REQUEST | flags::ACK, &fixed);
    Socket::open(Family::Route).ok()?.query(&mut request, |_, body| read(body)).ok()
}

/// What is in such an answer.
pub(crate) fn attributes(body: &[u8]) -> Attributes<'_> {
    Attributes(body.get(FIXED..).unwrap_or_default())
}

impl Link {
    /// Reads it from the body of the kernel's answer.
    pub(super) fn parse(body: &[u8]) -> Self {
        let attributes = attributes(body);
        let number = |kind| {
            let bytes = attributes.find(kind).and_then(|number| number.first_chunk::<4>());
            bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        let elsewhere = attributes.find(PEER_IS_ELSEWHERE).is_some();
        Self {
            address: attributes.find(ADDRESS).and_then(|mac| mac.try_into().ok()),
            master: number(MASTER),
            peer: if elsewhere { 0 } else { number(PEER) },
        }
    }
}
