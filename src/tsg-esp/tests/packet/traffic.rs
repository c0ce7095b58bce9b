//! Packets to test with.

use proptest::prelude::*;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::checksum;
use tsg_esp::crypto::{Kdf, Spi, Suite, Tek};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::ip::Outline;
use tsg_esp::open::Receiver;
use tsg_esp::seal::Sender;

use crate::rustcrypto::{Blake2, TestCipher};

pub(crate) const FORMS: [Form; 4] = [
    Form::TRANSPARENT,
    Form { encap: Encap::Udp { port: 4253 }, aad: Aad::WithAddresses },
    Form { encap: Encap::Protocol(50), aad: Aad::Rfc4303 },
    Form { encap: Encap::Udp { port: 4500 }, aad: Aad::Rfc4303 },
];

pub(crate) const TIME: u32 = 0xfedc_ba98;

/// A sender and a receiver of one SPI.
pub(crate) fn pair(suite: Suite) -> (Sender<TestCipher>, Receiver<TestCipher>) {
    let spi = Spi::new(7, 0x00_1234).unwrap();
    let key = Blake2::derive(&Tek::new([0x5a; 32]), spi);
    let cipher = || TestCipher::new(suite, &key.key);
    (Sender::new(spi, cipher(), key.salt, 1, 1 << 20), Receiver::new(spi, cipher(), key.salt))
}

/// The packet in a buffer with just the room that sealing needs.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn of(packet: &[u8]) -> Self {
        let mut bytes = vec![0xee; HEAD_ROOM];
        bytes.extend_from_slice(packet);
        bytes.resize(bytes.len() + TAIL_ROOM, 0xee);
        Self(bytes)
    }

    pub(crate) fn packet(&mut self) -> Packet<'_> {
        let end = self.0.len() - TAIL_ROOM;
        Packet::new(&mut self.0, HEAD_ROOM..end).unwrap()
    }
}

/// The packet, sealed.
pub(crate) fn sealed(sender: &mut Sender<TestCipher>, packet: &[u8], form: &Form) -> Vec<u8> {
    let outline = Outline::parse(packet).unwrap();
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    sender.seal(&mut place, &outline, TIME, form).unwrap();
    place.bytes().to_vec()
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub(crate) const V4_SRC: [u8; 4] = [10, 0, 0, 1];
pub(crate) const V4_DST: [u8; 4] = [10, 0, 0, 2];

/// An IPv4 packet; `options` are padded to four bytes, `flags` is the 16-bit word of flags and
/// offset.
pub(crate) fn ipv4(protocol: u8, options: &[u8], id: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len().next_multiple_of(4);
    let mut packet = vec![0; header_len];
    packet[0] = 0x40 | (header_len / 4) as u8;
    packet[1] = 0xb9;
    packet[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    packet[8] = 63;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&V4_SRC);
    packet[16..20].copy_from_slice(&V4_DST);
    packet[20..20 + options.len()].copy_from_slice(options);
    let sum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// An IPv6 packet from `fd00::1` to `fd00::2`.
pub(crate) fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x85, 0x43, 0x21];
    packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[next_header, 61]);
    for host in [1, 2] {
        packet.push(0xfd);
        packet.extend_from_slice(&[0; 14]);
        packet.push(host);
    }
    packet.extend_from_slice(payload);
    packet
}

/// An extension header of `units` times 8 bytes more than the least, filled with padding options,
/// and what follows it.
pub(crate) fn extended(next_header: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next_header, units];
    bytes.resize(8 + 8 * usize::from(units), 0);
    bytes.extend_from_slice(rest);
    bytes
}

/// A fragment header and what follows it.
pub(crate) fn fragmented(
    next_header: u8,
    offset: u16,
    more: bool,
    id: u32,
    rest: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![next_header, 0];
    bytes.extend_from_slice(&(offset & !7 | u16::from(more)).to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

/// So many cases, or fewer where `PROPTEST_CASES` is below its default of 256.
pub(crate) fn cases(number: u32) -> ProptestConfig {
    ProptestConfig::with_cases((number * ProptestConfig::default().cases / 256).max(1))
}

pub(crate) fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(Suite::ALL.to_vec())
}

pub(crate) fn forms() -> impl Strategy<Value = Form> {
    prop::sample::select(FORMS.to_vec())
}

pub(crate) fn payloads(max: usize) -> impl Strategy<Value = Vec<u8>> {
    (0..=max, any::<u32>()).prop_map(|(len, seed)| noise(len, seed))
}

/// Protocols that ESP can carry in both versions: not those that only say how to go on.
fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => Just(6u8),
        3 => Just(17u8),
        1 => Just(1u8),
        1 => Just(58u8),
        2 => (0u8..=255).prop_filter("not a chain", |p| ![0, 43, 44, 50, 60, 253].contains(p)),
    ]
}

/// IPv4 options as they occur: router alert, record route, timestamp, a security option.
fn options() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec![148, 4, 0, 0]),
        1 => (1u8..=8).prop_map(|slots| {
            let mut route = vec![7, 3 + 4 * slots, 4];
            route.resize(usize::from(route[1]), 0);
            route
        }),
        1 => Just(vec![1, 1, 130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 148, 4, 0, 0]),
    ]
}

/// A fragment's offset in bytes, and whether more follow.
fn places() -> impl Strategy<Value = Option<(u16, bool)>> {
    prop_oneof![
        2 => Just(None),
        1 => (0u16..4000, any::<bool>())
            .prop_map(|(units, more)| Some((units * 8, more || units == 0))),
    ]
}

fn v4_packets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let header = (protocols(), options(), any::<u16>(), any::<bool>(), places());
    (header, payloads(max)).prop_map(|((protocol, options, id, dont, place), mut payload)| {
        let mut flags = if dont { 0x4000 } else { 0 };
        if let Some((offset, more)) = place {
            flags |= offset / 8;
            if more {
                flags |= 0x2000;
                payload.resize(payload.len().next_multiple_of(8).max(8), 3);
            }
        }
        ipv4(protocol, &options, id, flags, &payload)
    })
}

fn v6_packets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let header = (protocols(), 0u8..4, 0u8..3, any::<u32>(), places());
    (header, payloads(max)).prop_map(|((protocol, hops, dest, id, place), mut payload)| {
        let mut next = protocol;
        if let Some((offset, more)) = place {
            if more {
                payload.resize(payload.len().next_multiple_of(8).max(8), 3);
            }
            payload = fragmented(next, offset, more, id, &payload);
            next = 44;
        }
        if dest > 0 {
            payload = extended(next, dest - 1, &payload);
            next = 60;
        }
        if hops > 0 {
            payload = extended(next, hops - 1, &payload);
            next = 0;
        }
        ipv6(next, &payload)
    })
}

/// Packets of both versions with payloads of up to `max` bytes: options, extension headers,
/// fragments.
pub(crate) fn packets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![v4_packets(max), v6_packets(max)]
}
