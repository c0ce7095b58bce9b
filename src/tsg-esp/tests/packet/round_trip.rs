//! open(seal(x)) = x.

use proptest::prelude::*;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::checksum;
use tsg_esp::crypto::Suite;
use tsg_esp::form::Form;
use tsg_esp::ip::Outline;
use tsg_esp::seal::{SEQUENCE_END, SealError, Sender};

use crate::rustcrypto::TestCipher;
use crate::traffic::{
    self, Buffer, FORMS, TIME, cases, extended, forms, fragmented, ipv4, ipv6, noise, packets,
    pair, suites,
};

/// Seals, opens, compares, and checks what is promised about the sealed packet.
fn comes_back(suite: Suite, form: &Form, packet: &[u8]) {
    let (mut sender, receiver) = pair(suite);
    let outline = Outline::parse(packet).unwrap();
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    sender.seal(&mut place, &outline, TIME, form).unwrap();

    let sealed = Outline::parse(place.bytes()).unwrap();
    assert_eq!(sealed.total_len, form.sealed_len(&outline));
    assert_eq!(sealed.total_len, place.len());
    assert!(form.is_sealed(&sealed));
    assert_eq!((sealed.src, sealed.dst), (outline.src, outline.dst));
    assert_eq!(sealed.dont_fragment, outline.dont_fragment);
    assert_eq!(sealed.fragment, None);
    if packet[0] >> 4 == 4 {
        assert_eq!(checksum::of(&place.bytes()[..sealed.header_len]), 0);
    }

    let opened = receiver.open(&mut place, &sealed, form).unwrap();
    assert_eq!((opened.sequence, opened.time), (1, TIME));
    assert_eq!(opened.outline, outline);
    assert_eq!(place.bytes(), packet);
}

#[test]
fn every_length_to_1600() {
    for len in 0..=1600 {
        let payload = noise(len, len as u32);
        let suite = Suite::ALL[len % 2];
        comes_back(suite, &FORMS[len / 2 % 4], &ipv4(17, &[], 9, 0, &payload));
        comes_back(suite, &FORMS[len / 3 % 4], &ipv6(17, &payload));
    }
    println!("{} packets", 2 * 1601);
}

#[test]
fn the_longest_that_fit_an_ip_packet() {
    for form in &FORMS {
        for headers in [20usize, 40] {
            let most = form.largest_payload(headers, u16::MAX).unwrap();
            let build = |len: usize| match headers {
                20 => ipv4(200, &[], 9, 0, &noise(len, 5)),
                _ => ipv6(200, &noise(len, 5)),
            };
            comes_back(Suite::ChaCha20Poly1305, form, &build(most));
            let packet = build(most + 1);
            let outline = Outline::parse(&packet).unwrap();
            let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
            let refused = sender.seal(&mut Buffer::of(&packet).packet(), &outline, TIME, form);
            assert_eq!(refused, Err(SealError::TooLong));
        }
    }
}

#[test]
fn costs_34_to_37_bytes() {
    for len in 0..64 {
        let packet = ipv4(6, &[], 1, 0, &noise(len, 1));
        let outline = Outline::parse(&packet).unwrap();
        let overhead = Form::TRANSPARENT.sealed_len(&outline) - packet.len();
        assert_eq!(overhead, 34 + (2 + 4 * len - len) % 4, "payload of {len}");
    }
}

#[test]
fn ethernet_padding_is_trimmed_on_both_sides() {
    let packet = ipv4(6, &[], 1, 0, &noise(3, 1));
    let mut frame = packet.clone();
    frame.resize(46, 0);
    for form in &FORMS {
        let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
        let mut sealed = traffic::sealed(&mut sender, &frame, form);
        assert_eq!(sealed.len(), form.sealed_len(&Outline::parse(&packet).unwrap()));
        sealed.extend_from_slice(&[0; 7]);
        let outline = Outline::parse(&sealed).unwrap();
        let mut buffer = Buffer::of(&sealed);
        let mut place = buffer.packet();
        receiver.open(&mut place, &outline, form).unwrap();
        assert_eq!(place.bytes(), packet);
    }
}

#[test]
fn a_wrong_header_checksum_stays_wrong() {
    let mut packet = ipv4(6, &[], 1, 0, &noise(30, 1));
    packet[10] ^= 0x40;
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    let sealed = traffic::sealed(&mut sender, &packet, &Form::TRANSPARENT);
    assert_ne!(checksum::of(&sealed[..20]), 0);
    comes_back_unchecked(&packet);
}

fn comes_back_unchecked(packet: &[u8]) {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let sealed = traffic::sealed(&mut sender, packet, &Form::TRANSPARENT);
    let outline = Outline::parse(&sealed).unwrap();
    let mut buffer = Buffer::of(&sealed);
    let mut place = buffer.packet();
    receiver.open(&mut place, &outline, &Form::TRANSPARENT).unwrap();
    assert_eq!(place.bytes(), packet);
}

#[test]
fn the_udp_checksum_is_zero_over_ipv4_and_right_over_ipv6() {
    let form = &FORMS[1];
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    let v4 = traffic::sealed(&mut sender, &ipv4(6, &[], 1, 0, &noise(99, 1)), form);
    assert_eq!(v4[26..28], [0, 0]);
    let v6 = traffic::sealed(&mut sender, &ipv6(6, &noise(99, 1)), form);
    let outline = Outline::parse(&v6).unwrap();
    let mut sum =
        checksum::Sum::pseudo_header(outline.src, outline.dst, 17, v6.len() - outline.header_len);
    sum.add(&v6[40..]);
    assert_eq!(sum.finish(), 0);
    assert_ne!(v6[46..48], [0, 0]);
}

#[test]
fn sequence_numbers_rise_to_the_limit_and_no_further() {
    let packet = ipv4(6, &[], 1, 0, b"x");
    let outline = Outline::parse(&packet).unwrap();
    let (unused, _) = pair(Suite::ChaCha20Poly1305);
    let spi = unused.spi();
    let cipher = TestCipher::new(Suite::ChaCha20Poly1305, &[1; 32]);
    let mut sender = Sender::new(spi, &cipher, [0; 4], 5, 7);
    let seal = |sender: &mut Sender<&TestCipher>| {
        let mut buffer = Buffer::of(&packet);
        let mut place = buffer.packet();
        let result = sender.seal(&mut place, &outline, TIME, &Form::TRANSPARENT);
        result.map(|()| u32::from_be_bytes(place.bytes()[24..28].try_into().unwrap()))
    };
    assert_eq!((sender.remaining(), sender.sequence()), (2, 5));
    sender.extend(6);
    assert_eq!(sender.remaining(), 2, "a limit never moves back");
    assert_eq!([seal(&mut sender), seal(&mut sender)], [Ok(5), Ok(6)]);
    assert_eq!(seal(&mut sender), Err(SealError::Exhausted));
    sender.extend(8);
    assert_eq!([seal(&mut sender), seal(&mut sender)], [Ok(7), Err(SealError::Exhausted)]);

    let mut last = Sender::new(spi, &cipher, [0; 4], SEQUENCE_END - 1, u64::MAX);
    assert_eq!((last.remaining(), seal(&mut last)), (1, Ok(u32::MAX)));
    assert_eq!((last.remaining(), seal(&mut last)), (0, Err(SealError::Exhausted)));
}

#[test]
fn without_room_nothing_changes_and_no_number_is_used() {
    let packet = ipv4(6, &[], 1, 0, &noise(20, 1));
    let outline = Outline::parse(&packet).unwrap();
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    // 16 bytes in front and 20 behind are what this packet takes; padding of a frame counts as room.
    let cases = [(15, 0, TAIL_ROOM), (HEAD_ROOM, 0, 19), (HEAD_ROOM, 6, 13), (0, 0, 0)];
    for (front, padding, back) in cases {
        let mut packet = packet.clone();
        packet.resize(packet.len() + padding, 0);
        let mut bytes = vec![0; front];
        bytes.extend_from_slice(&packet);
        bytes.resize(bytes.len() + back, 0);
        let mut place = Packet::new(&mut bytes, front..front + packet.len()).unwrap();
        let refused = sender.seal(&mut place, &outline, TIME, &Form::TRANSPARENT);
        assert_eq!(refused, Err(SealError::NoRoom));
        assert_eq!(place.bytes(), packet);
        assert_eq!(sender.sequence(), 1);
    }
}

#[test]
fn what_could_not_be_restored_is_not_sealed() {
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    let twice = extended(0, 0, &extended(6, 0, b"data"));
    let packets = [ipv4(44, &[], 1, 0, &fragmented(6, 0, true, 1, b"12345678")), ipv6(0, &twice)];
    for packet in packets {
        let outline = Outline::parse(&packet).unwrap();
        let mut buffer = Buffer::of(&packet);
        let mut place = buffer.packet();
        let refused = sender.seal(&mut place, &outline, TIME, &Form::TRANSPARENT);
        assert_eq!(refused, Err(SealError::Malformed));
        assert_eq!(place.bytes(), packet);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_packet(suite in suites(), form in forms(), packet in packets(1600)) {
        comes_back(suite, &form, &packet);
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn any_big_packet(suite in suites(), form in forms(), packet in packets(30_000)) {
        comes_back(suite, &form, &packet);
    }
}
