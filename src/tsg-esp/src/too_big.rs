//! The ICMP message for a packet that does not fit and may not be cut: "fragmentation needed" (RFC
//! 792, RFC 1191 section 4) and "packet too big" (RFC 4443 section 3.2).
//!
//! [`answer`] goes to the packet's source, from the packet's destination: the gateway has no address of its
//! own. [`told`] reads what somebody on the path says about a sealed packet. Not for: the limit on how many are sent, which is the caller's (RFC 4443 section 2.4 f asks
//! for one).

use core::net::IpAddr;

use crate::buffer::{NoRoom, Packet};
use crate::checksum::Sum;
use crate::esp;
use crate::form::Form;
use crate::ip::{self, Malformed, Outline, Version, protocol, read_u16, read_u32, v4, v6};
use crate::spi::Spi;

/// The longest message: the minimum that every IPv6 path carries, and RFC 1812's limit for IPv4.
pub const MAX_LEN: usize = V6_MAX_LEN;

const V4_MAX_LEN: usize = 576;
const V6_MAX_LEN: usize = 1280;
const ICMP_HEADER_LEN: usize = 8;

/// The least MTU that hosts believe: RFC 791 and RFC 8200 section 5.
const V4_MIN_MTU: u16 = 68;
const V6_MIN_MTU: u16 = 1280;

/// What such a message says that somebody on the path sends about a sealed packet. Anybody there can: it quotes
/// what goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where the sealed packet was going.
    pub dst: IpAddr,
    /// What the path takes. A router from before RFC 1191 says 0.
    pub mtu: u16,
    /// Who sealed it.
    pub spi: Spi,
}

/// Reads such a message about a packet sealed in this form; `None` if it is anything else, or does not quote
/// enough to tell who sealed it.
pub fn told(packet: &[u8], outline: &Outline, form: &Form) -> Option<Told> {
    const QUOTE_AT: usize = 8;
    let upper = outline.upper?;
    let icmp = packet.get(upper.offset..outline.total_len)?;
    let mtu = match (outline.version, icmp.first_chunk()?) {
        (Version::V4, [3, 4]) => read_u16(icmp, 6)?,
        (Version::V6, [2, 0]) => u16::try_from(read_u32(icmp, 4)?).unwrap_or(u16::MAX),
        (Version::V4 | Version::V6, _) => return None,
    };
    let quoted = outline.quoted(packet).ok()??;
    if !form.is_sealed(&quoted) {
        return None;
    }
    let udp_len = form.front_len() - esp::HEADER_LEN;
    let spi = read_u32(icmp, QUOTE_AT + quoted.header_len + udp_len)?;
    Some(Told { dst: quoted.dst, mtu, spi: Spi::from_wire(spi)? })
}

/// Why a packet gets no answer (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section
/// 2.4 e).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// It is an ICMP error, or cannot be read far enough to know that it is not.
    Error,
    /// It is a fragment other than the first.
    LaterFragment,
    /// Its source is not one host, or its destination cannot be a source.
    Address,
    /// The MTU is less than hosts believe: 68 for IPv4, 1,280 for IPv6. Cut the packet instead.
    MtuTooSmall,
    /// The output buffer is too short, or outline and packet do not belong together.
    NoRoom,
}

/// Writes the answer to `packet` at the front of `out`, whose length becomes the answer's. `mtu` is
/// the longest plain packet that fits, see [`Form::plain_mtu`](crate::form::Form::plain_mtu).
///
/// A caller that knows that the packet came as a link-layer broadcast or multicast must not answer
/// it.
///
/// # Errors
///
/// See [`Unanswerable`].
pub fn answer(
    packet: &[u8],
    outline: &Outline,
    mtu: u16,
    out: &mut Packet<'_>,
) -> Result<(), Unanswerable> {
    check(outline, mtu)?;
    let (header_len, max_len) = match outline.version {
        Version::V4 => (v4::HEADER_LEN, V4_MAX_LEN),
        Version::V6 => (v6::HEADER_LEN, V6_MAX_LEN),
    };
    let quote_len = outline.total_len.min(max_len - header_len - ICMP_HEADER_LEN);
    let quote = packet.get(..quote_len).ok_or(Unanswerable::NoRoom)?;
    let total_len = header_len + ICMP_HEADER_LEN + quote_len;
    out.truncate(0);
    out.push_back(total_len).map_err(|NoRoom| Unanswerable::NoRoom)?;

    let (header, icmp) = out.bytes_mut().split_at_mut(header_len);
    let protocol = match outline.version {
        Version::V4 => protocol::ICMP,
        Version::V6 => protocol::ICMPV6,
    };
    ip::emit(header, total_len, protocol, outline.dst, outline.src)
        .map_err(|Malformed| Unanswerable::Address)?;
    write_icmp(icmp, quote, outline, mtu);
    Ok(())
}

fn check(outline: &Outline, mtu: u16) -> Result<(), Unanswerable> {
    if outline.is_later_fragment() {
        return Err(Unanswerable::LaterFragment);
    }
    if outline.upper.is_none() || outline.is_icmp_error() {
        return Err(Unanswerable::Error);
    }
    if !is_one_host(outline.src) || !is_one_host(outline.dst) {
        return Err(Unanswerable::Address);
    }
    let least = match outline.version {
        Version::V4 => V4_MIN_MTU,
        Version::V6 => V6_MIN_MTU,
    };
    if mtu < least { Err(Unanswerable::MtuTooSmall) } else { Ok(()) }
}

fn is_one_host(address: IpAddr) -> bool {
    match address {
        // 240.0.0.0/4 includes the limited broadcast address.
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && first < 224 && !v4.is_loopback()
        }
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified() && !v6.is_loopback(),
    }
}

fn write_icmp(icmp: &mut [u8], quote: &[u8], outline: &Outline, mtu: u16) {
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    const V6_TOO_BIG: u8 = 2;
    let [mtu_hi, mtu_lo] = mtu.to_be_bytes();
    let (kind, code) = match outline.version {
        Version::V4 => (UNREACHABLE, FRAGMENTATION_NEEDED),
        Version::V6 => (V6_TOO_BIG, 0),
    };
    icmp[..ICMP_HEADER_LEN].copy_from_slice(&[kind, code, 0, 0, 0, 0, mtu_hi, mtu_lo]);
    icmp[ICMP_HEADER_LEN..].copy_from_slice(quote);
    let mut sum = match outline.version {
        Version::V4 => Sum::new(),
        Version::V6 => Sum::pseudo_header(outline.dst, outline.src, protocol::ICMPV6, icmp.len()),
    };
    sum.add(icmp);
    icmp[2..4].copy_from_slice(&sum.finish().to_be_bytes());
}
