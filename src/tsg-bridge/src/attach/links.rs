//! What the kernel knows of an interface.

use crate::netlink::{Attributes, Family, Request, Socket, flags};

const GET_LINK: u16 = 18;
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
    if ifindex == 0 {
        return None;
    }
    // `struct ifinfomsg`.
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let mut request = Request::new(GET_LINK, flags::REQUEST | flags::ACK, &fixed);
    let mut link = Link::default();
    let read = |_: u16, body: &[u8]| link = Link::parse(body);
    Socket::open(Family::Route).ok()?.query(&mut request, read).ok()?;
    Some(link)
}

impl Link {
    /// Reads it from the body of the kernel's answer.
    pub(super) fn parse(body: &[u8]) -> Self {
        let attributes = Attributes(body.get(16..).unwrap_or_default());
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
