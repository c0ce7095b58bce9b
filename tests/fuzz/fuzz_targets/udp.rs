//! What comes on the UDP port: ESP, IKE, keep-alives, anything.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use tsg_esp::form::Encap;
use tsg_esp::ip::Outline;
use tsg_esp::open::Header;
use tsg_esp::udp::Kind;
use tsg_fuzz::{Buffer, FORMS, receiver};

fuzz_target!(|datagram: &[u8]| {
    let Some(payload) = datagram.get(8..) else { return };
    let Ok(total_len) = u16::try_from(20 + datagram.len()) else { return };
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
    packet.extend(Ipv4Addr::new(192, 0, 2, 1).octets());
    packet.extend(Ipv4Addr::new(192, 0, 2, 2).octets());
    packet.extend_from_slice(datagram);
    let outline = Outline::parse(&packet).expect("the header is right");
    for form in FORMS {
        let parsed = Header::parse(&packet, &outline, &form);
        if parsed.is_ok() {
            assert_eq!(Kind::of(payload), Kind::Esp);
            assert!(matches!(form.encap, Encap::Udp { .. }));
        }
        let mut buffer = Buffer::of(&packet);
        let opened = receiver().open(&mut buffer.packet(), &outline, &form);
        assert!(parsed.is_ok() || opened.is_err());
    }
});
