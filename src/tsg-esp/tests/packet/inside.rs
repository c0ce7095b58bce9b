//! What an opened packet may be: shapes that an honest sender never makes, sealed with the right
//! key.

use tsg_esp::DropReason;
use tsg_esp::crypto::{Cipher, Spi, Suite};
use tsg_esp::esp::{HEADER_LEN, Header};
use tsg_esp::form::Form;
use tsg_esp::ip::Outline;
use tsg_esp::open::{self, Receiver};

use crate::rustcrypto::TestCipher;
use crate::traffic::{Buffer, fragmented, ipv4, ipv6, noise, pair, sealed};

const KEY: [u8; 32] = [9; 32];
const SALT: [u8; 4] = [8; 4];

/// Seals `data` (payload with trailer) as it is, whatever it says.
fn forged(v6: bool, data: &[u8]) -> Vec<u8> {
    let header = Header { spi: 0x0100_0001, sequence: 5, iv: [7; 8] };
    let build = |esp: &[u8]| if v6 { ipv6(253, esp) } else { ipv4(253, &[], 1, 0, esp) };
    let outline = Outline::parse(&build(&[])).unwrap();
    let aad = [&header.emit()[..8], &address(outline.src), &address(outline.dst)].concat();
    let mut body = data.to_vec();
    let cipher = TestCipher::new(Suite::ChaCha20Poly1305, &KEY);
    let icv = cipher.seal(&header.nonce(SALT), &aad, &mut body);
    build(&[&header.emit()[..], &body, &icv].concat())
}

fn address(address: core::net::IpAddr) -> Vec<u8> {
    match address {
        core::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        core::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn open_forged(v6: bool, data: &[u8]) -> Result<Vec<u8>, DropReason> {
    let packet = forged(v6, data);
    let outline = Outline::parse(&packet).unwrap();
    let spi = Spi::from_wire(0x0100_0001).unwrap();
    let cipher = TestCipher::new(Suite::ChaCha20Poly1305, &KEY);
    let receiver = Receiver::new(spi, cipher, SALT);
    let mut buffer = Buffer::of(&packet);
    let mut place = buffer.packet();
    receiver.open(&mut place, &outline, &Form::TRANSPARENT)?;
    Ok(place.bytes().to_vec())
}

#[test]
fn padding_must_count_from_one() {
    let opens = |data: &[u8]| open_forged(false, data).map(|packet| packet[20..].to_vec());
    assert_eq!(opens(b"data\x01\x02\x02\x06"), Ok(b"data".to_vec()));
    assert_eq!(
        opens(b"data\x01\x02\x03\x04\x05\x06\x06\x06"),
        Ok(b"data".to_vec()),
        "more is legal"
    );
    assert_eq!(opens(b"\x01\x02\x02\x06"), Ok(vec![]));
    for data in [b"data\x00\x00\x02\x06", b"data\x02\x01\x02\x06", b"data\x01\x03\x02\x06"] {
        assert_eq!(opens(data), Err(DropReason::WrongPadding));
    }
    assert_eq!(opens(b"data\x01\x02\xff\x06"), Err(DropReason::WrongPadding), "longer than all");
    assert_eq!(opens(b"\x01\x02\x03\x06"), Err(DropReason::WrongPadding));
}

/// With a trailer of no padding.
fn inside(payload: &[u8], next_header: u8) -> Vec<u8> {
    let mut data = payload.to_vec();
    let pad = tsg_esp::esp::pad_len(payload.len()) as u8;
    data.extend(1..=pad);
    data.extend([pad, next_header]);
    data
}

#[test]
fn an_inside_that_is_no_packet_is_dropped() {
    let bad = Err(DropReason::BadInner);
    assert_eq!(open_forged(false, &inside(b"1234567", 44)), bad, "half a fragment header");
    let beyond = fragmented(6, 65_528, false, 1, b"12345678");
    assert_eq!(open_forged(false, &inside(&beyond, 44)), bad, "a fragment beyond 65,535");
    let crooked = fragmented(6, 8, true, 1, b"1234567");
    assert_eq!(open_forged(false, &inside(&crooked, 44)), bad, "not a multiple of 8");
    assert_eq!(open_forged(true, &inside(&crooked, 44)), bad);
    let twice = fragmented(44, 8, false, 1, b"12345678");
    assert_eq!(open_forged(false, &inside(&twice, 44)), bad, "a fragment header in one");
    assert_eq!(open_forged(true, &inside(&[6, 0, 0, 0, 0, 0, 0, 0], 0)), bad, "hop-by-hop options");
    let good = fragmented(6, 8, true, 1, b"12345678");
    assert_eq!(open_forged(false, &inside(&good, 44)).unwrap()[6..10], [0x20, 1, 63, 6]);
    assert!(open_forged(true, &inside(&good, 44)).is_ok());
}

#[test]
fn the_header_is_read_without_a_key() {
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    for packet in [ipv4(6, &[], 1, 0, &noise(9, 9)), ipv6(6, &noise(9, 9))] {
        let sequence = sender.sequence() as u32;
        let sealed = sealed(&mut sender, &packet, &Form::TRANSPARENT);
        let outline = Outline::parse(&sealed).unwrap();
        let header = open::Header::parse(&sealed, &outline, &Form::TRANSPARENT).unwrap();
        let expected = open::Header { spi: sender.spi(), sequence, time: crate::traffic::TIME };
        assert_eq!(header, expected);
    }
}

#[test]
fn shapes_that_are_refused_before_any_key() {
    let parse = |packet: &[u8]| {
        let outline = Outline::parse(packet).unwrap();
        open::Header::parse(packet, &outline, &Form::TRANSPARENT).map(|_| ())
    };
    let esp = |spi: u32, sequence: u32, len: usize| {
        let header = Header { spi, sequence, iv: [0; 8] }.emit();
        [&header[..], &vec![0; len - HEADER_LEN]].concat()
    };
    let good = esp(0x0100_0001, 1, 36);
    assert_eq!(parse(&ipv4(253, &[], 1, 0, &good)), Ok(()));
    assert_eq!(parse(&ipv4(253, &[], 1, 0x2000, &good[..32])), Err(DropReason::SealedFragment));
    assert_eq!(parse(&ipv4(253, &[], 1, 4, &good)), Err(DropReason::SealedFragment));
    for (what, esp) in [
        ("too short", esp(0x0100_0001, 1, 32)),
        ("not aligned", esp(0x0100_0001, 1, 37)),
        ("no epoch", esp(1, 1, 36)),
        ("no sender", esp(0x0100_0000, 1, 36)),
        ("no number", esp(0x0100_0001, 0, 36)),
    ] {
        assert_eq!(parse(&ipv4(253, &[], 1, 0, &esp)), Err(DropReason::Malformed), "{what}");
        assert_eq!(parse(&ipv6(253, &esp)), Err(DropReason::Malformed), "{what}");
    }
    assert_eq!(parse(&ipv4(6, &[], 1, 0, &good)), Err(DropReason::Malformed), "not sealed");
}

#[test]
fn an_outline_cannot_point_into_the_ip_header() {
    let mut packet = ipv6(253, &noise(100, 1));
    packet[8..16].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 1]);
    let mut outline = Outline::parse(&packet).unwrap();
    outline.header_len = 8;
    let header = open::Header::parse(&packet, &outline, &Form::TRANSPARENT);
    assert_eq!(header, Err(DropReason::Malformed));
}

#[test]
fn an_outline_of_another_packet_is_an_error_and_not_a_panic() {
    let absurd = Outline { header_len: 3, ..Outline::parse(&ipv6(253, &noise(99, 1))).unwrap() };
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let long = ipv4(253, &[148, 4, 0, 0], 1, 0, &noise(100, 1));
    let outline = Outline::parse(&long).unwrap();
    let others = [ipv6(253, &noise(100, 2)), ipv4(253, &[], 1, 0, &noise(120, 2))];
    for other in others.iter().flat_map(|other| (0..other.len()).map(|len| &other[..len])) {
        for outline in [&outline, &absurd] {
            let mut buffer = Buffer::of(other);
            let mut place = buffer.packet();
            assert!(sender.seal(&mut place, outline, 0, &Form::TRANSPARENT).is_err());
            assert_eq!(place.bytes(), other);
            assert!(receiver.open(&mut place, outline, &Form::TRANSPARENT).is_err());
        }
    }
}
