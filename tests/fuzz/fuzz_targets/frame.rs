//! Frames at a port: the Ethernet header with its tags, and who is heard behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::attach::fuzzing::{header, heard};
use tsg_bridge::attach::{Side, Tag};

fuzz_target!(|input: &[u8]| {
    let Some((&outer, frame)) = input.split_first() else { return };
    let parsed = header(frame);
    if let Some((link, ether_type, again)) = &parsed {
        assert!(frame.starts_with(again), "{again:02x?}");
        let full = link.vlans.tags().len() == 2;
        assert!(full || !Tag::is_tpid(*ether_type));
        assert!(link.swapped().is_none_or(|back| back.dst == link.src && back.vlans == link.vlans));
    }
    let tag = (outer & 1 == 1).then_some(Tag { tpid: 0x8100, tci: u16::from(outer >> 1) });
    let told = heard(frame, tag, if outer & 2 == 0 { Side::Lan } else { Side::Wan });
    assert!(told.len() <= 2);
    for (address, link) in told {
        let (heard, _, _) = parsed.as_ref().expect("a frame without a header tells nothing");
        let tags = heard.vlans.tags().len() + usize::from(tag.is_some());
        assert!(tags <= 2, "{address} below {tags} tags");
        assert!(link.is_none_or(|link| link.src == heard.src), "{address}: {link:?}");
    }
});
