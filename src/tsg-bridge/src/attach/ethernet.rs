//! The Ethernet header with up to two VLAN tags (IEEE 802.1Q, 802.1ad), read and written.

use tsg_esp::ip::Version;

/// IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// IPv6.
pub(super) const IPV6: u16 = 0x86dd;
/// ARP.
pub(super) const ARP: u16 = 0x0806;

/// Both addresses, two tags and the EtherType.
pub(super) const LONGEST: usize = 22;

/// A VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
    pub tci: u16,
}

impl Tag {
    /// The EtherTypes that announce a tag.
    pub const fn is_tpid(ether_type: u16) -> bool {
        matches!(ether_type, 0x8100 | 0x88a8)
    }
}

/// None, one or two tags, the outer one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlans {
    tags: [Tag; 2],
    len: u8,
}

impl Vlans {
    /// The tags, the outer one first.
    pub fn tags(&self) -> &[Tag] {
        &self.tags[..usize::from(self.len)]
    }

    /// Adds a tag inside the others; `false` when there are two already.
    pub fn push(&mut self, tag: Tag) -> bool {
        let room = self.tags.get_mut(usize::from(self.len));
        match room {
            Some(room) => *room = tag,
            None => return false,
        }
        self.len += 1;
        true
    }

    /// The same VLANs, whatever the priority of the frames.
    pub fn same_vlans(&self, other: &Self) -> bool {
        let ids = |vlans: &Self| {
            let id = |tag: Tag| (tag.tpid, tag.tci & 0x0fff);
            (vlans.len, id(vlans.tags[0]), id(vlans.tags[1]))
        };
        ids(self) == ids(other)
    }
}

/// What is known of a frame's Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Destination address.
    pub dst: [u8; 6],
    /// Source address.
    pub src: [u8; 6],
    /// Its tags.
    pub vlans: Vlans,
}

impl Link {
    /// The header of an answer. `None` to what was sent to a group: nobody can answer from there.
    pub fn swapped(&self) -> Option<Self> {
        let group = self.dst[0] & 1 == 1;
        (!group).then_some(Self { dst: self.src, src: self.dst, vlans: self.vlans })
    }

    /// Writes the header into `room`, and says how many of its bytes it took.
    pub fn emit(&self, ether_type: u16, room: &mut [u8; LONGEST]) -> usize {
        room[..6].copy_from_slice(&self.dst);
        room[6..12].copy_from_slice(&self.src);
        let mut at = 12;
        for tag in self.vlans.tags() {
            room[at..at + 2].copy_from_slice(&tag.tpid.to_be_bytes());
            room[at + 2..at + 4].copy_from_slice(&tag.tci.to_be_bytes());
            at += 4;
        }
        room[at..at + 2].copy_from_slice(&ether_type.to_be_bytes());
        at + 2
    }
}

/// A header as read: the link, the EtherType behind the tags and where the payload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) link: Link,
    pub(super) ether_type: u16,
    pub(super) len: usize,
}

impl Header {
    /// Reads a frame's header; `None` if it is cut short. With more than two tags `ether_type` is the
    /// third tag's.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let (addresses, _) = frame.split_first_chunk::<12>()?;
        let mut link = Link { dst: [0; 6], src: [0; 6], vlans: Vlans::default() };
        link.dst.copy_from_slice(&addresses[..6]);
        link.src.copy_from_slice(&addresses[6..]);
        let mut at = 12;
        loop {
            let ether_type = word(frame, at)?;
            if Tag::is_tpid(ether_type) && link.vlans.tags().len() < 2 {
                link.vlans.push(Tag { tpid: ether_type, tci: word(frame, at + 2)? });
                at += 4;
            } else {
                return Some(Self { link, ether_type, len: at + 2 });
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The IP version that an EtherType announces; `None` for what is not IP.
pub(super) const fn version_of(ether_type: u16) -> Option<Version> {
    match ether_type {
        IPV4 => Some(Version::V4),
        IPV6 => Some(Version::V6),
        _ => None,
    }
}

/// The EtherType of an IP packet by its version; `None` for what is none.
pub(super) fn ether_type_of(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        for tags in 0..3u16 {
            let mut vlans = Vlans::default();
            for n in 0..tags {
                let tpid = if tags == 2 && n == 0 { 0x88a8 } else { 0x8100 };
                assert!(vlans.push(Tag { tpid, tci: 0xe000 | (n + 5) }));
            }
            let link = Link { dst: [1; 6], src: [2; 6], vlans };
            let mut room = [0; LONGEST];
            let len = link.emit(IPV6, &mut room);
            let header = Header::parse(&room[..len]).unwrap();
            assert_eq!(header, Header { link, ether_type: IPV6, len: 14 + 4 * usize::from(tags) });
            for short in 0..len {
                assert_eq!(Header::parse(&room[..short]), None);
            }
        }
    }

    #[test]
    fn priority_is_not_part_of_a_vlan() {
        let vlans = |tci| {
            let mut vlans = Vlans::default();
            vlans.push(Tag { tpid: 0x8100, tci });
            vlans
        };
        assert!(vlans(0xe005).same_vlans(&vlans(5)));
        assert!(!vlans(5).same_vlans(&vlans(6)));
        assert!(!vlans(5).same_vlans(&Vlans::default()));
    }
}
