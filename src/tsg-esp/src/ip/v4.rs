//! A view of an IPv4 header (RFC 791 section 3.1).
//!
//! The setters keep the header checksum in step by RFC 1624, so a header that arrived damaged
//! leaves damaged.

use core::net::Ipv4Addr;

use super::Malformed;
use crate::checksum;

mod field {
    use core::ops::Range;

    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const VERSION_AND_CLASS: Range<usize> = 0..2;
    pub(super) const TOTAL_LEN: Range<usize> = 2..4;
    pub(super) const ID: Range<usize> = 4..6;
    pub(super) const FLAGS: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const TTL_AND_PROTOCOL: Range<usize> = 8..10;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// An IPv4 header, with or without what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Header<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Header<T> {
    /// A view of `bytes`, which begin with the header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the version is not 4, the header length is under 20 bytes, or `bytes` end
    /// before it.
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let view = bytes.as_ref();
        if view.len() < HEADER_LEN || view[field::VERSION_IHL] >> 4 != 4 {
            return Err(Malformed);
        }
        let header = Self { bytes };
        let len = header.header_len();
        if len < HEADER_LEN || len > header.bytes.as_ref().len() {
            return Err(Malformed);
        }
        Ok(header)
    }

    fn u16_at(&self, field: core::ops::Range<usize>) -> u16 {
        let bytes = &self.bytes.as_ref()[field];
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    fn address_at(&self, field: core::ops::Range<usize>) -> Ipv4Addr {
        let bytes = &self.bytes.as_ref()[field];
        Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
    }

    /// Length of the header with its options, in bytes.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes.as_ref()[field::VERSION_IHL] & 0x0f) * 4
    }

    /// Length of the packet by its own account, in bytes.
    pub fn total_len(&self) -> u16 {
        self.u16_at(field::TOTAL_LEN)
    }

    /// Identification.
    pub fn id(&self) -> u16 {
        self.u16_at(field::ID)
    }

    /// Whether "don't fragment" is set.
    pub fn dont_fragment(&self) -> bool {
        self.u16_at(field::FLAGS) & DONT_FRAGMENT != 0
    }

    /// Whether "more fragments" is set.
    pub fn more_fragments(&self) -> bool {
        self.u16_at(field::FLAGS) & MORE_FRAGMENTS != 0
    }

    /// Where this fragment belongs, in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (self.u16_at(field::FLAGS) & OFFSET) * 8
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.bytes.as_ref()[field::TTL]
    }

    /// The protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.bytes.as_ref()[field::PROTOCOL]
    }

    /// Header checksum.
    pub fn checksum(&self) -> u16 {
        self.u16_at(field::CHECKSUM)
    }

    /// Whether the header checksum is right.
    pub fn checksum_is_right(&self) -> bool {
        checksum::of(&self.bytes.as_ref()[..self.header_len()]) == 0
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        self.address_at(field::SOURCE)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        self.address_at(field::DESTINATION)
    }

    /// The options, empty for most packets.
    pub fn options(&self) -> &[u8] {
        &self.bytes.as_ref()[HEADER_LEN..self.header_len()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Header<T> {
    fn replace(&mut self, field: core::ops::Range<usize>, new: u16) {
        let sum = checksum::update(self.checksum(), self.u16_at(field.clone()), new);
        let bytes = self.bytes.as_mut();
        bytes[field].copy_from_slice(&new.to_be_bytes());
        bytes[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, class: u8) {
        let first = self.bytes.as_ref()[field::VERSION_IHL];
        self.replace(field::VERSION_AND_CLASS, u16::from_be_bytes([first, class]));
    }

    /// Sets the total length.
    pub fn set_total_len(&mut self, len: u16) {
        self.replace(field::TOTAL_LEN, len);
    }

    /// Sets the identification.
    pub fn set_id(&mut self, id: u16) {
        self.replace(field::ID, id);
    }

    /// Sets "more fragments" and the fragment offset (in bytes; its low three bits are lost).
    /// "Don't fragment" stays.
    pub fn set_fragment(&mut self, offset: u16, more: bool) {
        let kept = self.u16_at(field::FLAGS) & !(MORE_FRAGMENTS | OFFSET);
        let more = if more { MORE_FRAGMENTS } else { 0 };
        self.replace(field::FLAGS, kept | more | (offset / 8));
    }

    /// Sets time to live.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.replace(field::TTL_AND_PROTOCOL, u16::from_be_bytes([ttl, self.protocol()]));
    }

    /// Sets the protocol.
    pub fn set_protocol(&mut self, protocol: u8) {
        self.replace(field::TTL_AND_PROTOCOL, u16::from_be_bytes([self.ttl(), protocol]));
    }

    /// Overwrites the options that belong to the first fragment only with "no operation" (RFC 791:
    /// those whose copied flag is clear), so that the rest of the header can lead another fragment.
    pub fn blank_uncopied_options(&mut self) {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const COPIED: u8 = 0x80;
        let len = self.header_len();
        let mut at = HEADER_LEN;
        while at < len {
            let bytes = self.bytes.as_mut();
            let option_len = match bytes[at] {
                END => break,
                NO_OPERATION => 1,
                _ if at + 1 < len => usize::from(bytes[at + 1]),
                _ => break,
            };
            if option_len == 0 || at + option_len > len {
                break;
            }
            if bytes[at] & COPIED == 0 {
                bytes[at..at + option_len].fill(NO_OPERATION);
            }
            at += option_len;
        }
        self.fill_checksum();
    }

    /// Computes the header checksum anew.
    pub fn fill_checksum(&mut self) {
        let len = self.header_len();
        let bytes = self.bytes.as_mut();
        bytes[field::CHECKSUM].fill(0);
        let sum = checksum::of(&bytes[..len]);
        bytes[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }
}

/// What the options of a header say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// There is a loose or strict source route.
    pub(super) source_route: bool,
    /// The options end in the middle of one.
    pub(super) unparsed: bool,
}

impl Options {
    pub(super) fn parse(options: &[u8]) -> Self {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const LOOSE_SOURCE_ROUTE: u8 = 131;
        const STRICT_SOURCE_ROUTE: u8 = 137;
        let mut found = Self::default();
        let mut rest = options;
        while let [kind, tail @ ..] = rest {
            match *kind {
                END => break,
                NO_OPERATION => rest = tail,
                kind => {
                    found.source_route |= matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
                    let len = tail.first().map_or(0, |len| usize::from(*len));
                    match rest.get(len..) {
                        Some(next) if len >= 2 => rest = next,
                        Some(_) | None => {
                            found.unparsed = true;
                            break;
                        }
                    }
                }
            }
        }
        found
    }
}
