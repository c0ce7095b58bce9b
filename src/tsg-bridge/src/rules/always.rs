//! What always passes in clear, whatever the policy says, since without it nothing works.
//!
//! Only whole packets: none of these is ever sent in fragments. Both ends' ports must fit, so that nothing else
//! can pass for it. The gate and the daemon go by the same list.

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

/// ICMPv6 types of neighbour discovery (RFC 4861), first and last.
pub(crate) const ND: (u8, u8) = (133, 137);

/// ICMP types that are errors and quote a packet.
pub(crate) const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// ICMPv6 types below this one are errors and quote a packet.
pub(crate) const ICMPV6_FIRST_INFORMATION: u8 = 128;
