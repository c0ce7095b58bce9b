//! What ICMP errors quote, and the errors that the gateway writes itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::buffer::Packet;
use tsg_esp::ip::{Outline, Version};
use tsg_esp::too_big::{MAX_LEN, answer};

fuzz_target!(|input: &[u8]| {
    let Some((mtu, packet)) = input.split_first_chunk() else { return };
    let Ok(outline) = Outline::parse(packet) else { return };
    match outline.quoted(packet) {
        Ok(Some(quoted)) => {
            assert!(outline.is_icmp_error());
            assert_eq!(quoted.version, outline.version);
            assert!(quoted.header_len <= quoted.total_len && quoted.total_len < outline.total_len);
        }
        // A redirect of IPv6 need not quote.
        Ok(None) => assert!(!outline.is_icmp_error() || is_v6_redirect(&outline)),
        Err(_) => assert!(outline.is_icmp_error()),
    }

    let mut bytes = [0; MAX_LEN];
    let mut out = Packet::new(&mut bytes, 0..0).expect("the range is inside");
    if answer(packet, &outline, u16::from_be_bytes(*mtu), &mut out).is_err() {
        return;
    }
    let answer = Outline::parse(out.bytes()).expect("the answer is a packet");
    assert!(!outline.is_icmp_error() && answer.is_icmp_error());
    let quoted = answer.quoted(out.bytes()).expect("it quotes").expect("it is an error");
    assert_eq!((quoted.src, quoted.dst), (outline.src, outline.dst));
    assert_eq!((answer.src, answer.dst), (outline.dst, outline.src));
});

fn is_v6_redirect(outline: &Outline) -> bool {
    outline.version == Version::V6
        && outline.upper.is_some_and(|upper| upper.icmp_type == Some(137))
}
