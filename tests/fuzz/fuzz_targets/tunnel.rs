//! What comes to an end of a tunnel: ESP in either mode, and what the other end says by it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use tsg_esp::inside::{self, Visible};
use tsg_esp::ip::Outline;
use tsg_fuzz::{Buffer, receiver, sender};

fuzz_target!(|esp: &[u8]| {
    tsg_bridge::tunnel::fuzzing::hear(esp);
    let mut buffer = Buffer::of(esp);
    let mut place = buffer.packet();
    let Ok(opened) = receiver().open_payload(&mut place) else { return };
    let Some(next_header) = opened.next_header else { return };
    let payload = place.bytes().to_vec();
    behind_a_header(&payload, next_header);
    let Ok(inner) = inside::packet_of(&mut place, next_header) else { return };
    let plain = place.bytes().to_vec();
    assert_eq!(Outline::parse(&plain), Ok(inner));
    assert_eq!(plain.len(), inner.total_len);
    let mut buffer = Buffer::of(&plain);
    let mut place = buffer.packet();
    assert_eq!(inside::whole(&mut place, &inner), Ok(next_header));
    sender().seal_payload(&mut place, next_header, opened.time).expect("it can be sealed again");
    assert!(place.len() <= esp.len());
    receiver().open_payload(&mut place).expect("it opens again");
    assert_eq!(place.bytes(), plain);
});

/// The same in transport mode: the payload gets a header.
fn behind_a_header(payload: &[u8], next_header: u8) {
    for (src, dst) in [(v4(1), v4(2)), (v6(1), v6(2))] {
        let visible = Visible { src, dst, class: 0xb8, hops: 3, id: 9 };
        let mut packet = vec![0; visible.header_len()];
        packet.extend_from_slice(payload);
        if visible.emit(&mut packet, next_header).is_err() {
            continue;
        }
        // Further headers in it may be nonsense, or a router's.
        let Ok(outline) = Outline::parse(&packet) else { continue };
        assert_eq!((outline.src, outline.dst, outline.total_len), (src, dst, packet.len()));
        let mut buffer = Buffer::of(&packet);
        let mut place = buffer.packet();
        if inside::behind_header(&mut place, &outline).is_ok() {
            assert_eq!(place.bytes(), payload);
        }
    }
}

fn v4(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn v6(last: u16) -> IpAddr {
    [0xfd00, 0, 0, 0, 0, 0, 0, last].into()
}
