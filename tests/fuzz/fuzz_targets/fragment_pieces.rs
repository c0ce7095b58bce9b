//! Cutting a packet: every piece fits, is a packet, and all of them are the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::fragment::{pieces, write_piece};
use tsg_esp::ip::{Outline, Version};
use tsg_fuzz::{form_and_rest, sender};

fuzz_target!(|input: &[u8]| {
    let Some((form, rest)) = form_and_rest(input) else { return };
    let Some((mtu, packet)) = rest.split_first_chunk() else { return };
    let path_mtu = u16::from_be_bytes(*mtu);
    let Ok(outline) = Outline::parse(packet) else { return };
    let Ok(pieces) = pieces(&outline, path_mtu, form, 0x1234_5678) else { return };
    let mut sender = sender();
    let mut expected = pieces.clone().next().map_or(0, |piece| piece.from);
    for piece in pieces {
        assert_eq!(piece.from, expected);
        expected += piece.len;
        assert!(!piece.more || piece.len % 8 == 0);
        let mut bytes = vec![0; HEAD_ROOM + usize::from(path_mtu) + TAIL_ROOM];
        let mut out = Packet::new(&mut bytes, HEAD_ROOM..HEAD_ROOM).expect("the range is inside");
        // Unless the packet itself is one that no host accepts, or cannot be sealed, every piece
        // can.
        let Ok(written) = write_piece(packet, &outline, &piece, &mut out) else {
            panic!("a piece of a packet is one");
        };
        let data = &packet[piece.from..piece.from + piece.len];
        assert!(out.bytes().ends_with(data));
        assert!(form.fits(&written, path_mtu));
        if sender.seal(&mut out, &written, 7, form).is_err() {
            let chained = match outline.version {
                Version::V4 => 44,
                Version::V6 => 0,
            };
            assert_eq!(outline.next_header, chained);
        }
    }
    assert_eq!(expected, outline.total_len);
});
