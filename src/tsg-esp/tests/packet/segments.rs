//! Cutting what was left to the network card, and joining what can be cut again.

use proptest::prelude::*;
use tsg_esp::buffer::Packet;
use tsg_esp::checksum::{self, Sum};
use tsg_esp::crypto::Suite;
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::ip::{Malformed, Outline};
use tsg_esp::join::{Added, Joined, Shape};
use tsg_esp::segment::{Cut, Kind, Offload, Partial};

use crate::traffic::{cases, extended, ipv4, ipv6, noise, pair, sealed};

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const FIN: u8 = 0x01;
const CWR: u8 = 0x80;
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

#[derive(Clone, Debug)]
struct Plain {
    v6: bool,
    kind: Kind,
    flags: u8,
    body: usize,
    sequence: u32,
    id: u16,
}

const TCP: Plain = Plain {
    v6: false,
    kind: Kind::Tcp,
    flags: ACK,
    body: 1_000,
    sequence: 0xffff_ff00,
    id: 0xffff,
};
const UDP: Plain = Plain { kind: Kind::Udp, ..TCP };

/// A packet as it goes over a wire, with its checksum.
fn packet(plain: &Plain) -> Vec<u8> {
    let Plain { v6, kind, flags, body, sequence, id } = *plain;
    let mut upper = match kind {
        Kind::Tcp => {
            let mut header = vec![0x13, 0x88, 0x01, 0xf6];
            header.extend(sequence.to_be_bytes());
            header.extend([0, 0, 0, 7, 0x80, flags, 0x20, 0, 0, 0, 0, 0]);
            header.extend(TIMESTAMPS);
            header
        }
        Kind::Udp => {
            let [high, low] = (body as u16 + 8).to_be_bytes();
            vec![0x4e, 0x20, 0x4e, 0x21, high, low, 0, 0]
        }
    };
    upper.extend(noise(body, 3));
    let proto = if kind == Kind::Tcp { 6 } else { 17 };
    let mut packet = if v6 { ipv6(proto, &upper) } else { ipv4(proto, &[], id, 0x4000, &upper) };
    let at = packet.len() - upper.len() + checksum_at(kind);
    let sum = match (upper_sum(&packet), kind) {
        // In UDP that means that there is none (RFC 768).
        (0, Kind::Udp) => 0xffff,
        (sum, Kind::Tcp | Kind::Udp) => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

const fn checksum_at(kind: Kind) -> usize {
    match kind {
        Kind::Tcp => 16,
        Kind::Udp => 6,
    }
}

/// 0 if the upper layer's checksum is right.
fn upper_sum(packet: &[u8]) -> u16 {
    let outline = Outline::parse(packet).unwrap();
    let upper = outline.upper.unwrap();
    let bytes = &packet[upper.offset..outline.total_len];
    let mut sum = Sum::pseudo_header(outline.src, outline.dst, upper.proto, bytes.len());
    sum.add(bytes);
    sum.finish()
}

fn cut(packet: &[u8], kind: Kind, size: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let outline = Outline::parse(packet).unwrap();
    let cut = Cut::plan(packet, &outline, kind, size, true)?;
    let piece = |number| {
        let mut room = vec![0xee; 50 + cut.longest()];
        let mut piece = Packet::new(&mut room, 50..50).unwrap();
        cut.write(number, &mut piece).unwrap();
        piece.bytes().to_vec()
    };
    Ok((0..cut.count()).map(piece).collect())
}

/// All that can be joined with the first, and how many packets that were.
fn join(pieces: &[Vec<u8>]) -> (Vec<u8>, Joined) {
    let first = &pieces[0];
    let shape = Shape::of(first, false).unwrap();
    let (mut joined, mut whole) = (Joined::new(shape), first.clone());
    for next in &pieces[1..] {
        let Some(shape) = Shape::of(next, false) else { break };
        if joined.add(first, next, &shape) != Added::Behind {
            break;
        }
        whole.extend(&next[shape.head()..]);
    }
    (whole, joined)
}

#[test]
fn a_stretch_of_tcp_is_cut_as_a_card_does_it() {
    let flags = ACK | PSH | FIN | CWR;
    let pieces = cut(&packet(&Plain { flags, ..TCP }), Kind::Tcp, 400).unwrap();
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| {
            let sequence = u32::from_be_bytes(piece[24..28].try_into().unwrap());
            let id = u16::from_be_bytes([piece[4], piece[5]]);
            (piece.len() - 52, sequence, piece[33], id)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (400, 0xffff_ff00, ACK | CWR, 0xffff),
            (400, 0x90, ACK, 0),
            (200, 0x220, ACK | PSH | FIN, 1),
        ]
    );
    for piece in &pieces {
        let outline = Outline::parse(piece).unwrap();
        assert_eq!((outline.total_len, upper_sum(piece)), (piece.len(), 0));
        assert_eq!(tsg_esp::checksum::of(&piece[..20]), 0);
    }
    let body: Vec<u8> = pieces.iter().flat_map(|piece| piece[52..].to_vec()).collect();
    assert_eq!(body, noise(1_000, 3));
}

#[test]
fn what_is_not_of_that_kind_is_not_cut() {
    let (tcp, udp) = (packet(&TCP), packet(&UDP));
    for (bytes, kind, size) in [
        (&tcp, Kind::Udp, 400),
        (&udp, Kind::Tcp, 400),
        (&tcp, Kind::Tcp, 0),
        (&packet(&Plain { body: 0, ..TCP }), Kind::Tcp, 400),
        (&ipv4(6, &[], 1, 0x2000, &tcp[20..36]), Kind::Tcp, 4),
        (&ipv4(6, &[], 1, 0, &[0; 12]), Kind::Tcp, 4),
        (&ipv4(6, &[], 1, 0, &noise(20, 0xf0)), Kind::Tcp, 4),
    ] {
        assert_eq!(cut(bytes, kind, size), Err(Malformed), "{bytes:02x?}");
    }
}

/// What one of the pieces may be that is not joined with the one before it.
#[test]
fn nothing_is_joined_that_would_not_come_out_again() {
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [(&str, Kind, Spoil); 20] = [
        ("a hole", Kind::Tcp, |piece| piece[27] ^= 1),
        ("another flag", Kind::Tcp, |piece| piece[33] |= 0x20),
        ("the end", Kind::Tcp, |piece| piece[33] |= FIN),
        ("congestion seen", Kind::Tcp, |piece| piece[33] |= CWR),
        ("another acknowledgement", Kind::Tcp, |piece| piece[31] ^= 1),
        ("another window", Kind::Tcp, |piece| piece[35] ^= 1),
        ("an urgent pointer", Kind::Tcp, |piece| piece[39] ^= 1),
        ("another option", Kind::Tcp, |piece| piece[47] ^= 1),
        ("another DSCP", Kind::Tcp, |piece| piece[1] ^= 4),
        ("another ECN", Kind::Udp, |piece| piece[1] ^= 1),
        ("another TTL", Kind::Udp, |piece| piece[8] ^= 1),
        ("it may be cut", Kind::Udp, |piece| piece[6] ^= 0x40),
        ("a fragment", Kind::Udp, |piece| piece[6] |= 0x20),
        ("an identification that does not follow", Kind::Udp, |piece| piece[5] ^= 2),
        ("another port", Kind::Udp, |piece| piece[23] ^= 1),
        ("another address", Kind::Udp, |piece| piece[19] ^= 1),
        ("another length than the datagram says", Kind::Udp, |piece| piece[25] ^= 1),
        ("no checksum", Kind::Udp, |_| ()),
        ("a longer one", Kind::Udp, |_| ()),
        ("padding", Kind::Tcp, |piece| piece.push(0)),
    ];
    for (what, kind, spoil) in spoils {
        let whole = packet(&Plain { kind, ..TCP });
        let mut pieces = cut(&whole, kind, 500).unwrap();
        assert_eq!(join(&pieces).1.count(), 2, "{what}: these can be joined");
        let second = &mut pieces[1];
        spoil(second);
        if what == "a longer one" {
            *second = packet(&Plain { kind, body: 501, id: 0, ..TCP });
        }
        sum_up(second, kind, what);
        assert_eq!(join(&pieces).1.count(), 1, "{what}");
    }
}

/// Checksums as they should be, so that it is not them that is in the way.
fn sum_up(piece: &mut [u8], kind: Kind, what: &str) {
    piece[10..12].fill(0);
    let sum = tsg_esp::checksum::of(&piece[..20]);
    piece[10..12].copy_from_slice(&sum.to_be_bytes());
    let at = 20 + checksum_at(kind);
    piece[at..at + 2].fill(0);
    if what != "no checksum" && Outline::parse(piece).is_ok() {
        let sum = upper_sum(piece);
        piece[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[test]
fn a_wrong_checksum_stays_visible() {
    for (kind, at) in [(Kind::Tcp, 60), (Kind::Udp, 40), (Kind::Udp, 11)] {
        let whole = packet(&Plain { kind, ..TCP });
        let mut pieces = cut(&whole, kind, 500).unwrap();
        pieces[1][at] ^= 1;
        assert_eq!(join(&pieces).1.count(), 1);
        assert!(Shape::of(&pieces[1], false).is_none());
    }
}

/// Both are right, and nobody knows which one the next card writes.
#[test]
fn neither_zero_of_a_tcp_checksum_is_joined() {
    let mut pieces = cut(&packet(&TCP), Kind::Tcp, 500).unwrap();
    // What the sum lacks to zero goes into the payload.
    let missing = u16::from_be_bytes([pieces[1][36], pieces[1][37]]);
    let word = u16::from_be_bytes([pieces[1][60], pieces[1][61]]);
    let sum = u32::from(word) + u32::from(missing);
    let word = (sum & 0xffff) as u16 + (sum >> 16) as u16;
    pieces[1][60..62].copy_from_slice(&word.to_be_bytes());
    for zero in [0, 0xffff_u16] {
        pieces[1][36..38].copy_from_slice(&zero.to_be_bytes());
        assert_eq!(upper_sum(&pieces[1]), 0, "{zero:04x} is right");
        assert!(Shape::of(&pieces[1], false).is_none(), "{zero:04x}");
    }
}

#[test]
fn a_short_or_pushed_one_is_the_last() {
    let mut pieces = cut(&packet(&Plain { kind: Kind::Udp, ..TCP }), Kind::Udp, 300).unwrap();
    pieces.push(packet(&Plain { body: 100, id: 3, ..UDP }));
    assert_eq!(join(&pieces).1.count(), 4);
    let pushed = cut(&packet(&Plain { flags: ACK | PSH, ..TCP }), Kind::Tcp, 500).unwrap();
    let next = Plain { sequence: TCP.sequence.wrapping_add(1_000), id: 1, body: 500, ..TCP };
    assert_eq!(join(&[&pushed[..], &[packet(&next)]].concat()).1.count(), 2);
}

/// Where the kernel joins what it receives, one without a checksum would overtake the others.
#[test]
fn a_sealed_datagram_that_is_alone_gets_a_checksum() {
    let mut datagram = packet(&UDP);
    datagram[26..28].fill(0);
    let shape = Shape::of(&datagram, true).unwrap();
    let Offload { checksum, cut } = Joined::new(shape).finish(&mut datagram).unwrap();
    let Partial { start, offset } = checksum.unwrap();
    assert_eq!((start, offset, cut), (20, 6, None));
    checksum::complete(&mut datagram, start, offset).unwrap();
    assert_eq!(upper_sum(&datagram), 0);
    for own in [false, true] {
        let summed = Shape::of(&datagram, own).unwrap();
        assert_eq!(Joined::new(summed).finish(&mut datagram).unwrap(), Offload::default());
    }
}

#[test]
fn a_sum_that_was_left_is_made_once() {
    let form = Form { encap: Encap::Udp { port: 4253 }, aad: Aad::WithAddresses };
    let (mut sender, _) = pair(Suite::Aes256Gcm);
    sender.leave_sums();
    let inner = noise(33, 4);
    let mut alone = sealed(&mut sender, &ipv6(17, &inner), &form);
    assert_eq!(alone[46..48], [0, 0]);
    for joined in [Joined::new, Joined::alone] {
        let mut first = alone.clone();
        let Offload { checksum, cut } =
            joined(Shape::of(&first, true).unwrap()).finish(&mut first).unwrap();
        assert_eq!((checksum, cut), (Some(Partial { start: 40, offset: 6 }), None));
        checksum::complete(&mut first, 40, 6).unwrap();
        assert_eq!(upper_sum(&first), 0);
    }
    let next = sealed(&mut sender, &ipv6(17, &inner), &form);
    let shape = |packet| Shape::of(packet, true).unwrap();
    assert_eq!(Joined::alone(shape(&alone)).add(&alone, &next, &shape(&next)), Added::Apart);
    let mut train = Joined::new(shape(&alone));
    assert_eq!(train.add(&alone, &next, &shape(&next)), Added::Behind);
    train.finish(&mut alone).unwrap();

    // Behind other headers nobody finds it, so it is there.
    let far = sealed(&mut sender, &ipv6(0, &extended(17, 0, &inner)), &form);
    assert!(Shape::of(&far, true).is_none());
    assert_ne!(far[54..56], [0, 0]);
}

/// The kernel would make longer ones of them.
#[test]
fn the_smallest_pieces_of_tcp_go_by_themselves() {
    let joined = |kind, size| {
        let whole = packet(&Plain { kind, body: 30, ..TCP });
        join(&cut(&whole, kind, size).unwrap()).1.count()
    };
    assert_eq!(joined(Kind::Tcp, 7), 1);
    assert_eq!(joined(Kind::Tcp, 8), 4);
    assert_eq!(joined(Kind::Udp, 1), 30);
}

#[test]
fn order_counts_within_a_flow_only() {
    let add = |next: &[u8]| {
        let first = packet(&TCP);
        let shape = |packet| Shape::of(packet, false).unwrap();
        Joined::new(shape(&first)).add(&first, next, &shape(next))
    };
    assert_eq!(add(&packet(&UDP)), Added::OtherFlow);
    assert_eq!(add(&packet(&TCP)), Added::Apart, "the same again");
    let sequence = TCP.sequence.wrapping_add(1_000);
    assert_eq!(add(&packet(&Plain { sequence, id: 0, ..TCP })), Added::Behind);
}

#[test]
fn tcp_is_cut_to_what_fits_and_datagrams_are_not() {
    let (tcp, udp) = (packet(&TCP), packet(&UDP));
    let longest = |packet: &[u8], kind, most| {
        let outline = Outline::parse(packet).unwrap();
        let cut = Cut::plan(packet, &outline, kind, 600, true).unwrap();
        cut.no_longer_than(most).map(|cut| (cut.longest(), cut.count()))
    };
    assert_eq!(longest(&tcp, Kind::Tcp, 2_000), Some((652, 2)));
    assert_eq!(longest(&tcp, Kind::Tcp, 352), Some((352, 4)));
    assert_eq!(longest(&tcp, Kind::Tcp, 52), None);
    assert_eq!(longest(&tcp, Kind::Tcp, 40), None);
    assert_eq!(longest(&udp, Kind::Udp, 100), Some((628, 2)));
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn what_was_cut_is_joined_to_what_it_was(
        v6 in any::<bool>(),
        kind in prop_oneof![Just(Kind::Tcp), Just(Kind::Udp)],
        push in any::<bool>(),
        body in 2usize..9_000,
        size in 200usize..1_500,
        sequence in any::<u32>(),
        id in any::<u16>(),
    ) {
        let flags = if push { ACK | PSH } else { ACK };
        let plain = Plain { v6, kind, flags, body, sequence, id };
        let whole = packet(&plain);
        let pieces = cut(&whole, kind, size).unwrap();
        prop_assert_eq!(pieces.len(), body.div_ceil(size));
        for piece in &pieces {
            prop_assert_eq!(upper_sum(piece), 0);
        }
        // See `neither_zero_of_a_tcp_checksum_is_joined`.
        let zero = |piece: &Vec<u8>| {
            let at = Outline::parse(piece).unwrap().upper.unwrap().offset + checksum_at(kind);
            kind == Kind::Tcp && matches!(piece[at..at + 2], [0, 0] | [0xff, 0xff])
        };
        prop_assume!(!zero(&whole) && !pieces.iter().any(zero));
        let (mut again, joined) = join(&pieces);
        prop_assert_eq!(usize::from(joined.count()), pieces.len());
        let offload = joined.finish(&mut again).unwrap();
        if let Some(partial) = offload.checksum {
            prop_assert_eq!(offload.cut, Some((kind, size as u16)));
            tsg_esp::checksum::complete(&mut again, partial.start, partial.offset).unwrap();
        }
        prop_assert_eq!(again, whole);
    }

    #[test]
    fn whatever_comes_is_read_within_its_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        v6 in any::<bool>(),
        own in any::<bool>(),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        if let Some(shape) = Shape::of(&bytes, own) {
            prop_assert!(shape.head() < bytes.len());
        }
        if let Ok(outline) = Outline::parse(&bytes) {
            for kind in [Kind::Tcp, Kind::Udp] {
                let _ = Cut::plan(&bytes, &outline, kind, 7, own).map(|cut| cut.count());
            }
        }
    }
}
