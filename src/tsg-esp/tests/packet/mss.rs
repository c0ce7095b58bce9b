//! Clamping the MSS.

use proptest::prelude::*;
use tsg_esp::checksum::Sum;
use tsg_esp::form::Form;
use tsg_esp::ip::{Outline, Version};
use tsg_esp::mss::{clamp, max_mss};

use crate::traffic::{FORMS, cases, extended, ipv4, ipv6, noise};

const SYN: u8 = 0x02;

fn tcp(flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len().next_multiple_of(4);
    let mut segment = noise(20, 9);
    segment[12] = (header_len as u8 / 4) << 4;
    segment[13] = flags;
    segment[16..18].fill(0);
    segment.extend_from_slice(options);
    segment.resize(header_len, 0);
    segment.extend_from_slice(data);
    segment
}

/// The packet with its TCP checksum filled in.
fn checked(mut packet: Vec<u8>) -> Vec<u8> {
    let sum = tcp_sum(&packet);
    let at = Outline::parse(&packet).unwrap().upper.unwrap().offset + 16;
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What has to go into the field while it is zero; 0 if it is right.
fn tcp_sum(packet: &[u8]) -> u16 {
    let outline = Outline::parse(packet).unwrap();
    let segment = &packet[outline.upper.unwrap().offset..];
    let mut sum = Sum::pseudo_header(outline.src, outline.dst, 6, segment.len());
    sum.add(segment);
    sum.finish()
}

fn clamped(packet: &[u8], max: u16) -> (Option<u16>, Vec<u8>) {
    let mut packet = packet.to_vec();
    let outline = Outline::parse(&packet).unwrap();
    (clamp(&mut packet, &outline, max), packet)
}

#[test]
fn a_segment_of_that_size_just_fits() {
    for form in &FORMS {
        for path_mtu in 120..=1600 {
            for version in [Version::V4, Version::V6] {
                let Some(mss) = max_mss(path_mtu, version, form) else { continue };
                let fits = |mss: u16| {
                    let segment = tcp(0x10, &[], &noise(mss.into(), 1));
                    let packet = match version {
                        Version::V4 => ipv4(6, &[], 1, 0x4000, &segment),
                        Version::V6 => ipv6(6, &segment),
                    };
                    form.fits(&Outline::parse(&packet).unwrap(), path_mtu)
                };
                assert!(fits(mss) && !fits(mss + 1));
            }
        }
    }
    assert_eq!(max_mss(1500, Version::V4, &Form::TRANSPARENT), Some(1426));
    assert_eq!(max_mss(1500, Version::V6, &Form::TRANSPARENT), Some(1406));
    assert_eq!(max_mss(60, Version::V6, &Form::TRANSPARENT), None);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_checksum_is_that_of_a_full_computation(
        before in proptest::collection::vec(prop_oneof![
            Just(vec![1u8]),
            Just(vec![3, 3, 7]),
            Just(vec![4, 2]),
            Just(vec![8, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
        ], 0..3),
        mss in any::<u16>(),
        max in any::<u16>(),
        data in proptest::collection::vec(any::<u8>(), 0..40),
        v6 in any::<bool>(),
    ) {
        let mut options = before.concat();
        let at = 20 + options.len() + 2;
        options.extend([2, 4]);
        options.extend(mss.to_be_bytes());
        let segment = tcp(SYN, &options, &data);
        let packet = checked(match v6 {
            true => ipv6(0, &extended(6, 0, &segment)),
            false => ipv4(6, &[], 1, 0, &segment),
        });
        prop_assert_eq!(tcp_sum(&packet), 0);
        let (former, after) = clamped(&packet, max);
        prop_assert_eq!(former, (mss > max).then_some(mss));
        prop_assert_eq!(tcp_sum(&after), 0);
        let at = at + if v6 { 48 } else { 20 };
        prop_assert_eq!(&after[at..at + 2], &mss.min(max).to_be_bytes()[..]);
        let changed = packet.iter().zip(&after).filter(|(a, b)| a != b).count();
        prop_assert!(changed <= 4);
    }
}

#[test]
fn both_directions_of_the_handshake_and_nothing_else() {
    let option = [2, 4, 0x05, 0xb4];
    let packet = |flags| checked(ipv4(6, &[], 1, 0, &tcp(flags, &option, &[])));
    for flags in [SYN, SYN | 0x10, SYN | 0xc0] {
        assert_eq!(clamped(&packet(flags), 1426).0, Some(1460));
    }
    assert_eq!(clamped(&packet(SYN), 1460).0, None, "it is what it should be");
    for flags in [0x10, 0x11, 0x04] {
        assert_eq!(clamped(&packet(flags), 1426), (None, packet(flags)));
    }
}

#[test]
fn what_is_not_a_sound_syn_stays_as_it_is() {
    let unchanged = |packet: Vec<u8>| assert_eq!(clamped(&packet, 1), (None, packet));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[], &[2, 4, 5, 180])));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[0, 2, 4, 5, 180], &[])));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[2, 3, 5, 180], &[])));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[3, 0, 2, 4, 5, 180], &[])));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[1, 1, 1, 2], &[4, 5, 180, 0])));
    unchanged(ipv4(6, &[], 1, 0, &tcp(SYN, &[1, 1, 2, 4], &[5, 180, 0, 0])));
    unchanged(ipv4(17, &[], 1, 0, &tcp(SYN, &[2, 4, 5, 180], &[])));
    unchanged(ipv4(6, &[], 1, 1, &tcp(SYN, &[2, 4, 5, 180], &[])));
    let segment = tcp(SYN, &[2, 4, 5, 180], &[]);
    for len in 0..segment.len() {
        unchanged(ipv4(6, &[], 1, 0, &segment[..len]));
    }
}
