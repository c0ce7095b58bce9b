//! Joining packets that follow each other in a flow into one that is cut again by the kernel or a network
//! card: what [`segment`](crate::segment) does, backwards.
//!
//! Only what comes out again byte for byte is joined: no hole, no flag but ACK and a last PSH, the same options,
//! addresses, TTL, window and acknowledgement, identifications that count up, and checksums that are right. What
//! is joined leaves its checksum to whoever cuts it.
//!
//! [`Shape::of`] tells whether a packet may be part of something at all, [`Joined::new`] begins with one,
//! [`Joined::add`] takes the next. The packets' bytes stay with the caller, who hands them in again. Not for:
//! deciding when to wait for more.

use crate::checksum::{self, Sum};
use crate::ip::{Malformed, Version, protocol, read_u16, read_u32, v4, v6};
use crate::segment::{Kind, Offload, Partial, UDP_CHECKSUM, UDP_LEN, tcp};
use crate::udp;
use core::net::IpAddr;
use core::ops::Range;

/// The longest IP packet.
const LONGEST: usize = 65_535;

/// Newer versions of Linux, some of 6.12 among them, cut TCP into pieces no smaller than this, whatever they are told.
const LEAST_SEGMENT: usize = 8;

/// So many datagrams the kernel cuts out of one packet.
const MOST_DATAGRAMS: u16 = 64;

/// How a packet that may be joined with others is built.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    version: Version,
    kind: Kind,
    /// Where the upper layer's header begins.
    upper: usize,
    /// Where the payload begins.
    head: usize,
    /// Bytes of payload.
    len: usize,
    /// Nothing may follow it.
    last: bool,
}

impl Shape {
    /// `None` if the packet goes by itself. `own` packets are this gateway's: nobody looks at their UDP
    /// checksum, so there need be none.
    pub fn of(packet: &[u8], own: bool) -> Option<Self> {
        let (version, upper, proto) = match packet.first()? >> 4 {
            4 => (Version::V4, v4::HEADER_LEN, whole_v4(packet)?),
            6 => (Version::V6, v6::HEADER_LEN, whole_v6(packet)?),
            _ => return None,
        };
        let inner = packet.get(upper..)?;
        let (kind, header_len) = match proto {
            protocol::TCP => (Kind::Tcp, tcp::header_len(inner)?),
            protocol::UDP => (Kind::Udp, udp::HEADER_LEN),
            _ => return None,
        };
        let last = match kind {
            Kind::Tcp => match inner[tcp::FLAGS] {
                tcp::ACK => false,
                flags if flags == tcp::ACK | tcp::PSH => true,
                _ => return None,
            },
            Kind::Udp if usize::from(read_u16(inner, UDP_LEN)?) != inner.len() => return None,
            Kind::Udp => false,
        };
        let head = upper + header_len;
        let len = packet.len().checked_sub(head).filter(|len| *len > 0)?;
        let shape = Self { version, kind, upper, head, len, last };
        (own || shape.is_sound(packet)).then_some(shape)
    }

    /// What it is a piece of.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the payload begins.
    pub const fn head(&self) -> usize {
        self.head
    }

    /// Its checksum is there and right, and comes out again as it is.
    fn is_sound(&self, packet: &[u8]) -> bool {
        let inner = &packet[self.upper..];
        let at = match self.kind {
            Kind::Tcp => tcp::CHECKSUM,
            Kind::Udp => UDP_CHECKSUM,
        };
        // Both zeros are right in TCP, and which one is written depends on who writes it.
        match (&inner[at..at + 2], self.kind) {
            ([0, 0], _) | ([0xff, 0xff], Kind::Tcp) => return false,
            _ => {}
        }
        let mut sum = self.pseudo_header(packet, inner.len());
        sum.add(inner);
        sum.finish() == 0
    }

    fn pseudo_header(&self, packet: &[u8], len: usize) -> Sum {
        let proto = match self.kind {
            Kind::Tcp => protocol::TCP,
            Kind::Udp => protocol::UDP,
        };
        let address = |at: usize| -> IpAddr {
            match self.version {
                Version::V4 => {
                    packet[at..].first_chunk::<4>().map_or([0; 4].into(), |v4| (*v4).into())
                }
                Version::V6 => {
                    packet[at..].first_chunk::<16>().map_or([0; 16].into(), |v6| (*v6).into())
                }
            }
        };
        let Range { start, end } = addresses(self.version);
        Sum::pseudo_header(address(start), address(start.midpoint(end)), proto, len)
    }
}

/// Where both addresses are.
const fn addresses(version: Version) -> Range<usize> {
    match version {
        Version::V4 => 12..20,
        Version::V6 => 8..40,
    }
}

/// Are these two packets between the same machines, in the same direction? Order may count then.
pub fn same_ends(one: &[u8], other: &[u8]) -> bool {
    let ends = |packet: &'_ [u8]| match packet.first().map(|first| first >> 4) {
        Some(4) => Some(addresses(Version::V4)),
        Some(6) => Some(addresses(Version::V6)),
        Some(_) | None => None,
    };
    match (ends(one), ends(other)) {
        (Some(range), Some(same)) => range == same && one.get(range) == other.get(same),
        _ => false,
    }
}

/// Protocol of a whole packet without options whose header checksum is right.
fn whole_v4(packet: &[u8]) -> Option<u8> {
    const FRAGMENT: u16 = 0x3fff;
    let header = packet.get(..v4::HEADER_LEN)?;
    let whole = header[0] == 0x45
        && matches!(header[9], protocol::TCP | protocol::UDP)
        && read_u16(header, 2).map(usize::from) == Some(packet.len())
        && read_u16(header, 6)? & FRAGMENT == 0
        && checksum::of(header) == 0;
    whole.then_some(header[9])
}

/// Next header of a whole packet.
fn whole_v6(packet: &[u8]) -> Option<u8> {
    let len = usize::from(read_u16(packet, 4)?);
    (packet.len() == v6::HEADER_LEN + len).then(|| packet[6])
}

/// What became of a packet that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Its payload is the last part now.
    Behind,
    /// It is of the flow, and does not belong there. Nothing of the flow may be added any more that comes after it.
    Apart,
    /// Order does not count between the two.
    OtherFlow,
}

/// Packets that are one now. `first` is always the first packet as it was given to [`new`](Self::new).
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    shape: Shape,
    /// Length of the whole packet.
    total: usize,
    count: u16,
    closed: bool,
    push: bool,
}

impl Joined {
    /// Begins with one packet of this shape.
    pub const fn new(shape: Shape) -> Self {
        let total = shape.head + shape.len;
        Self { shape, total, count: 1, closed: shape.last, push: false }
    }

    /// One packet that stays alone.
    pub const fn alone(shape: Shape) -> Self {
        Self { closed: true, ..Self::new(shape) }
    }

    /// Takes the payload of `next` behind all that came before, if it belongs there.
    pub fn add(&mut self, first: &[u8], next: &[u8], shape: &Shape) -> Added {
        if !self.is_flow_of(first, next, shape) {
            return Added::OtherFlow;
        }
        let done = self.total - self.shape.head;
        let follows = match self.shape.kind {
            Kind::Tcp => {
                let sequence = |packet| read_u32(packet, self.shape.upper + tcp::SEQUENCE);
                self.shape.len >= LEAST_SEGMENT
                    && sequence(next)
                        == sequence(first).map(|first| first.wrapping_add(done as u32))
            }
            Kind::Udp => self.count < MOST_DATAGRAMS,
        };
        let id = |packet| read_u16(packet, 4);
        let counts = self.shape.version == Version::V6
            || id(next) == id(first).map(|first| first.wrapping_add(self.count));
        let fits = shape.len <= self.shape.len && self.total + shape.len <= LONGEST;
        if self.closed || !follows || !counts || !fits || !self.agree(first, next, shape) {
            return Added::Apart;
        }
        self.closed = shape.last || shape.len < self.shape.len;
        self.push = shape.last;
        self.total += shape.len;
        self.count += 1;
        Added::Behind
    }

    /// Order counts between what was joined and this packet.
    fn is_flow_of(&self, first: &[u8], next: &[u8], shape: &Shape) -> bool {
        let same = |range: Range<usize>| first.get(range.clone()) == next.get(range);
        let Shape { version, kind, upper, .. } = self.shape;
        (version, kind) == (shape.version, shape.kind)
            && same(addresses(version))
            && same(upper..upper + 4)
    }

    /// All that must be the same in pieces of one packet is the same.
    fn agree(&self, first: &[u8], next: &[u8], shape: &Shape) -> bool {
        let same = |range: Range<usize>| first.get(range.clone()) == next.get(range);
        let ours = &self.shape;
        let ip = match ours.version {
            // All but length, identification and checksum.
            Version::V4 => same(0..2) && same(6..10),
            // All but length.
            Version::V6 => same(0..4) && same(6..8),
        };
        let upper = match ours.kind {
            // Acknowledgement, header length, window, urgent pointer, options.
            Kind::Tcp => {
                same(ours.upper + tcp::ACKNOWLEDGEMENT..ours.upper + tcp::FLAGS)
                    && same(ours.upper + tcp::FLAGS + 1..ours.upper + tcp::CHECKSUM)
                    && same(ours.upper + tcp::CHECKSUM + 2..ours.head)
            }
            // Datagrams with and without a checksum do not mix.
            Kind::Udp => {
                let summed = |packet: &[u8]| read_u16(packet, ours.upper + UDP_CHECKSUM) != Some(0);
                summed(first) == summed(next)
            }
        };
        ours.head == shape.head && ip && upper
    }

    /// Where the payload of the first packet begins.
    pub const fn head(&self) -> usize {
        self.shape.head
    }

    /// How many packets these are.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Turns the headers of the first packet into those of all, and says what is left to be done.
    ///
    /// # Errors
    /// [`Malformed`] if `first` is not the packet that it was.
    pub fn finish(&self, first: &mut [u8]) -> Result<Offload, Malformed> {
        let Shape { version, kind, upper, head, len, .. } = self.shape;
        // Only what this gateway has sealed can be here without a checksum. It gets one also when it goes alone: where
        // the kernel joins what it receives, a datagram without one overtakes those before it.
        let bare = kind == Kind::Udp && read_u16(first, upper + UDP_CHECKSUM) == Some(0);
        if self.count == 1 && !bare {
            return Ok(Offload::default());
        }
        let sum = self.shape.pseudo_header(first, self.total - upper).folded();
        match version {
            Version::V4 => v4::Header::new_checked(&mut *first)?.set_total_len(self.total as u16),
            Version::V6 => {
                let len = (self.total - v6::HEADER_LEN) as u16;
                v6::Header::new_checked(&mut *first)?.set_payload_len(len);
            }
        }
        let inner = first.get_mut(upper..head).ok_or(Malformed)?;
        let offset = match kind {
            Kind::Tcp => {
                inner[tcp::FLAGS] |= if self.push { tcp::PSH } else { 0 };
                tcp::CHECKSUM
            }
            Kind::Udp => {
                let len = ((self.total - upper) as u16).to_be_bytes();
                inner[UDP_LEN..UDP_LEN + 2].copy_from_slice(&len);
                UDP_CHECKSUM
            }
        };
        inner[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
        let checksum = Some(Partial { start: upper, offset });
        let cut = (self.count > 1).then_some((kind, len as u16));
        Ok(Offload { checksum, cut })
    }
}
