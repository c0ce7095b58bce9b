//! IPv4 and IPv6 headers (RFC 791, RFC 8200): views, and the bounded walk that says where ESP goes
//! in.
//!
//! [`Outline::parse`] reads a packet once, at the edge; everything else works from the [`Outline`].
//! Not for: reassembly, and not for upper-layer checksums.

pub mod v4;
pub mod v6;

mod emit;
mod outline;
mod quote;
mod upper;

pub(crate) use emit::emit;
pub use outline::{Fragment, Outline, Version};
pub use upper::Upper;

use core::fmt;

/// Protocol and next-header numbers that this crate knows.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// An IPv4 packet.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// An IPv6 packet.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ESP.
    pub const ESP: u8 = 50;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Nothing follows: IPv6, and the dummy packets of ESP.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// "Use for experimentation and testing" (RFC 3692): the default for sealed packets.
    pub const EXPERIMENT: u8 = 253;
}

/// The bytes are not what they should be: too short, or with lengths that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed packet")
    }
}

impl core::error::Error for Malformed {}

/// The big-endian 16-bit number at `at`, if it is there.
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The big-endian 32-bit number at `at`, if it is there.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The traffic class of the packet at the front of `bytes`: DSCP and ECN.
///
/// # Errors
///
/// [`Malformed`] if it is neither IPv4 nor IPv6.
pub fn traffic_class(bytes: &[u8]) -> Result<u8, Malformed> {
    match *bytes {
        [first, second, ..] if first >> 4 == 4 => Ok(second),
        [first, second, ..] if first >> 4 == 6 => Ok(first << 4 | second >> 4),
        _ => Err(Malformed),
    }
}

/// Sets the traffic class of the packet at the front of `bytes`.
///
/// # Errors
///
/// [`Malformed`] if it does not begin with a header of IPv4 or IPv6.
pub fn set_traffic_class(bytes: &mut [u8], class: u8) -> Result<(), Malformed> {
    if bytes.first().is_some_and(|first| first >> 4 == 4) {
        v4::Header::new_checked(bytes)?.set_traffic_class(class);
        return Ok(());
    }
    v6::Header::new_checked(&mut *bytes)?;
    bytes[0] = 0x60 | class >> 4;
    bytes[1] = class << 4 | bytes[1] & 0x0f;
    Ok(())
}

/// TTL or hop limit of the packet at the front of `bytes`.
///
/// # Errors
///
/// [`Malformed`] if it does not begin with a header of IPv4 or IPv6.
pub fn hop_limit(bytes: &[u8]) -> Result<u8, Malformed> {
    if bytes.first().is_some_and(|first| first >> 4 == 4) {
        return Ok(v4::Header::new_checked(bytes)?.ttl());
    }
    Ok(v6::Header::new_checked(bytes)?.hop_limit())
}

/// Sets TTL or hop limit of the packet at the front of `bytes`.
///
/// # Errors
///
/// [`Malformed`] if it does not begin with a header of IPv4 or IPv6.
pub fn set_hop_limit(bytes: &mut [u8], hops: u8) -> Result<(), Malformed> {
    if bytes.first().is_some_and(|first| first >> 4 == 4) {
        v4::Header::new_checked(bytes)?.set_ttl(hops);
    } else {
        v6::Header::new_checked(bytes)?.set_hop_limit(hops);
    }
    Ok(())
}
