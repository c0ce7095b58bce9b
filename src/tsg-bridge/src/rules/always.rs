//! What always passes in clear, whatever the policy says, since without it nothing works.
//!
//! Both ends' ports must fit. The gate takes whole packets only, since none of these comes in fragments; netfilter's
//! rules, which cannot ask for that everywhere, pass a first fragment too.

use core::net::SocketAddr;
use tsg_esp::ip::{Outline, Version};

/// EtherTypes: ARP, EAPOL (802.1X), LLDP.
pub(crate) const ETHER_TYPES: [u16; 3] = [0x0806, 0x888e, 0x88cc];

/// The addresses that 802.1D keeps for spanning tree and its kin, `01:80:c2:00:00:00` to `0f`.
pub(crate) const LINK_GROUPS: &str = "01:80:c2:00:00:00-01:80:c2:00:00:0f";

/// IGMP.
pub(crate) const IGMP: u8 = 2;

/// Ports of DHCP for IPv4 and for IPv6, on both ends.
pub(crate) const DHCP: [u16; 2] = [67, 68];
pub(crate) const DHCPV6: [u16; 2] = [546, 547];

/// ICMPv6 types of multicast listener discovery (RFC 2710, RFC 3810).
pub(crate) const MLD: [u8; 4] = [130, 131, 132, 143];

/// ICMPv6 types of neighbour discovery (RFC 4861), first and last. Not a redirect, which quotes a packet.
pub(crate) const ND: (u8, u8) = (133, 136);

/// ICMP types that are errors and quote a packet.
pub(crate) const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// ICMPv6 types below this one are errors and quote a packet.
pub(crate) const ICMPV6_FIRST_INFORMATION: u8 = 128;

/// The ICMPv6 type of a redirect, which may quote a packet in an option (RFC 4861 section 4.6.3).
pub(crate) const ICMPV6_REDIRECT: u8 = 137;

/// Does a frame that is not IP always pass, by its EtherType or by the group that it is sent to?
pub(crate) fn passes_not_ip(ether_type: u16, dst: [u8; 6]) -> bool {
    let link_group = dst.starts_with(&[0x01, 0x80, 0xc2, 0, 0]) && dst[5] < 0x10;
    link_group || ETHER_TYPES.contains(&ether_type)
}

/// Does this packet always pass? `servers` are the key servers.
pub fn always_passes(outline: &Outline, servers: &[SocketAddr]) -> bool {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ICMPV6: u8 = 58;
    let Some(upper) = outline.upper.filter(|_| outline.fragment.is_none()) else { return false };
    let v4 = outline.version == Version::V4;
    let [low, high] = if v4 { DHCP } else { DHCPV6 };
    match (upper.proto, upper.ports, upper.icmp_type) {
        (IGMP, _, _) => v4,
        (ICMPV6, _, Some(kind)) => !v4 && (MLD.contains(&kind) || (ND.0..=ND.1).contains(&kind)),
        (UDP, Some((src, dest)), _) => [src, dest].iter().all(|port| (low..=high).contains(port)),
        (TCP, Some((src, dest)), _) => {
            let ends = [SocketAddr::new(outline.src, src), SocketAddr::new(outline.dst, dest)];
            servers.iter().any(|server| ends.contains(server))
        }
        _ => false,
    }
}
