//! What comes to an end of a tunnel: ESP in tunnel mode, and what the other end says by it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::ip::Outline;
use tsg_fuzz::{Buffer, receiver, sender};

fuzz_target!(|esp: &[u8]| {
    tsg_bridge::tunnel::fuzzing::hear(esp);
    let mut buffer = Buffer::of(esp);
    let mut place = buffer.packet();
    let Ok(opened) = receiver().open_tunnel(&mut place) else { return };
    let Some(inner) = opened.inner else { return };
    let plain = place.bytes().to_vec();
    assert_eq!(Outline::parse(&plain), Ok(inner));
    assert_eq!(plain.len(), inner.total_len);
    let mut buffer = Buffer::of(&plain);
    let mut place = buffer.packet();
    sender().seal_tunnel(&mut place, &inner, opened.time).expect("it can be sealed again");
    assert!(place.len() <= esp.len());
    receiver().open_tunnel(&mut place).expect("it opens again");
    assert_eq!(place.bytes(), plain);
});
