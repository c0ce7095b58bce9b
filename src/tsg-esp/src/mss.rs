//! Clamping TCP's maximum segment size in a SYN (RFC 9293 section 3.7.1, RFC 6691), both IP
//! versions.
//!
//! A SYN without the option stays without: its receiver then sends at most 536 bytes (IPv4) or
//! 1,220 (IPv6) a segment, which fits any path this gateway is for, and an option cannot be added
//! without moving the rest.
//!
//! The checksum is updated by RFC 1624. In a packet whose checksum the network card was to fill in,
//! the field holds the sum of the pseudo-header only: [complete](checksum::complete) it first.

use crate::checksum;
use crate::form::Form;
use crate::ip::{Outline, Version, protocol, read_u16, v4, v6};

/// Length of a TCP header without options.
const TCP_HEADER_LEN: usize = 20;

/// The largest segment that fits the path once sealed, without IP or TCP options: what to clamp to.
/// `None` if the path is too narrow for TCP.
pub fn max_mss(path_mtu: u16, version: Version, form: &Form) -> Option<u16> {
    let headers = match version {
        Version::V4 => v4::HEADER_LEN + TCP_HEADER_LEN,
        Version::V6 => v6::HEADER_LEN + TCP_HEADER_LEN,
    };
    form.plain_mtu(version, path_mtu)?.checked_sub(headers as u16).filter(|mss| *mss > 0)
}

/// Lowers the MSS option of a SYN to `max`, if it is higher. Gives the former value if it changed
/// something.
///
/// Anything else than a TCP SYN with such an option is left alone, malformed ones included.
pub fn clamp(packet: &mut [u8], outline: &Outline, max: u16) -> Option<u16> {
    let upper = outline.upper.filter(|upper| upper.proto == protocol::TCP)?;
    if outline.is_later_fragment() {
        return None;
    }
    let tcp = packet.get_mut(upper.offset..outline.total_len)?;
    let at = mss_at(tcp)?;
    let mss = read_u16(tcp, at)?;
    if mss <= max {
        return None;
    }
    let sum = checksum::update_at(read_u16(tcp, field::CHECKSUM)?, at, mss, max);
    tcp[at..at + 2].copy_from_slice(&max.to_be_bytes());
    tcp[field::CHECKSUM..field::CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    Some(mss)
}

mod field {
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const CHECKSUM: usize = 16;
}

/// Where the value of the MSS option lies in the TCP header of a SYN.
fn mss_at(tcp: &[u8]) -> Option<usize> {
    const SYN: u8 = 0x02;
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;
    const MSS_LEN: u8 = 4;
    if tcp.get(field::FLAGS)? & SYN == 0 {
        return None;
    }
    let header_len = usize::from(tcp[field::DATA_OFFSET] >> 4) * 4;
    let header = tcp.get(..header_len)?;
    let mut at = TCP_HEADER_LEN;
    loop {
        match *header.get(at)? {
            END => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = *header.get(at + 1)?;
                if kind == MSS {
                    return (len == MSS_LEN && at + 4 <= header_len).then_some(at + 2);
                }
                if len < 2 {
                    return None;
                }
                at += usize::from(len);
            }
        }
    }
}
