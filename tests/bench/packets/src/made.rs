//! Packets to measure with.

use tsg_esp::buffer::Packet;
use tsg_esp::checksum::{self, Sum};
use tsg_esp::ip::Outline;
use tsg_esp::segment::{Cut, Kind};

const SRC: [u8; 4] = [10, 0, 0, 1];
const DST: [u8; 4] = [10, 0, 0, 2];

/// Payload of a packet of 64 KiB.
const STRETCH: usize = 40 * 1_400;

/// A UDP datagram over IPv4 with so many bytes of payload.
pub fn datagram(len: usize) -> Vec<u8> {
    let mut udp = vec![0x4e, 0x20, 0x4e, 0x20];
    udp.extend(((len + 8) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.resize(8 + len, 0x5a);
    ipv4(17, 6, udp)
}

/// A stretch of TCP that is to be cut.
pub fn stretch() -> Vec<u8> {
    let mut tcp =
        vec![0x13, 0x88, 0x01, 0xf6, 0, 0, 0, 1, 0, 0, 0, 7, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0];
    tcp.resize(20 + STRETCH, 0x5a);
    ipv4(6, 16, tcp)
}

/// The stretch in pieces with so many bytes of payload.
pub(crate) fn pieces(size: usize) -> Vec<Vec<u8>> {
    let source = stretch();
    let Ok(outline) = Outline::parse(&source) else { return Vec::new() };
    let Ok(cut) = Cut::plan(&source, &outline, Kind::Tcp, size, true) else { return Vec::new() };
    let piece = |number| {
        let mut room = vec![0; cut.longest()];
        let mut piece = Packet::new(&mut room, 0..0).ok()?;
        cut.write(number, &mut piece).ok()?;
        Some(piece.bytes().to_vec())
    };
    (0..cut.count()).filter_map(piece).collect()
}

fn ipv4(proto: u8, checksum_at: usize, mut upper: Vec<u8>) -> Vec<u8> {
    let mut sum = Sum::pseudo_header(SRC.into(), DST.into(), proto, upper.len());
    sum.add(&upper);
    upper[checksum_at..checksum_at + 2].copy_from_slice(&sum.finish().to_be_bytes());
    let mut packet = vec![0x45, 0];
    packet.extend(((20 + upper.len()) as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, proto, 0, 0]);
    packet.extend(SRC);
    packet.extend(DST);
    let sum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(upper);
    packet
}
