//! Whole packets out of the fragments that the kernel cuts on the way into the device.
//!
//! It cuts a packet at one time and in order, so all that is done here is to put one behind the other. Not for: fragments
//! from a network, which come in any order and overlap; those are the kernel's when ESP comes in.

use crate::pipeline::Reason;
use std::collections::VecDeque;
use tsg_esp::ip::v6::FragmentHeader;
use tsg_esp::ip::{Fragment, Outline, Version, v4, v6};

/// Packets under way at once: of so many processors.
const MOST: usize = 16;

/// Packets of which something has come.
#[derive(Default)]
pub(super) struct Gather {
    started: VecDeque<Started>,
}

struct Started {
    id: u32,
    next_header: u8,
    header_len: usize,
    /// The header of the first fragment, and what was carried so far.
    packet: Vec<u8>,
}

impl Gather {
    /// Takes a fragment. The packet, once it is whole.
    ///
    /// # Errors
    /// It does not go on where one of them has stopped; that one is given up.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        outline: &Outline,
    ) -> Result<Option<Vec<u8>>, Reason> {
        let fragment = outline.fragment.ok_or(Reason::Malformed)?;
        let (header_len, payload_at, next_header) =
            places(bytes, outline, &fragment).ok_or(Reason::Policy)?;
        let payload = bytes.get(payload_at..outline.total_len).ok_or(Reason::Malformed)?;
        let place = self
            .started
            .iter()
            .position(|packet| packet.id == fragment.id && packet.next_header == next_header);
        let mut started = match place.and_then(|place| self.started.remove(place)) {
            Some(started) if fragment.offset > 0 => started,
            None | Some(_) if fragment.offset == 0 => {
                let packet = bytes[..header_len].to_vec();
                Started { id: fragment.id, next_header, header_len, packet }
            }
            None | Some(_) => return Err(Reason::Malformed),
        };
        if started.packet.len() - started.header_len != usize::from(fragment.offset) {
            return Err(Reason::Malformed);
        }
        started.packet.extend_from_slice(payload);
        if !fragment.more {
            return started.finish().map(Some);
        }
        if self.started.len() == MOST {
            self.started.pop_front();
        }
        self.started.push_back(started);
        Ok(None)
    }
}

/// How long the header is, where the payload begins, and what it is. `None` if there are other headers between them.
fn places(bytes: &[u8], outline: &Outline, fragment: &Fragment) -> Option<(usize, usize, u8)> {
    match outline.version {
        Version::V4 => Some((outline.header_len, outline.header_len, outline.next_header)),
        Version::V6 => {
            let header = FragmentHeader::parse(bytes.get(fragment.header_at..)?).ok()?;
            let payload_at = v6::HEADER_LEN + FragmentHeader::LEN;
            (fragment.header_at == v6::HEADER_LEN).then_some((
                v6::HEADER_LEN,
                payload_at,
                header.next_header,
            ))
        }
    }
}

impl Started {
    fn finish(mut self) -> Result<Vec<u8>, Reason> {
        let len = u16::try_from(self.packet.len()).map_err(|_| Reason::Malformed)?;
        if let Ok(mut header) = v4::Header::new_checked(&mut self.packet[..]) {
            header.set_total_len(len);
            header.set_fragment(0, false);
        } else {
            let header = v6::Header::new_checked(&mut self.packet[..]);
            let mut header = header.map_err(|_| Reason::Malformed)?;
            header.set_payload_len(len - v6::HEADER_LEN as u16);
            header.set_last_next_header(self.next_header).map_err(|_| Reason::Malformed)?;
        }
        Ok(self.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_esp::ip::protocol;

    /// A packet of UDP with that identification, and its fragments of so many bytes each.
    fn cut(version: Version, id: u8, payload: usize, size: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let payload: Vec<u8> = (0..payload).map(|at| at as u8 ^ id).collect();
        let whole = packet(version, id, 0, false, &payload, false);
        let pieces = payload.chunks(size).enumerate();
        let last = payload.len().div_ceil(size) - 1;
        let fragments = pieces
            .map(|(at, piece)| packet(version, id, at * size, at < last, piece, true))
            .collect();
        (whole, fragments)
    }

    fn packet(
        version: Version,
        id: u8,
        offset: usize,
        more: bool,
        payload: &[u8],
        is_fragment: bool,
    ) -> Vec<u8> {
        match version {
            Version::V4 => {
                let mut packet = vec![0x45, 0, 0, 0, 0, id, 0, 0, 64, protocol::UDP, 0, 0];
                packet.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
                packet.extend_from_slice(payload);
                let len = packet.len() as u16;
                let mut header = v4::Header::new_checked(&mut packet[..]).unwrap();
                header.set_total_len(len);
                header.set_fragment(offset as u16, more);
                header.fill_checksum();
                packet
            }
            Version::V6 => {
                let next_header = if is_fragment { protocol::FRAGMENT } else { protocol::UDP };
                let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
                packet.extend_from_slice(&[7; 32]);
                let (offset, id) = (offset as u16, u32::from(id));
                let header = FragmentHeader { next_header: protocol::UDP, offset, more, id };
                if is_fragment {
                    packet.extend_from_slice(&header.emit());
                }
                packet.extend_from_slice(payload);
                let len = packet.len() as u16 - 40;
                v6::Header::new_checked(&mut packet[..]).unwrap().set_payload_len(len);
                packet
            }
        }
    }

    fn take(gather: &mut Gather, fragment: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
        gather.take(fragment, &Outline::parse(fragment).unwrap())
    }

    #[test]
    fn packets_come_back_whole_also_when_their_fragments_mix() {
        for version in [Version::V4, Version::V6] {
            let mut gather = Gather::default();
            let packets: Vec<_> = (0..MOST as u8)
                .map(|id| cut(version, id, 60_000 - usize::from(id), 1_400))
                .collect();
            for at in 0..packets[0].1.len() {
                for (whole, fragments) in &packets {
                    let is_last = at == fragments.len() - 1;
                    let gathered = take(&mut gather, &fragments[at]).unwrap();
                    assert_eq!(gathered, is_last.then(|| whole.clone()));
                }
            }
            assert!(gather.started.is_empty());
        }
    }

    #[test]
    fn what_does_not_go_on_ends_its_packet() {
        for version in [Version::V4, Version::V6] {
            let mut gather = Gather::default();
            let (whole, fragments) = cut(version, 1, 400, 80);
            assert_eq!(take(&mut gather, &fragments[1]), Err(Reason::Malformed), "no beginning");
            for wrong in [0, 2] {
                take(&mut gather, &fragments[0]).unwrap();
                take(&mut gather, &fragments[1]).unwrap();
                take(&mut gather, &fragments[2]).unwrap();
                let again = take(&mut gather, &fragments[wrong]);
                assert_eq!(again.is_ok(), wrong == 0, "a first one begins anew");
                assert!(take(&mut gather, &fragments[3]).is_err());
            }
            // One more than there is room for: the oldest goes.
            for id in 1..=MOST as u8 + 1 {
                take(&mut gather, &cut(version, id, 400, 80).1[0]).unwrap();
            }
            assert_eq!(gather.started.len(), MOST);
            assert!(take(&mut gather, &fragments[1]).is_err());
            for fragment in &fragments[..4] {
                assert_eq!(take(&mut gather, fragment), Ok(None));
            }
            assert_eq!(take(&mut gather, &fragments[4]), Ok(Some(whole)));
        }
    }

    #[test]
    fn no_packet_is_longer_than_its_length_can_say() {
        let mut gather = Gather::default();
        let first = packet(Version::V4, 1, 0, true, &[0; 65_504], true);
        let last = packet(Version::V4, 1, 65_504, false, &[0; 31], true);
        take(&mut gather, &first).unwrap();
        assert_eq!(take(&mut gather, &last), Err(Reason::Malformed));
    }
}
