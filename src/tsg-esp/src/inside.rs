//! What lies in ESP that comes without the IP header in front of it: a whole packet (tunnel mode, RFC 4303 section
//! 3.1.2), or what follows a packet's header (transport mode, section 3.1.1).
//!
//! Each mode has two halves. One makes a payload of a packet, for
//! [`Sender::seal_payload`](crate::seal::Sender::seal_payload); the other makes a packet of the payload that
//! [`Receiver::open_payload`](crate::open::Receiver::open_payload) has left. Not for: which packets a mode is for.

use crate::DropReason;
use crate::buffer::Packet;
use crate::ip::{Malformed, Outline, Version, emit, protocol, set_hop_limit, set_traffic_class};
use crate::ip::{v4, v6};
use core::net::IpAddr;

/// Tunnel mode: the payload is all of `packet`, whose outline that is. Bytes behind its end are trimmed. Gives the next
/// header.
///
/// # Errors
/// The outline is not the packet's.
pub fn whole(packet: &mut Packet<'_>, outline: &Outline) -> Result<u8, Malformed> {
    if !outline.describes(packet.bytes()) {
        return Err(Malformed);
    }
    packet.truncate(outline.total_len);
    Ok(match outline.version {
        Version::V4 => protocol::IPV4,
        Version::V6 => protocol::IPV6,
    })
}

/// Tunnel mode: the outline of the packet that the payload is. What is behind its end is padding that hides its length
/// (RFC 4303 section 2.7), and is trimmed.
///
/// # Errors
/// [`DropReason::BadInner`] if it is no IP packet, or not of the version that the next header says.
pub fn packet_of(packet: &mut Packet<'_>, next_header: u8) -> Result<Outline, DropReason> {
    let version = match next_header {
        protocol::IPV4 => Version::V4,
        protocol::IPV6 => Version::V6,
        _ => return Err(DropReason::BadInner),
    };
    let outline = Outline::parse(packet.bytes()).map_err(|Malformed| DropReason::BadInner)?;
    if outline.version != version {
        return Err(DropReason::BadInner);
    }
    packet.truncate(outline.total_len);
    Ok(outline)
}

/// Transport mode: the payload is what follows the header, which is taken off; bytes behind the packet's end are
/// trimmed. Gives the next header.
///
/// # Errors
/// The outline is not the packet's. Or the packet is one that its payload and a [`Visible`] header do not bring back: a
/// fragment, or one with IPv4 options, hop-by-hop options or a routing header.
pub fn behind_header(packet: &mut Packet<'_>, outline: &Outline) -> Result<u8, Malformed> {
    let plain = outline.header_len == header_len(outline.version);
    if !plain || outline.fragment.is_some() || outline.source_route {
        return Err(Malformed);
    }
    if !outline.describes(packet.bytes()) || !may_follow(outline.next_header) {
        return Err(Malformed);
    }
    packet.truncate(outline.total_len);
    packet.pull_front(outline.header_len).map_err(|_| Malformed)?;
    Ok(outline.next_header)
}

/// Transport mode: what of a packet's header is to be seen on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same version.
    pub dst: IpAddr,
    /// Traffic class: DSCP and ECN.
    pub class: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Identification of IPv4, which is not the one that was sent.
    pub id: u16,
}

impl Visible {
    /// The longest header.
    pub const MAX_LEN: usize = v6::HEADER_LEN;

    /// Length of its header: one without options.
    pub const fn header_len(&self) -> usize {
        match self.src {
            IpAddr::V4(_) => v4::HEADER_LEN,
            IpAddr::V6(_) => v6::HEADER_LEN,
        }
    }

    /// Writes the header of the packet with that payload into the front of `packet`, where the payload lies behind
    /// [`header_len`](Self::header_len) bytes.
    ///
    /// # Errors
    /// [`DropReason::BadInner`] if no packet has such a payload, [`DropReason::TooLong`] if it is too long for one.
    pub fn emit(&self, packet: &mut [u8], next_header: u8) -> Result<(), DropReason> {
        if !may_follow(next_header) {
            return Err(DropReason::BadInner);
        }
        let (len, total_len) = (self.header_len(), packet.len());
        let header = packet.get_mut(..len).ok_or(DropReason::BadInner)?;
        if u16::try_from(total_len).is_err() {
            return Err(DropReason::TooLong);
        }
        let Self { src, dst, class, hops, id } = *self;
        emit(header, total_len, next_header, src, dst)
            .and_then(|()| set_traffic_class(header, class))
            .and_then(|()| set_hop_limit(header, hops))
            .map_err(|Malformed| DropReason::BadInner)?;
        if let Ok(mut header) = v4::Header::new_checked(header) {
            header.set_id(id);
        }
        Ok(())
    }
}

const fn header_len(version: Version) -> usize {
    match version {
        Version::V4 => v4::HEADER_LEN,
        Version::V6 => v6::HEADER_LEN,
    }
}

/// What ESP in transport mode may carry: neither what belongs in front of it, nor what says that there is nothing.
const fn may_follow(next_header: u8) -> bool {
    !matches!(
        next_header,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::NO_NEXT_HEADER
    )
}
