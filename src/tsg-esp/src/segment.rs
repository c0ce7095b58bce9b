//! Cutting what a sender has left to its network card to cut: segmentation offload (TSO, USO) done by hand.
//!
//! A packet of up to 64 KiB comes with a size; what would have gone over the wire is packets with that much
//! payload each. [`Cut`] writes them one by one, with lengths, sequence numbers, flags, identifications
//! and checksums as the kernel and network cards write them. TCP may be cut smaller than was asked for, datagrams
//! never.
//!
//! Not for: fragments ([`fragment`](crate::fragment)), and what is to become of the pieces.

use crate::buffer::{NoRoom, Packet};
use crate::checksum::Sum;
use crate::ip::{Malformed, Outline, Version, protocol, read_u16, read_u32, v4, v6};
use crate::udp;
use core::ops::Range;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A stretch of a TCP connection.
    Tcp,
    /// Datagrams of equal length, the last one maybe shorter.
    Udp,
}

/// What is still to be done to a packet before it can go over a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum at `start + offset` covers the packet from `start` on, and so far holds the sum
    /// of the pseudo-header only.
    pub checksum: Option<Partial>,
    /// The packet is to be cut into pieces with so many bytes of payload.
    pub cut: Option<(Kind, u16)>,
}

/// A checksum that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Where what it covers begins, counted from the IP header.
    pub start: usize,
    /// Where the field is, counted from there.
    pub offset: usize,
}

pub(crate) mod tcp {
    pub(crate) const HEADER_LEN: usize = 20;
    pub(crate) const SEQUENCE: usize = 4;
    pub(crate) const ACKNOWLEDGEMENT: usize = 8;
    pub(crate) const DATA_OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const CHECKSUM: usize = 16;
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
    pub(crate) const CWR: u8 = 0x80;

    /// Length of the header at the front of `bytes`, if it is all there.
    pub(crate) fn header_len(bytes: &[u8]) -> Option<usize> {
        let len = usize::from(bytes.get(DATA_OFFSET)? >> 4) * 4;
        (len >= HEADER_LEN && len <= bytes.len()).then_some(len)
    }
}

pub(crate) const UDP_LEN: usize = 4;
pub(crate) const UDP_CHECKSUM: usize = 6;

/// A packet with the places where it will be cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'p> {
    source: &'p [u8],
    outline: &'p Outline,
    kind: Kind,
    /// Where the upper layer's header begins.
    upper: usize,
    /// Where the payload begins.
    head: usize,
    size: usize,
    /// UDP's checksum is not to be written: there is none, or nobody looks at it.
    unsummed: bool,
}

impl<'p> Cut<'p> {
    /// Pieces of `source` with `size` bytes of payload each; `outline` is its own. `summed`: its checksum is
    /// one or will be one, also if it is zero now.
    ///
    /// # Errors
    /// [`Malformed`] if it is not a whole packet of that kind with a payload, or `size` is 0.
    pub fn plan(
        source: &'p [u8],
        outline: &'p Outline,
        kind: Kind,
        size: usize,
        summed: bool,
    ) -> Result<Self, Malformed> {
        let upper = outline.upper.filter(|_| outline.fragment.is_none()).ok_or(Malformed)?;
        let bytes = source.get(upper.offset..outline.total_len).ok_or(Malformed)?;
        let (len, unsummed) = match (kind, upper.proto) {
            (Kind::Tcp, protocol::TCP) => (tcp::header_len(bytes).ok_or(Malformed)?, false),
            (Kind::Udp, protocol::UDP) => {
                let checksum = read_u16(bytes, UDP_CHECKSUM).ok_or(Malformed)?;
                (udp::HEADER_LEN, checksum == 0 && !summed)
            }
            _ => return Err(Malformed),
        };
        let head = upper.offset + len;
        if size == 0 || head >= outline.total_len || !outline.describes(source) {
            return Err(Malformed);
        }
        Ok(Self { source, outline, kind, upper: upper.offset, head, size, unsummed })
    }

    /// TCP is cut into pieces of at most `most` bytes, headers included, if what was asked for is longer.
    /// `None` if that leaves no room for a payload.
    pub fn no_longer_than(mut self, most: usize) -> Option<Self> {
        if self.kind == Kind::Tcp {
            self.size = self.size.min(most.checked_sub(self.head)?);
        }
        (self.size > 0).then_some(self)
    }

    /// UDP's checksum is left as it stands in the whole packet, and right for no piece.
    pub const fn unsummed(mut self) -> Self {
        self.unsummed = true;
        self
    }

    /// How many pieces it gives.
    pub const fn count(&self) -> usize {
        (self.outline.total_len - self.head).div_ceil(self.size)
    }

    /// Length of the longest piece.
    pub fn longest(&self) -> usize {
        self.head + self.size.min(self.outline.total_len - self.head)
    }

    /// Writes piece `number` behind the front of `into`, which is empty.
    ///
    /// # Errors
    /// [`NoRoom`] in `into`.
    pub fn write(&self, number: usize, into: &mut Packet<'_>) -> Result<(), NoRoom> {
        let body = self.body(number);
        let len = self.head + body.len();
        into.push_back(len)?;
        let piece = into.bytes_mut();
        piece[..self.head].copy_from_slice(&self.source[..self.head]);
        piece[self.head..].copy_from_slice(&self.source[body.clone()]);
        self.write_ip(piece, number);
        match self.kind {
            Kind::Tcp => self.write_tcp(&mut piece[self.upper..], &body),
            Kind::Udp => self.write_udp(&mut piece[self.upper..]),
        }
        Ok(())
    }

    fn body(&self, number: usize) -> Range<usize> {
        let start = (self.head + number * self.size).min(self.outline.total_len);
        start..(start + self.size).min(self.outline.total_len)
    }

    fn write_ip(&self, piece: &mut [u8], number: usize) {
        let len = piece.len() as u16;
        match self.outline.version {
            Version::V4 => {
                if let Ok(mut header) = v4::Header::new_checked(piece) {
                    header.set_total_len(len);
                    header.set_id(self.outline.id.wrapping_add(number as u16));
                }
            }
            Version::V6 => {
                if let Ok(mut header) = v6::Header::new_checked(piece) {
                    header.set_payload_len(len - v6::HEADER_LEN as u16);
                }
            }
        }
    }

    fn write_tcp(&self, segment: &mut [u8], body: &Range<usize>) {
        let done = (body.start - self.head) as u32;
        let sequence = read_u32(segment, tcp::SEQUENCE).unwrap_or_default().wrapping_add(done);
        segment[tcp::SEQUENCE..][..4].copy_from_slice(&sequence.to_be_bytes());
        if body.start != self.head {
            segment[tcp::FLAGS] &= !tcp::CWR;
        }
        if body.end != self.outline.total_len {
            segment[tcp::FLAGS] &= !(tcp::FIN | tcp::PSH);
        }
        self.write_checksum(segment, tcp::CHECKSUM, protocol::TCP);
    }

    fn write_udp(&self, datagram: &mut [u8]) {
        let len = (datagram.len() as u16).to_be_bytes();
        datagram[UDP_LEN..][..2].copy_from_slice(&len);
        if !self.unsummed {
            self.write_checksum(datagram, UDP_CHECKSUM, protocol::UDP);
        }
    }

    fn write_checksum(&self, bytes: &mut [u8], at: usize, proto: u8) {
        let Outline { src, dst, .. } = *self.outline;
        bytes[at..at + 2].fill(0);
        let mut sum = Sum::pseudo_header(src, dst, proto, bytes.len());
        sum.add(bytes);
        // Zero stands for none in UDP, and both zeros are right in TCP; the kernel leaves TCP's as it is.
        let sum = match (sum.finish(), self.kind) {
            (0, Kind::Udp) => 0xffff,
            (sum, _) => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}
