//! A view of an IPv6 header (RFC 8200 section 3) and of the fragment header (section 4.5).
//!
//! Not for: the walk along the extension headers, which is
//! [`Outline::parse`](super::Outline::parse).

use core::net::Ipv6Addr;

use super::{Malformed, protocol, read_u16, read_u32};

mod field {
    use core::ops::Range;

    pub(super) const PAYLOAD_LEN: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;

/// An IPv6 header, with or without what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Header<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Header<T> {
    /// A view of `bytes`, which begin with the header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the version is not 6 or there are fewer than 40 bytes.
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let view = bytes.as_ref();
        if view.len() < HEADER_LEN || view[0] >> 4 != 6 {
            return Err(Malformed);
        }
        Ok(Self { bytes })
    }

    /// Length of everything behind the fixed header, in bytes.
    pub fn payload_len(&self) -> u16 {
        let bytes = &self.bytes.as_ref()[field::PAYLOAD_LEN];
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// What follows the fixed header.
    pub fn next_header(&self) -> u8 {
        self.bytes.as_ref()[field::NEXT_HEADER]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.bytes.as_ref()[field::HOP_LIMIT]
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        self.address_at(field::SOURCE)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        self.address_at(field::DESTINATION)
    }

    fn address_at(&self, field: core::ops::Range<usize>) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.bytes.as_ref()[field]);
        Ipv6Addr::from(octets)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Header<T> {
    /// Sets the payload length.
    pub fn set_payload_len(&mut self, len: u16) {
        self.bytes.as_mut()[field::PAYLOAD_LEN].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, hops: u8) {
        self.bytes.as_mut()[field::HOP_LIMIT] = hops;
    }

    /// Sets what follows the fixed header, or the hop-by-hop options if there are any.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there should be hop-by-hop options and the bytes end before them.
    pub fn set_last_next_header(&mut self, next_header: u8) -> Result<(), Malformed> {
        let at = if self.next_header() == protocol::HOP_BY_HOP {
            HEADER_LEN
        } else {
            field::NEXT_HEADER
        };
        *self.bytes.as_mut().get_mut(at).ok_or(Malformed)? = next_header;
        Ok(())
    }
}

/// The fragment header; sealed IPv4 fragments carry it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// What the fragmented part begins with.
    pub next_header: u8,
    /// Where the fragment belongs, in bytes: a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Identification; for IPv4 the upper 16 bits are zero.
    pub id: u32,
}

impl FragmentHeader {
    /// Length of the header.
    pub const LEN: usize = 8;

    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there are fewer than 8 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = read_u16(bytes, 2).ok_or(Malformed)?;
        let id = read_u32(bytes, 4).ok_or(Malformed)?;
        Ok(Self { next_header: bytes[0], offset: word & !7, more: word & 1 != 0, id })
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let [offset_hi, offset_lo] = (self.offset & !7 | u16::from(self.more)).to_be_bytes();
        let [a, b, c, d] = self.id.to_be_bytes();
        [self.next_header, 0, offset_hi, offset_lo, a, b, c, d]
    }
}
