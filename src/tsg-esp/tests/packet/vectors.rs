//! The published ESP packets, byte for byte.

use tsg_esp::crypto::{Cipher, Spi};
use tsg_esp::esp::{self, AadBytes, Header};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::ip::Outline;
use tsg_esp::open::Receiver;

use crate::known::{KNOWN, Known, array, bytes};
use crate::rustcrypto::TestCipher;
use crate::traffic::{Buffer, V4_DST, V4_SRC, ipv4};

const ROUTED: Form = Form { encap: Encap::Protocol(50), aad: Aad::Rfc4303 };

fn cipher(known: &Known) -> TestCipher {
    TestCipher::new(known.suite, &array(known.key))
}

/// Those with 32-bit sequence numbers, as ESP packets.
fn packets() -> impl Iterator<Item = (&'static Known, Header, Vec<u8>)> {
    KNOWN.iter().filter(|known| known.aad.len() == 16).map(|known| {
        let [spi, sequence] = [&known.aad[..8], &known.aad[8..]].map(array).map(u32::from_be_bytes);
        let header = Header { spi, sequence, iv: array(&known.nonce[8..]) };
        let packet = [known.aad, &known.nonce[8..], known.sealed].map(bytes).concat();
        (known, header, packet)
    })
}

#[test]
fn ciphers_give_the_published_bytes() {
    for known in &KNOWN {
        let mut data = bytes(known.plain);
        let icv = cipher(known).seal(&array(known.nonce), &bytes(known.aad), &mut data);
        data.extend_from_slice(&icv);
        assert_eq!(data, bytes(known.sealed));
    }
}

#[test]
fn esp_gives_the_published_packets() {
    for (known, header, packet) in packets() {
        let plain = bytes(known.plain);
        let [pad, next_header] = *plain.last_chunk().unwrap();
        let payload_len = plain.len() - 2 - usize::from(pad);
        assert_eq!(esp::pad_len(payload_len), usize::from(pad));
        let mut body = plain[..payload_len].to_vec();
        body.resize(esp::sealed_len(payload_len), 0);
        let aad = AadBytes::new(Aad::Rfc4303, &header, V4_SRC.into(), V4_DST.into());
        let nonce = header.nonce(array(&known.nonce[..8]));
        esp::seal(&cipher(known), &nonce, &aad, &mut body, payload_len, next_header);
        assert_eq!([header.emit().to_vec(), body].concat(), packet);
        assert_eq!(Header::parse(&packet), Ok(header));
    }
    assert_eq!(packets().count(), 2);
}

#[test]
fn a_receiver_opens_the_published_packets() {
    for (known, header, packet) in packets() {
        let spi = Spi::from_wire(header.spi).unwrap();
        let receiver = Receiver::new(spi, cipher(known), array(&known.nonce[..8]));
        let sealed = ipv4(50, &[], 3, 0, &packet);
        let outline = Outline::parse(&sealed).unwrap();
        let mut buffer = Buffer::of(&sealed);
        let mut place = buffer.packet();
        let opened = receiver.open(&mut place, &outline, &ROUTED).unwrap();
        let plain = bytes(known.plain);
        let [pad, next_header] = *plain.last_chunk().unwrap();
        let payload = &plain[..plain.len() - 2 - usize::from(pad)];
        assert_eq!((opened.next_header, opened.sequence), (next_header, header.sequence));
        assert_eq!(place.bytes(), ipv4(next_header, &[], 3, 0, payload));
    }
}
