//! A packet from the wire, and that what it opens to is a packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::ip::Outline;
use tsg_esp::open::Header;
use tsg_fuzz::{Buffer, form_and_rest, receiver, sender};

fuzz_target!(|input: &[u8]| {
    let Some((form, packet)) = form_and_rest(input) else { return };
    let Ok(outline) = Outline::parse(packet) else { return };
    let header = Header::parse(packet, &outline, form);
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    let Ok(opened) = receiver().open(&mut place, &outline, form) else { return };
    let header = header.expect("what opens has a header");
    assert_eq!((opened.sequence, opened.time), (header.sequence, header.time));
    assert!(form.is_sealed(&outline) && outline.fragment.is_none());
    let plain = place.bytes().to_vec();
    assert_eq!(Outline::parse(&plain), Ok(opened.outline));

    // An attacker may add padding that a sender does not; sealed anew, the packet is no longer.
    sender().seal(&mut place, &opened.outline, opened.time, form).expect("it can be sealed again");
    assert!(place.len() <= packet.len());
    let again = Outline::parse(place.bytes()).expect("a sealed packet is a packet");
    receiver().open(&mut place, &again, form).expect("it opens again");
    assert_eq!(place.bytes(), plain);
});
