//! The answer to what does not fit.

use proptest::prelude::*;
use tsg_esp::buffer::Packet;
use tsg_esp::checksum::{self, Sum};
use tsg_esp::crypto::Suite;
use tsg_esp::form::Form;
use tsg_esp::ip::{Outline, Version};
use tsg_esp::too_big::{MAX_LEN, Unanswerable, answer, told};

use crate::traffic::{
    FORMS, V4_DST, cases, extended, fragmented, ipv4, ipv6, noise, packets, pair, sealed,
};

fn answer_to(packet: &[u8], mtu: u16) -> Result<Vec<u8>, Unanswerable> {
    let mut bytes = [0xaa; MAX_LEN];
    let mut out = Packet::new(&mut bytes, 0..0).unwrap();
    answer(packet, &Outline::parse(packet).unwrap(), mtu, &mut out)?;
    Ok(out.bytes().to_vec())
}

#[test]
fn fragmentation_needed() {
    let mtu = Form::TRANSPARENT.plain_mtu(Version::V4, 1500).unwrap();
    assert_eq!(mtu, 1466);
    let packet = ipv4(17, &[], 1, 0x4000, &noise(1480, 1));
    let answer = answer_to(&packet, mtu).unwrap();
    assert_eq!(answer.len(), 576);
    let outline = Outline::parse(&answer).unwrap();
    let original = Outline::parse(&packet).unwrap();
    assert_eq!((outline.src, outline.dst), (original.dst, original.src));
    assert_eq!(checksum::of(&answer[..20]), 0);
    assert_eq!(checksum::of(&answer[20..]), 0);
    assert_eq!(answer[20..22], [3, 4]);
    assert_eq!(answer[24..28], [0, 0, 0x05, 0xba]);
    assert_eq!(answer[28..], packet[..548]);
    let quoted = outline.quoted(&answer).unwrap().unwrap();
    assert_eq!(quoted.upper, original.upper);
}

#[test]
fn packet_too_big() {
    let mtu = Form::TRANSPARENT.plain_mtu(Version::V6, 1500).unwrap();
    assert_eq!(mtu, 1466);
    let packet = ipv6(17, &noise(1460, 1));
    let answer = answer_to(&packet, mtu).unwrap();
    assert_eq!(answer.len(), 1280);
    let outline = Outline::parse(&answer).unwrap();
    let original = Outline::parse(&packet).unwrap();
    assert_eq!((outline.src, outline.dst), (original.dst, original.src));
    let mut sum = Sum::pseudo_header(outline.src, outline.dst, 58, answer.len() - 40);
    sum.add(&answer[40..]);
    assert_eq!(sum.finish(), 0);
    assert_eq!(answer[40..42], [2, 0]);
    assert_eq!(answer[44..48], [0, 0, 0x05, 0xba]);
    assert_eq!(answer[48..], packet[..1232]);
}

#[test]
fn a_short_packet_is_quoted_whole() {
    let packet = ipv4(17, &[], 1, 0x4000, &noise(100, 1));
    assert_eq!(answer_to(&packet, 100).unwrap()[28..], packet);
}

#[test]
fn never_about_an_error() {
    for kind in [3, 4, 5, 11, 12] {
        let packet = ipv4(1, &[], 1, 0x4000, &[kind; 40]);
        assert_eq!(answer_to(&packet, 1400), Err(Unanswerable::Error));
    }
    assert!(answer_to(&ipv4(1, &[], 1, 0x4000, &[8; 40]), 1400).is_ok(), "a ping is none");
    assert_eq!(answer_to(&ipv6(58, &[1; 40]), 1400), Err(Unanswerable::Error));
    assert!(answer_to(&ipv6(58, &[128; 40]), 1400).is_ok());
    let unreadable = ipv6(60, &extended(0, 0, &noise(40, 1)));
    assert_eq!(answer_to(&unreadable, 1400), Err(Unanswerable::Error));
}

#[test]
fn only_about_the_first_fragment() {
    assert!(answer_to(&ipv4(17, &[], 1, 0x6000, &noise(16, 1)), 1400).is_ok());
    let later = Err(Unanswerable::LaterFragment);
    assert_eq!(answer_to(&ipv4(17, &[], 1, 0x4001, &noise(16, 1)), 1400), later);
    assert_eq!(answer_to(&ipv6(44, &fragmented(17, 8, false, 1, &noise(16, 1))), 1400), later);
}

#[test]
fn only_between_single_hosts() {
    let v4 = |at: usize, address: [u8; 4]| {
        let mut packet = ipv4(17, &[], 1, 0x4000, &noise(40, 1));
        packet[at..at + 4].copy_from_slice(&address);
        answer_to(&packet, 1400).map(|_| ())
    };
    for at in [12, 16] {
        for address in [[224, 0, 0, 251], [255; 4], [240, 0, 0, 1], [0; 4], [127, 0, 0, 1]] {
            assert_eq!(v4(at, address), Err(Unanswerable::Address), "{address:?}");
        }
        assert_eq!(v4(at, [192, 0, 2, 7]), Ok(()));
    }
    for at in [8, 24] {
        let mut packet = ipv6(17, &noise(40, 1));
        packet[at] = 0xff;
        assert_eq!(answer_to(&packet, 1400), Err(Unanswerable::Address));
        packet[at..at + 16].fill(0);
        assert_eq!(answer_to(&packet, 1400), Err(Unanswerable::Address));
        packet[at + 15] = 1;
        assert_eq!(answer_to(&packet, 1400), Err(Unanswerable::Address));
    }
}

#[test]
fn never_an_mtu_that_hosts_do_not_believe() {
    let (v4, v6) = (ipv4(17, &[], 1, 0x4000, &noise(40, 1)), ipv6(17, &noise(40, 1)));
    assert_eq!(answer_to(&v4, 67), Err(Unanswerable::MtuTooSmall));
    assert!(answer_to(&v4, 68).is_ok());
    assert_eq!(answer_to(&v6, 1279), Err(Unanswerable::MtuTooSmall));
    assert!(answer_to(&v6, 1280).is_ok());
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_mtu_told_is_the_longest_that_fits(path_mtu in 100u16.., len in 0usize..1600) {
        for form in crate::traffic::FORMS {
            for version in [Version::V4, Version::V6] {
                let mtu = form.plain_mtu(version, path_mtu).unwrap();
                let payload = noise(len, 1);
                let packet = match version {
                    Version::V4 => ipv4(200, &[], 1, 0, &payload),
                    Version::V6 => ipv6(200, &payload),
                };
                let outline = Outline::parse(&packet).unwrap();
                prop_assert_eq!(form.fits(&outline, path_mtu), packet.len() <= usize::from(mtu));
            }
        }
    }

    #[test]
    fn any_packet_gets_a_right_answer_or_none(packet in packets(1600), mtu in any::<u16>()) {
        let Ok(answer) = answer_to(&packet, mtu) else { return Ok(()) };
        let outline = Outline::parse(&answer).unwrap();
        prop_assert!(outline.is_icmp_error());
        prop_assert_eq!(outline.total_len, answer.len());
        let quoted = outline.quoted(&answer).unwrap().unwrap();
        let original = Outline::parse(&packet).unwrap();
        prop_assert_eq!((quoted.src, quoted.dst), (outline.dst, outline.src));
        prop_assert_eq!(quoted.next_header, original.next_header);
    }
}

#[test]
fn what_others_say_about_sealed_packets_is_read() {
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    for form in &FORMS {
        let v4 = sealed(&mut sender, &ipv4(17, &[], 1, 0x4000, &noise(900, 1)), form);
        let v6 = sealed(&mut sender, &ipv6(17, &noise(900, 1)), form);
        let v4_error = |code, quote: &[u8]| {
            ipv4(1, &[], 1, 0, &[&[3, code, 0, 0, 0, 0, 0x05, 0x14], quote].concat())
        };
        let v6_error = |kind, mtu: u32, quote: &[u8]| {
            ipv6(58, &[&[kind, 0, 0, 0][..], &mtu.to_be_bytes(), quote].concat())
        };
        let told = |packet: Vec<u8>| {
            told(&packet, &Outline::parse(&packet).unwrap(), form)
                .map(|told| (told.dst, told.mtu, told.spi.epoch_byte(), told.spi.sender()))
        };
        let v4_dst = std::net::IpAddr::from(V4_DST);
        assert_eq!(told(v4_error(4, &v4[..60])), Some((v4_dst, 1_300, 7, 0x1234)));
        let seen = told(v6_error(2, 1_300, &v6)).unwrap();
        assert_eq!((seen.0.is_ipv6(), seen.1, seen.3), (true, 1_300, 0x1234));
        assert_eq!(told(v6_error(2, 1 << 20, &v6)).unwrap().1, u16::MAX);
        assert_eq!(told(v4_error(3, &v4[..60])), None, "of another kind");
        assert_eq!(told(v6_error(1, 1_300, &v6)), None, "of another kind");
        assert_eq!(told(v4_error(4, &v4[..23])), None, "nobody knows whose");
        let plain = ipv4(17, &[], 1, 0x4000, &noise(40, 1));
        assert_eq!(told(v4_error(4, &plain)), None, "not sealed");
        assert_eq!(told(v4), None, "no error at all");
    }
}
