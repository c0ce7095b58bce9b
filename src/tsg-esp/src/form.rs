//! The form of a group's sealed packets, and what that costs in length.

use crate::esp;
use crate::ip::v6::FragmentHeader;
use crate::ip::{Outline, Version, protocol, v4, v6};
use crate::udp;

/// What carries ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encap {
    /// Directly behind the IP header, under this protocol number: 253, or ESP's own 50.
    Protocol(u8),
    /// In UDP as RFC 3948, both ports the same: 4253 in the transparent mode, 4500 in the routed
    /// ones.
    Udp {
        /// Source and destination port.
        port: u16,
    },
}

/// What is authenticated in addition to the sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aad {
    /// SPI ‖ sequence number ‖ source ‖ destination: the transparent mode, where the addresses are
    /// outside.
    WithAddresses,
    /// SPI ‖ sequence number, as RFC 4303 with RFC 4106 and RFC 7634: the routed modes.
    Rfc4303,
}

/// How a group's packets are sealed; it never changes within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// What carries ESP.
    pub encap: Encap,
    /// What is authenticated beside the sealed bytes.
    pub aad: Aad,
}

impl Form {
    /// The default of a transparent group: protocol 253, addresses authenticated.
    pub const TRANSPARENT: Self =
        Self { encap: Encap::Protocol(protocol::EXPERIMENT), aad: Aad::WithAddresses };

    /// Whether a packet looks like one sealed in this form. It may still be garbage.
    pub fn is_sealed(&self, outline: &Outline) -> bool {
        match self.encap {
            Encap::Protocol(number) => outline.next_header == number,
            Encap::Udp { port } => {
                outline.next_header == protocol::UDP
                    && outline.upper.is_some_and(|upper| upper.ports == Some((port, port)))
            }
        }
    }

    /// Bytes between the IP header and the sealed bytes.
    pub(crate) const fn front_len(&self) -> usize {
        match self.encap {
            Encap::Protocol(_) => esp::HEADER_LEN,
            Encap::Udp { .. } => udp::HEADER_LEN + esp::HEADER_LEN,
        }
    }

    /// Length of the packet once sealed, in bytes: 34 to 37 more, 8 for UDP, 8 for an IPv4
    /// fragment.
    pub fn sealed_len(&self, outline: &Outline) -> usize {
        let payload = outline.total_len.saturating_sub(outline.header_len) + fragment_len(outline);
        outline.header_len + self.front_len() + esp::sealed_len(payload)
    }

    /// Whether the packet, once sealed, fits the path.
    pub fn fits(&self, outline: &Outline, path_mtu: u16) -> bool {
        self.sealed_len(outline) <= usize::from(path_mtu)
    }

    /// The longest payload behind `header_len` bytes of header that fits the path once sealed.
    /// `None` if not even an empty one does.
    pub fn largest_payload(&self, header_len: usize, path_mtu: u16) -> Option<usize> {
        let room =
            usize::from(path_mtu).checked_sub(header_len + self.front_len() + esp::ICV_LEN)?;
        (room & !3).checked_sub(esp::TRAILER_LEN)
    }

    /// The longest plain packet of that version, without options, that fits the path once sealed:
    /// the MTU to tell hosts. `None` if the path is too narrow for any.
    pub fn plain_mtu(&self, version: Version, path_mtu: u16) -> Option<u16> {
        let header_len = match version {
            Version::V4 => v4::HEADER_LEN,
            Version::V6 => v6::HEADER_LEN,
        };
        let len = header_len + self.largest_payload(header_len, path_mtu)?;
        u16::try_from(len).ok()
    }
}

/// What the fragment header adds, which a sealed IPv4 fragment gets. An IPv6 fragment has its own.
pub(crate) fn fragment_len(outline: &Outline) -> usize {
    match outline.version {
        Version::V4 if outline.fragment.is_some() => FragmentHeader::LEN,
        Version::V4 | Version::V6 => 0,
    }
}
