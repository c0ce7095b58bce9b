//! Who is where: addresses with their Ethernet addresses, VLANs and sides, as heard on the ports.
//!
//! The iptables queue does not tell the Ethernet header of a packet, but further pieces of it need one, and from
//! the bridge family's queue come pieces of merged packets that have lost it. For a machine behind a router the
//! Ethernet address is the router's, which is what such a piece needs too.
//! Not for: deciding anything about security; whoever is on the wire can say anything here.

use super::Side;
use super::ethernet::{Link, Vlans};
use core::net::IpAddr;
use std::collections::HashMap;

/// Addresses in each of the two generations.
const GENERATION: usize = 2_048;

/// An address may live in several VLANs, or behind two routers.
const PLACES: usize = 4;

/// Where an address was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mac: [u8; 6],
    /// Unknown if only a queue has told of it so far.
    pub(super) vlans: Option<Vlans>,
    pub(super) side: Side,
}

/// The table. Bounded: when a generation is full the one before it is forgotten.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    young: HashMap<IpAddr, Vec<Place>>,
    old: HashMap<IpAddr, Vec<Place>>,
    tags_seen: bool,
}

impl Neighbours {
    /// Remembers where `address` was heard.
    pub(super) fn hear(&mut self, address: IpAddr, place: Place) {
        if !is_machine(address) || place.mac[0] & 1 == 1 || place.mac == [0; 6] {
            return;
        }
        self.tags_seen |= place.vlans.is_some_and(|vlans| !vlans.tags().is_empty());
        if !self.young.contains_key(&address) {
            if self.young.len() >= GENERATION {
                self.old = core::mem::take(&mut self.young);
            }
            let known = self.old.remove(&address).unwrap_or_default();
            self.young.insert(address, known);
        }
        if let Some(places) = self.young.get_mut(&address) {
            note(places, place);
        }
    }

    /// The Ethernet header of a packet from `src`, which `src_mac` sent, to `dest`.
    pub(super) fn link(&self, src: IpAddr, src_mac: [u8; 6], dest: IpAddr) -> Option<Link> {
        let sender = self.places(src).iter().find(|place| place.mac == src_mac);
        let vlans = sender.and_then(|place| place.vlans);
        if let Some(dst) = group_mac(dest) {
            let vlans = vlans.or_else(|| self.untagged())?;
            return Some(Link { dst, src: src_mac, vlans });
        }
        let fits = |place: &&Place| match (vlans, place.vlans) {
            (Some(wanted), Some(seen)) => wanted.same_vlans(&seen),
            (None, _) | (_, None) => true,
        };
        let place = self.places(dest).iter().rev().find(fits)?;
        let vlans = vlans.or(place.vlans).or_else(|| self.untagged())?;
        Some(Link { dst: place.mac, src: src_mac, vlans })
    }

    /// The Ethernet header of a packet between these two addresses, source first, that came in on side
    /// `from` and has these tags.
    pub(super) fn link_across(
        &self,
        (src, dest): (IpAddr, IpAddr),
        from: Side,
        vlans: Vlans,
    ) -> Option<Link> {
        let mac = |address, side| {
            let fits = |place: &&Place| {
                place.side == side && place.vlans.is_none_or(|seen| seen.same_vlans(&vlans))
            };
            self.places(address).iter().rev().find(fits).map(|place| place.mac)
        };
        let dst = group_mac(dest).or_else(|| mac(dest, from.other()))?;
        Some(Link { dst, src: mac(src, from)?, vlans })
    }

    /// On a wire on which no tag was ever seen there is none.
    fn untagged(&self) -> Option<Vlans> {
        (!self.tags_seen).then(Vlans::default)
    }

    fn places(&self, address: IpAddr) -> &[Place] {
        let places = self.young.get(&address).or_else(|| self.old.get(&address));
        places.map_or(&[], Vec::as_slice)
    }
}

/// The newest place is the last.
fn note(places: &mut Vec<Place>, mut place: Place) {
    let same = |known: &Place| {
        known.mac == place.mac
            && match (known.vlans, place.vlans) {
                (Some(known), Some(new)) => known.same_vlans(&new),
                (None, _) | (_, None) => true,
            }
    };
    if let Some(at) = places.iter().position(same) {
        let known = places.remove(at);
        place.vlans = place.vlans.or(known.vlans);
    } else if places.len() == PLACES {
        places.remove(0);
    }
    places.push(place);
}

/// An address that one machine can have.
pub(super) fn is_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

/// The Ethernet address of a multicast group (RFC 1112, RFC 2464), or of everybody.
fn group_mac(address: IpAddr) -> Option<[u8; 6]> {
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some([0xff; 6]),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some([0x33, 0x33, a, b, c, d])
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The source and the destination address of an IP packet.
pub(super) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let src: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let dest: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((src.into(), dest.into()))
        }
        6 => {
            let src: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let dest: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((src.into(), dest.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ethernet::Tag;
    use super::*;

    fn vlan(id: u16) -> Vlans {
        let mut vlans = Vlans::default();
        vlans.push(Tag { tpid: 0x8100, tci: id });
        vlans
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const fn place(mac: u8, vlans: Option<Vlans>, side: Side) -> Place {
        Place { mac: [mac, 0, 0, 0, 0, mac], vlans, side }
    }

    #[test]
    fn a_queue_tells_the_address_and_the_wire_tells_the_tag() {
        let mut table = Neighbours::default();
        let (plc, hmi) = (ip("192.0.2.1"), ip("192.0.2.2"));
        table.hear(plc, place(2, None, Side::Lan));
        table.hear(hmi, place(4, None, Side::Wan));
        let untagged = table.link(plc, place(2, None, Side::Lan).mac, hmi).unwrap();
        assert_eq!(untagged.vlans, Vlans::default());
        table.hear(hmi, place(4, Some(vlan(7)), Side::Wan));
        table.hear(hmi, place(4, None, Side::Wan));
        let tagged = table.link(plc, place(2, None, Side::Lan).mac, hmi).unwrap();
        assert_eq!((tagged.dst, tagged.vlans), (place(4, None, Side::Wan).mac, vlan(7)));
    }

    #[test]
    fn the_same_address_in_two_vlans_stays_apart() {
        let mut table = Neighbours::default();
        let (plc, hmi) = (ip("192.0.2.1"), ip("192.0.2.2"));
        table.hear(plc, place(2, Some(vlan(5)), Side::Lan));
        table.hear(hmi, place(4, Some(vlan(5)), Side::Wan));
        table.hear(hmi, place(6, Some(vlan(6)), Side::Wan));
        let link = table.link(plc, place(2, None, Side::Lan).mac, hmi).unwrap();
        assert_eq!((link.dst[0], link.vlans), (4, vlan(5)));
        let stranger = place(8, None, Side::Lan).mac;
        assert_eq!(table.link(ip("192.0.2.9"), stranger, ip("192.0.2.8")), None);
    }

    #[test]
    fn a_link_across_is_between_the_sides_and_in_the_vlan() {
        let mut table = Neighbours::default();
        let ends = (ip("192.0.2.1"), ip("192.0.2.2"));
        table.hear(ends.0, place(2, Some(vlan(5)), Side::Lan));
        assert_eq!(table.link_across(ends, Side::Lan, vlan(5)), None);
        table.hear(ends.1, place(4, Some(vlan(5)), Side::Wan));
        table.hear(ends.1, place(6, Some(vlan(6)), Side::Wan));
        table.hear(ends.1, place(8, Some(vlan(5)), Side::Lan));
        let link = table.link_across(ends, Side::Lan, vlan(0xe005)).unwrap();
        assert_eq!((link.src[0], link.dst[0], link.vlans), (2, 4, vlan(0xe005)));
        assert_eq!(table.link_across(ends, Side::Lan, vlan(6)), None);
        assert_eq!(table.link_across(ends, Side::Wan, vlan(5)), None);
        table.hear(ends.1, place(10, Some(vlan(5)), Side::Wan));
        let moved = table.link_across(ends, Side::Lan, vlan(5)).unwrap();
        assert_eq!(moved.dst[0], 10);
        let back = table.link_across((ends.1, ends.0), Side::Wan, vlan(5)).unwrap();
        assert_eq!((back.src[0], back.dst[0]), (10, 2));
    }

    #[test]
    fn groups_have_an_address_of_their_own() {
        let table = Neighbours::default();
        let mac = |dest| table.link(ip("192.0.2.1"), [2; 6], ip(dest)).unwrap().dst;
        assert_eq!(mac("224.129.2.3"), [0x01, 0x00, 0x5e, 0x01, 2, 3]);
        assert_eq!(mac("ff02::1:ff00:9"), [0x33, 0x33, 0xff, 0, 0, 9]);
        assert_eq!(mac("255.255.255.255"), [0xff; 6]);
    }

    #[test]
    fn a_flood_of_addresses_has_bounds() {
        let mut table = Neighbours::default();
        for n in 0..20_000u32 {
            table.hear(IpAddr::V4((0x0a00_0000 + n).into()), place(2, None, Side::Wan));
        }
        assert!(table.young.len() + table.old.len() <= 2 * GENERATION);
        for n in 0..20u8 {
            table.hear(ip("192.0.2.1"), place(2 * n + 2, None, Side::Wan));
        }
        assert_eq!(table.places(ip("192.0.2.1")).len(), PLACES);
    }
}
