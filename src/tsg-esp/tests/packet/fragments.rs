//! Cutting, sealing, opening and putting together again.

use proptest::prelude::*;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::checksum;
use tsg_esp::crypto::Suite;
use tsg_esp::form::Form;
use tsg_esp::fragment::{PathTooNarrow, WriteError, pieces, write_piece};
use tsg_esp::ip::{Outline, Version};

use crate::traffic::{
    self, Buffer, FORMS, cases, extended, forms, fragmented, ipv4, ipv6, noise, packets, pair,
    suites,
};

const SPARE_ID: u32 = 0xdead_beef;

/// The plain fragments of a packet for that path.
fn cut(packet: &[u8], path_mtu: u16, form: &Form) -> Result<Vec<Vec<u8>>, PathTooNarrow> {
    let outline = Outline::parse(packet).unwrap();
    let mut fragments = vec![];
    for piece in pieces(&outline, path_mtu, form, SPARE_ID)? {
        let mut bytes = vec![0; HEAD_ROOM + usize::from(path_mtu) + TAIL_ROOM];
        let mut out = Packet::new(&mut bytes, HEAD_ROOM..HEAD_ROOM).unwrap();
        let written = write_piece(packet, &outline, &piece, &mut out).unwrap();
        assert_eq!(Outline::parse(out.bytes()), Ok(written));
        fragments.push(out.bytes().to_vec());
        assert!(fragments.len() <= 65_535 / 8 + 1, "there is no end");
    }
    Ok(fragments)
}

/// What a host makes of fragments that arrive in order, or a later cut of one fragment: the place
/// it starts at, what it begins with, all its bytes, whether the end is still missing, and the
/// identification.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    offset: u16,
    next_header: u8,
    data: Vec<u8>,
    more: bool,
    id: u32,
}

fn reassemble(fragments: &[Vec<u8>]) -> Whole {
    let parts: Vec<Whole> = fragments.iter().map(|fragment| part(fragment)).collect();
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap();
    for part in parts {
        assert!(whole.more, "something follows the last fragment");
        assert_eq!(usize::from(part.offset), usize::from(whole.offset) + whole.data.len());
        assert_eq!((part.id, part.next_header), (whole.id, whole.next_header));
        whole.data.extend(part.data);
        whole.more = part.more;
    }
    whole
}

/// One packet, as the whole of a single fragment.
fn part(packet: &[u8]) -> Whole {
    let outline = Outline::parse(packet).unwrap();
    let (offset, more, id) = match outline.fragment {
        Some(fragment) => (fragment.offset, fragment.more, fragment.id),
        None => (0, false, outline.id.into()),
    };
    let (next_header, data_at) = match (outline.version, outline.fragment) {
        (Version::V6, Some(fragment)) => (packet[fragment.header_at], fragment.header_at + 8),
        (Version::V4, _) | (Version::V6, None) => (outline.next_header, outline.header_len),
    };
    Whole { offset, next_header, data: packet[data_at..].to_vec(), more, id }
}

fn survives(suite: Suite, form: &Form, path_mtu: u16, packet: &[u8]) {
    let original = Outline::parse(packet).unwrap();
    let Ok(fragments) = cut(packet, path_mtu, form) else {
        assert!(path_mtu < 400, "{path_mtu} should do");
        return;
    };
    let (mut sender, receiver) = pair(suite);
    for fragment in &fragments {
        let outline = Outline::parse(fragment).unwrap();
        assert!(form.fits(&outline, path_mtu), "{} bytes", form.sealed_len(&outline));
        let sealed = traffic::sealed(&mut sender, fragment, form);
        let outline = Outline::parse(&sealed).unwrap();
        assert_eq!((outline.fragment, outline.dont_fragment), (None, original.dont_fragment));
        let mut buffer = Buffer::of(&sealed);
        let mut place = buffer.packet();
        receiver.open(&mut place, &outline, form).unwrap();
        assert_eq!(place.bytes(), fragment);
    }
    let mut expected = part(packet);
    if original.fragment.is_none() {
        let named =
            original.version == Version::V4 && !(original.id == 0 && original.dont_fragment);
        expected.id = match original.version {
            Version::V4 if named => original.id.into(),
            Version::V4 => SPARE_ID & 0xffff,
            Version::V6 => SPARE_ID,
        };
    }
    assert_eq!(reassemble(&fragments), expected);
    for fragment in &fragments {
        same_headers(packet, fragment, &original);
    }
}

/// All but lengths, checksum, and what makes a fragment.
fn same_headers(packet: &[u8], fragment: &[u8], original: &Outline) {
    match original.version {
        Version::V4 => {
            assert_eq!(checksum::of(&fragment[..original.header_len]), 0);
            assert_eq!((fragment[1], fragment[8], fragment[9]), (packet[1], packet[8], packet[9]));
            assert_eq!(fragment[12..20], packet[12..20]);
            assert_eq!(fragment[6] & 0xc0, packet[6] & 0xc0);
        }
        Version::V6 => {
            assert_eq!((&fragment[..4], &fragment[7..40]), (&packet[..4], &packet[7..40]));
            if original.header_len > 40 {
                assert_eq!(fragment[41..original.header_len], packet[41..original.header_len]);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_packet_through_any_path(
        suite in suites(),
        form in forms(),
        path_mtu in 60u16..3000,
        packet in packets(6000),
    ) {
        survives(suite, &form, path_mtu, &packet);
    }
}

#[test]
fn the_paths_that_matter() {
    let mut packets = 0;
    for form in &FORMS {
        for path_mtu in [576, 1280, 1400, 1492, 1500, 9000] {
            for len in [0, 1, 1432, 1436, 1440, 1463, 1480, 8008, 65_000] {
                let payload = noise(len, 2);
                for packet in [ipv4(17, &[], 0, 0x4000, &payload), ipv6(17, &payload)] {
                    survives(Suite::ChaCha20Poly1305, form, path_mtu, &packet);
                    packets += 1;
                }
            }
        }
    }
    println!("{packets} packets");
}

#[test]
fn a_big_udp_packet_takes_two_packets_of_1500() {
    let fragments = cut(&ipv4(17, &[], 5, 0, &noise(1480, 1)), 1500, &Form::TRANSPARENT).unwrap();
    assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [20 + 1432, 20 + 48]);
    let (mut sender, _) = pair(Suite::ChaCha20Poly1305);
    let lens = fragments.iter().map(|f| traffic::sealed(&mut sender, f, &Form::TRANSPARENT).len());
    // 20 IP, 16 ESP, 8 fragment header, the piece, 2 of padding and 2 of trailer, 16 ICV
    assert_eq!(lens.collect::<Vec<_>>(), [1496, 112]);
}

#[test]
fn only_the_first_fragment_keeps_options_that_are_not_copied() {
    // no operation, record route (not copied), router alert (copied)
    let options = [1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0];
    let packet = ipv4(17, &options, 5, 0, &noise(300, 1));
    let fragments = cut(&packet, 200, &Form::TRANSPARENT).unwrap();
    assert_eq!(fragments.len(), 3);
    assert_eq!(fragments[0][20..32], options);
    for later in &fragments[1..] {
        assert_eq!(later[20..32], [1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0]);
        assert_eq!(checksum::of(&later[..32]), 0);
    }
}

#[test]
fn a_fragment_header_behind_destination_options_is_found_again() {
    let rest = extended(44, 1, &fragmented(17, 160, true, 77, &noise(800, 1)));
    let packet = ipv6(60, &rest);
    let fragments = cut(&packet, 400, &Form::TRANSPARENT).unwrap();
    assert!(fragments.len() > 2);
    for fragment in &fragments {
        assert_eq!(fragment[40..56], packet[40..56]);
    }
    assert_eq!(reassemble(&fragments), part(&packet));
}

#[test]
fn a_path_too_narrow_is_an_error() {
    let packet = ipv4(17, &[], 5, 0, &noise(300, 1));
    let narrowest = 20 + 16 + 8 + 8 + 2 + 2 + 16;
    assert!(cut(&packet, narrowest, &Form::TRANSPARENT).is_ok());
    for path_mtu in 0..narrowest {
        assert_eq!(cut(&packet, path_mtu, &Form::TRANSPARENT), Err(PathTooNarrow));
    }
}

#[test]
fn a_piece_that_does_not_fit_the_buffer_or_the_packet_is_an_error() {
    let packet = ipv6(17, &noise(300, 1));
    let outline = Outline::parse(&packet).unwrap();
    let piece = pieces(&outline, 200, &Form::TRANSPARENT, 1).unwrap().next().unwrap();
    let write = |source: &[u8], room: usize| {
        let mut bytes = vec![0; room];
        let mut out = Packet::new(&mut bytes, 0..0).unwrap();
        write_piece(source, &outline, &piece, &mut out).map(|outline| outline.total_len)
    };
    let len = 40 + 8 + piece.len;
    assert_eq!(write(&packet, len), Ok(len));
    assert_eq!(write(&packet, len - 1), Err(WriteError::NoRoom));
    assert_eq!(write(&packet[..100], len), Err(WriteError::Malformed));
    assert_eq!(write(&ipv4(17, &[], 1, 0, &noise(300, 1)), len), Err(WriteError::Malformed));
}
