//! The first bytes of the upper layer: what a policy rule can name.

use super::{protocol, read_u16};

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Protocol number.
    pub proto: u8,
    /// Source and destination port of TCP, UDP, SCTP, DCCP and UDP-Lite. `None` for other
    /// protocols, and where the packet does not show them: a later fragment, or one cut off before
    /// them.
    pub ports: Option<(u16, u16)>,
    /// Type of an ICMP or ICMPv6 message, if the packet shows it.
    pub icmp_type: Option<u8>,
    /// Where the upper-layer header begins in the packet, in bytes. In a later fragment: where its
    /// data begins.
    pub offset: usize,
}

impl Upper {
    /// The upper layer at `offset` of `bytes`, which end where the packet ends.
    pub(super) fn parse(bytes: &[u8], proto: u8, offset: usize) -> Self {
        let mut upper = Self::hidden(proto, offset);
        match proto {
            protocol::TCP
            | protocol::UDP
            | protocol::SCTP
            | protocol::DCCP
            | protocol::UDP_LITE => {
                upper.ports = read_u16(bytes, offset).zip(read_u16(bytes, offset + 2));
            }
            protocol::ICMP | protocol::ICMPV6 => upper.icmp_type = bytes.get(offset).copied(),
            _ => {}
        }
        upper
    }

    /// The upper layer of a fragment that does not begin with it.
    pub(super) const fn hidden(proto: u8, offset: usize) -> Self {
        Self { proto, ports: None, icmp_type: None, offset }
    }
}
