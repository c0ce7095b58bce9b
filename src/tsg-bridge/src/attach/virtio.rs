//! The header of virtio-net in front of a frame: what the kernel has left to be done, or we leave to it.
//!
//! 10 bytes in the machine's byte order, as TUN and packet sockets have them by default. The length of headers in
//! it is a hint that forwarded packets do not always keep to, so it is not read.

use tsg_esp::segment::{Kind, Offload, Partial};

/// Its length.
pub(crate) const LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;

/// What kind of packet is to be cut: TCP over IPv4, TCP over IPv6, UDP.
const NONE: u8 = 0;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP: u8 = 5;

/// Its fields, with places counted from the front of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    flags: u8,
    cut: u8,
    headers: u16,
    size: u16,
    start: u16,
    offset: u16,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8; LEN]) -> Self {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let [flags, cut, ..] = *bytes;
        Self { flags, cut, headers: word(2), size: word(4), start: word(6), offset: word(8) }
    }

    pub(crate) fn emit(&self) -> [u8; LEN] {
        let mut bytes = [self.flags, self.cut, 0, 0, 0, 0, 0, 0, 0, 0];
        let words = [self.headers, self.size, self.start, self.offset];
        for (place, word) in bytes[2..].as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
        bytes
    }

    /// What is left to be done to the packet that begins `link_len` bytes into the frame. `None` if it cannot be
    /// done here.
    pub(crate) fn offload(&self, link_len: usize) -> Option<Offload> {
        let checksum = match self.flags & NEEDS_CHECKSUM {
            0 => None,
            _ => Some(Partial {
                start: usize::from(self.start).checked_sub(link_len)?,
                offset: usize::from(self.offset),
            }),
        };
        let cut = match self.cut {
            NONE => None,
            TCP_V4 | TCP_V6 => Some((Kind::Tcp, self.size)),
            UDP => Some((Kind::Udp, self.size)),
            _ => return None,
        };
        Some(Offload { checksum, cut })
    }

    /// For a packet behind `link_len` bytes of link header; its payload begins `head` bytes into it.
    pub(crate) fn of(offload: Offload, link_len: usize, head: usize, is_v6: bool) -> Self {
        let mut header = Self::default();
        if let Some(Partial { start, offset }) = offload.checksum {
            header.flags = NEEDS_CHECKSUM;
            header.start = (link_len + start) as u16;
            header.offset = offset as u16;
        }
        if let Some((kind, size)) = offload.cut {
            header.cut = match (kind, is_v6) {
                (Kind::Tcp, false) => TCP_V4,
                (Kind::Tcp, true) => TCP_V6,
                (Kind::Udp, _) => UDP,
            };
            header.size = size;
            header.headers = (link_len + head) as u16;
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        for is_v6 in [false, true] {
            for cut in [None, Some((Kind::Tcp, 1_448)), Some((Kind::Udp, 36))] {
                for checksum in [None, Some(Partial { start: 20, offset: 16 })] {
                    let offload = Offload { checksum, cut };
                    let header = Header::of(offload, 18, 52, is_v6);
                    assert_eq!(Header::parse(&header.emit()), header);
                    assert_eq!(header.offload(18), Some(offload));
                }
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let ecn = Header { cut: TCP_V4 | 0x80, ..Header::default() };
        assert_eq!(ecn.offload(14), None);
        let in_the_link_header = Header { flags: NEEDS_CHECKSUM, start: 13, ..Header::default() };
        assert_eq!(in_the_link_header.offload(14), None);
    }
}
