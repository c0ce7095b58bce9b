//! The bounded walk through the headers of a packet.

use core::net::IpAddr;

use super::v4::{self, Options};
use super::v6::{self, FragmentHeader};
use super::{Malformed, Upper, protocol};

/// How many IPv6 extension headers are walked at most; a longer chain is
/// [`unparsed`](Outline::unparsed).
const MAX_EXTENSIONS: usize = 8;

/// The longest IP packet, and the end of the last fragment of one.
const MAX_LEN: usize = 65_535;

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A packet's place among the fragments of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where it belongs, in bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
    /// IPv6: where the fragment header begins in the packet. IPv4: 0.
    pub header_at: usize,
}

/// What the data path and the policy need to know about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// IP version.
    pub version: Version,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Length of the packet; what the buffer holds beyond it is Ethernet padding.
    pub total_len: usize,
    /// Length of the part that stays readable: the IPv4 header with its options, or the IPv6 header
    /// with hop-by-hop options. ESP begins here.
    pub header_len: usize,
    /// Protocol or next header of what begins there.
    pub next_header: u8,
    /// IPv4 identification; 0 for IPv6.
    pub id: u16,
    /// IPv4 "don't fragment"; true for IPv6, which no router may fragment.
    pub dont_fragment: bool,
    /// Set if the packet is a fragment.
    pub fragment: Option<Fragment>,
    /// The upper layer. `None` if the walk did not get there.
    pub upper: Option<Upper>,
    /// There is a source-route option or a routing header: to be dropped.
    pub source_route: bool,
    /// The headers could not be read to their end: the strictest rule applies.
    pub unparsed: bool,
}

impl Outline {
    /// Reads the headers of the packet at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is neither IPv4 nor IPv6, if lengths contradict each other or exceed
    /// `bytes`, or for a fragment that no host accepts (beyond 65,535 bytes, or not the last and
    /// not a multiple of 8).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse_extent(bytes, Extent::Whole)
    }

    pub(super) fn parse_extent(bytes: &[u8], extent: Extent) -> Result<Self, Malformed> {
        match bytes.first().ok_or(Malformed)? >> 4 {
            4 => Self::parse_v4(bytes, extent),
            6 => Self::parse_v6(bytes, extent),
            _ => Err(Malformed),
        }
    }

    fn parse_v4(bytes: &[u8], extent: Extent) -> Result<Self, Malformed> {
        let header = v4::Header::new_checked(bytes)?;
        let header_len = header.header_len();
        let total_len = extent.total_len(usize::from(header.total_len()), bytes)?;
        if total_len < header_len {
            return Err(Malformed);
        }
        let options = Options::parse(header.options());
        let fragment =
            (header.more_fragments() || header.fragment_offset() != 0).then(|| Fragment {
                offset: header.fragment_offset(),
                more: header.more_fragments(),
                id: u32::from(header.id()),
                header_at: 0,
            });
        if let Some(fragment) = fragment {
            extent.check_fragment(&fragment, total_len - header_len)?;
        }
        let upper = match fragment {
            Some(Fragment { offset: 1.., .. }) => Upper::hidden(header.protocol(), header_len),
            Some(_) | None => Upper::parse(&bytes[..total_len], header.protocol(), header_len),
        };
        Ok(Self {
            version: Version::V4,
            src: header.source().into(),
            dst: header.destination().into(),
            total_len,
            header_len,
            next_header: header.protocol(),
            id: header.id(),
            dont_fragment: header.dont_fragment(),
            fragment,
            upper: Some(upper),
            source_route: options.source_route,
            unparsed: options.unparsed,
        })
    }

    fn parse_v6(bytes: &[u8], extent: Extent) -> Result<Self, Malformed> {
        let header = v6::Header::new_checked(bytes)?;
        let claimed = v6::HEADER_LEN + usize::from(header.payload_len());
        let total_len = extent.total_len(claimed, bytes)?;
        let packet = bytes.get(..total_len).ok_or(Malformed)?;
        let (header_len, next_header) = match header.next_header() {
            protocol::HOP_BY_HOP => {
                let (next, len) = extension(packet, v6::HEADER_LEN).ok_or(Malformed)?;
                (v6::HEADER_LEN + len, next)
            }
            other => (v6::HEADER_LEN, other),
        };
        let mut outline = Self {
            version: Version::V6,
            src: header.source().into(),
            dst: header.destination().into(),
            total_len,
            header_len,
            next_header,
            id: 0,
            dont_fragment: true,
            fragment: None,
            upper: None,
            source_route: false,
            unparsed: false,
        };
        outline.walk_extensions(packet, extent)?;
        Ok(outline)
    }

    /// From the end of the hop-by-hop options to the upper layer.
    fn walk_extensions(&mut self, packet: &[u8], extent: Extent) -> Result<(), Malformed> {
        let mut at = self.header_len;
        let mut next = self.next_header;
        for _ in 0..MAX_EXTENSIONS {
            match next {
                protocol::ROUTING | protocol::DESTINATION => {
                    self.source_route |= next == protocol::ROUTING;
                    let Some((after, len)) = extension(packet, at) else { break };
                    (next, at) = (after, at + len);
                }
                protocol::FRAGMENT if self.fragment.is_none() => {
                    let Ok(header) = FragmentHeader::parse(&packet[at..]) else { break };
                    let FragmentHeader { next_header, offset, more, id } = header;
                    let fragment = Fragment { offset, more, id, header_at: at };
                    (next, at) = (next_header, at + FragmentHeader::LEN);
                    extent.check_fragment(&fragment, packet.len() - at)?;
                    self.fragment = Some(fragment);
                    if offset != 0 {
                        self.upper = (!is_extension(next)).then_some(Upper::hidden(next, at));
                        break;
                    }
                }
                protocol::FRAGMENT | protocol::HOP_BY_HOP => break,
                proto => {
                    self.upper = Some(Upper::parse(packet, proto, at));
                    break;
                }
            }
        }
        self.unparsed = self.upper.is_none();
        Ok(())
    }

    /// Whether this can be the outline of `packet`: enough of a check to write into its headers.
    pub(crate) fn describes(&self, packet: &[u8]) -> bool {
        let fits = self.header_len <= self.total_len && self.total_len <= packet.len();
        let same = match self.version {
            Version::V4 => {
                v4::Header::new_checked(packet).is_ok_and(|h| h.header_len() == self.header_len)
            }
            Version::V6 => v6::Header::new_checked(packet).is_ok_and(|h| {
                let has_options = h.next_header() == protocol::HOP_BY_HOP;
                self.header_len >= v6::HEADER_LEN
                    && has_options == (self.header_len > v6::HEADER_LEN)
            }),
        };
        fits && same
    }

    /// Whether a router may cut this packet: IPv4 without "don't fragment". Nobody but its source
    /// may cut IPv6.
    pub fn may_fragment(&self) -> bool {
        !self.dont_fragment
    }

    /// Whether this is a fragment that does not begin with the upper-layer header.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }
}

/// Whether all of the packet must be there, or only its beginning as in the quote of an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Beginning,
}

impl Extent {
    fn total_len(self, claimed: usize, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Whole if claimed > bytes.len() || claimed > MAX_LEN => Err(Malformed),
            Self::Whole => Ok(claimed),
            Self::Beginning => Ok(claimed.min(bytes.len())),
        }
    }

    fn check_fragment(self, fragment: &Fragment, len: usize) -> Result<(), Malformed> {
        let cut_wrong =
            self == Self::Whole && fragment.more && (len == 0 || !len.is_multiple_of(8));
        if cut_wrong || usize::from(fragment.offset) + len > MAX_LEN {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// Next header and length of the extension header at `at`, if it is there to its end.
fn extension(packet: &[u8], at: usize) -> Option<(u8, usize)> {
    let &[next, units] = packet.get(at..at + 2)? else { return None };
    let len = (usize::from(units) + 1) * 8;
    (at + len <= packet.len()).then_some((next, len))
}

fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION
    )
}
