//! The walk through the headers of a plain packet, and that what it accepts can be sealed and comes
//! back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::ip::{Outline, Version};
use tsg_esp::seal::SealError;
use tsg_fuzz::{Buffer, form_and_rest, receiver, sender};

fuzz_target!(|input: &[u8]| {
    let Some((form, packet)) = form_and_rest(input) else { return };
    let Ok(outline) = Outline::parse(packet) else { return };
    assert!(outline.header_len <= outline.total_len && outline.total_len <= packet.len());
    assert!(outline.upper.is_none_or(|upper| upper.offset <= outline.total_len));
    assert!(outline.upper.is_some() || outline.unparsed);

    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    match sender().seal(&mut place, &outline, 7, form) {
        Ok(()) => {
            let sealed = Outline::parse(place.bytes()).expect("a sealed packet is a packet");
            assert_eq!(sealed.total_len, form.sealed_len(&outline));
            receiver().open(&mut place, &sealed, form).expect("it opens");
            let mut expected = packet[..outline.total_len].to_vec();
            // Of the two zeros of one's complement, updates of a header checksum leave one.
            if outline.version == Version::V4 && expected[10..12] == [0xff, 0xff] {
                expected[10..12].fill(0);
            }
            assert_eq!(place.bytes(), expected);
        }
        Err(SealError::Malformed | SealError::TooLong) => assert_eq!(place.bytes(), packet),
        Err(SealError::NoRoom | SealError::Exhausted) => panic!("there is room"),
    }
});
