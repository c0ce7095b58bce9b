//! Doors for the fuzzers (tests/fuzz), and in no other build.

use super::ethernet::{Header, LONGEST};
use super::neighbours::{Neighbours, addresses};
use super::nfqueue::{queued, take_inner_tag};
use super::stamp::generation_in;
use super::{Link, Side, Tag, ingress, links, listener};
use core::net::IpAddr;
use core::ops::Range;

/// A frame's link, the EtherType behind its tags, and its header as we would write it.
pub fn header(frame: &[u8]) -> Option<(Link, u16, Vec<u8>)> {
    let header = Header::parse(frame)?;
    let mut room = [0; LONGEST];
    let len = header.link.emit(header.ether_type, &mut room);
    assert_eq!(len, header.len, "a header has the length that was read");
    Some((header.link, header.ether_type, room[..len].to_vec()))
}

/// What a frame at a port tells about who is where, from whose tag `outer` was taken off: addresses,
/// and the links over which the table of neighbours would answer them.
pub fn heard(frame: &[u8], outer: Option<Tag>, from: Side) -> Vec<(IpAddr, Option<Link>)> {
    let mut known = Neighbours::default();
    let mut told = Vec::new();
    listener::heard(frame, outer, from, &mut |address, place| {
        known.hear(address, place);
        told.push((address, place));
    });
    let link = |&(address, place): &(IpAddr, super::neighbours::Place)| {
        let other = told[0].0;
        let across = known.link_across((other, address), from, place.vlans.unwrap_or_default());
        (address, across.or_else(|| known.link(address, place.mac, other)))
    };
    told.iter().map(link).collect()
}

/// A packet that the kernel has queued.
#[derive(Debug)]
pub struct Queued {
    /// The EtherType behind its tags.
    pub ether_type: u16,
    /// Its link header.
    pub link: Option<Link>,
    /// The inner one of two tags.
    pub inner: Option<Tag>,
    /// Where its bytes are in the buffer.
    pub payload: Range<usize>,
    /// Its source and destination.
    pub ends: Option<(IpAddr, IpAddr)>,
}

/// Reads the datagram that lies at `range` as the queue's thread does.
pub fn read_queue(buffer: &mut [u8], range: Range<usize>) -> Option<Queued> {
    let (queued, _) = queued(buffer, range);
    let mut queued = queued?;
    let inner = take_inner_tag(buffer, &mut queued);
    let payload = queued.payload.clone();
    let ends = addresses(&buffer[payload.clone()]);
    Some(Queued { ether_type: queued.ether_type, link: queued.link, inner, payload, ends })
}

/// Reads the kernel's answers about interfaces, forwarding tables and rules from this body of a message.
pub fn answers(body: &[u8]) -> (Option<[u8; 6]>, Option<([u8; 6], u32)>, Option<u32>) {
    (links::Link::parse(body).address, ingress::entry(body), generation_in(body))
}
