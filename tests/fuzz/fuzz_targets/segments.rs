//! Uncut packets of any shape, cut; and what comes of that, joined: if all of it can be joined, it is the
//! uncut packet again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::buffer::Packet;
use tsg_esp::checksum::complete;
use tsg_esp::ip::Outline;
use tsg_esp::join::{Added, Joined, Shape, same_ends};
use tsg_esp::segment::{Cut, Kind};

/// More pieces say nothing new.
const MOST: usize = 200;

fuzz_target!(|input: &[u8]| {
    // One byte for kind and checksum, two for the size.
    let Some(([flags, high, low], packet)) = input.split_first_chunk() else { return };
    let kind = if flags & 1 == 0 { Kind::Tcp } else { Kind::Udp };
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    for own in [false, true] {
        if let Some(shape) = Shape::of(packet, own) {
            assert!(shape.head() < packet.len());
        }
    }
    let Ok(outline) = Outline::parse(packet) else { return };
    let Ok(cut) = Cut::plan(packet, &outline, kind, size, flags & 2 != 0) else { return };
    assert!(cut.count() > 0 && cut.longest() <= outline.total_len);
    if cut.count() > MOST {
        return;
    }
    let pieces: Vec<Vec<u8>> = (0..cut.count()).map(|number| piece(&cut, number)).collect();
    for piece in &pieces {
        let parsed = Outline::parse(piece).expect("a piece is a packet");
        assert_eq!(parsed.total_len, piece.len());
        assert!(same_ends(packet, piece));
    }
    if let Some(joined) = join(&pieces) {
        let at = outline.upper.expect("it was cut").offset + if kind == Kind::Tcp { 16 } else { 6 };
        let [joined, alike] =
            [joined, alike(packet, &outline)].map(|packet| with_one_zero(packet, at));
        assert_eq!(joined, alike, "from {packet:02x?}");
    }
});

fn piece(cut: &Cut<'_>, number: usize) -> Vec<u8> {
    let mut room = vec![0xee; cut.longest()];
    let mut piece = Packet::new(&mut room, 0..0).expect("it is inside");
    cut.write(number, &mut piece).expect("there is room for the longest");
    piece.bytes().to_vec()
}

/// The two zeros of one's complement are the same.
fn with_one_zero(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    if packet[at..at + 2] == [0, 0] {
        packet[at..at + 2].fill(0xff);
    }
    packet
}

/// All pieces in one, with its checksum; `None` if some do not belong together.
fn join(pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
    let first = &pieces[0];
    let mut joined = Joined::new(Shape::of(first, false)?);
    let mut whole = first.clone();
    for next in &pieces[1..] {
        let shape = Shape::of(next, false)?;
        if joined.add(first, next, &shape) != Added::Behind {
            return None;
        }
        whole.extend(&next[shape.head()..]);
    }
    let offload = joined.finish(&mut whole).expect("it is the first packet");
    if let Some(partial) = offload.checksum {
        complete(&mut whole, partial.start, partial.offset).expect("the checksum is in the packet");
    }
    Some(whole)
}

/// The packet as it would be with right checksums: cut into one piece.
fn alike(packet: &[u8], outline: &Outline) -> Vec<u8> {
    [Kind::Tcp, Kind::Udp]
        .into_iter()
        .find_map(|kind| Cut::plan(packet, outline, kind, usize::from(u16::MAX), true).ok())
        .map(|whole| piece(&whole, 0))
        .expect("it was cut before")
}
