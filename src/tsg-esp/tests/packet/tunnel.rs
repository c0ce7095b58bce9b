//! Whole packets in ESP: tunnel mode.

use proptest::prelude::*;
use tsg_esp::DropReason;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Spi, Suite};
use tsg_esp::esp::{self, AadBytes, Header};
use tsg_esp::ip::{Outline, set_traffic_class, traffic_class, v4};
use tsg_esp::open::{OpenedTunnel, Receiver};
use tsg_esp::seal::{SealError, Sender};

use crate::known::{KNOWN, array, bytes};
use crate::rustcrypto::TestCipher;
use crate::traffic::{Buffer, TIME, cases, ipv4, ipv6, noise, packets, pair, suites};

fn sealed(sender: &mut Sender<TestCipher>, packet: &[u8]) -> Vec<u8> {
    let outline = Outline::parse(packet).unwrap();
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    sender.seal_tunnel(&mut place, &outline, TIME).unwrap();
    place.bytes().to_vec()
}

fn open(
    receiver: &Receiver<TestCipher>,
    esp: &[u8],
) -> Result<(OpenedTunnel, Vec<u8>), DropReason> {
    let mut buffer = Buffer::of(esp);
    let mut place = buffer.packet();
    let opened = receiver.open_tunnel(&mut place)?;
    Ok((opened, place.bytes().to_vec()))
}

/// ESP around these bytes, authentic whatever they are.
fn forged(sender: &mut Sender<TestCipher>, payload: &[u8], next_header: u8) -> Vec<u8> {
    let header = Header { spi: sender.spi().value(), sequence: 7, iv: [0; 8] };
    let mut body = payload.to_vec();
    body.resize(esp::sealed_len(payload.len()), 0);
    let aad = AadBytes::without_addresses(&header);
    let (cipher, salt) = sender.key_mut();
    esp::seal(cipher, &header.nonce(*salt), &aad, &mut body, payload.len(), next_header);
    [header.emit().to_vec(), body].concat()
}

#[test]
fn the_published_tunnel_packet_opens() {
    // RFC 7634 appendix A.
    let known = &KNOWN[0];
    let spi = Spi::from_wire(u32::from_be_bytes(array(&known.aad[..8]))).unwrap();
    let cipher = TestCipher::new(known.suite, &array(known.key));
    let receiver = Receiver::new(spi, cipher, array(&known.nonce[..8]));
    let esp = [known.aad, &known.nonce[8..], known.sealed].map(bytes).concat();
    let (opened, packet) = open(&receiver, &esp).unwrap();
    assert_eq!((opened.sequence, opened.inner), (5, Outline::parse(&packet).ok()));
    assert_eq!(packet, bytes(known.plain)[..84]);
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn what_is_sealed_comes_back(suite in suites(), packet in packets(1_500), behind in 0usize..20) {
        let (mut sender, receiver) = pair(suite);
        let outline = Outline::parse(&packet).unwrap();
        let mut padded = packet.clone();
        padded.resize(packet.len() + behind, 0xaa);
        let esp = sealed(&mut sender, &padded);
        prop_assert_eq!(esp.len(), esp::HEADER_LEN + esp::sealed_len(packet.len()));
        prop_assert_eq!(esp.len() % 4, 0);
        let (opened, plain) = open(&receiver, &esp).unwrap();
        prop_assert_eq!(opened, OpenedTunnel { sequence: 1, time: TIME, inner: Some(outline) });
        prop_assert_eq!(plain, packet);
    }
}

#[test]
fn a_flipped_bit_and_a_cut_are_noticed() {
    let (mut sender, receiver) = pair(Suite::Aes256Gcm);
    let esp = sealed(&mut sender, &ipv4(17, &[], 9, 0, &noise(30, 1)));
    for at in 0..esp.len() * 8 {
        let mut changed = esp.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(open(&receiver, &changed).is_err(), "bit {at}");
    }
    for len in 0..esp.len() {
        assert!(open(&receiver, &esp[..len]).is_err(), "{len} bytes");
    }
    assert!(open(&receiver, &esp).is_ok());
}

#[test]
fn padding_that_hides_the_length_is_taken_off() {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    for (packet, next_header) in [(ipv4(6, &[], 9, 0, &[1; 20]), 4), (ipv6(6, &[1; 20]), 41)] {
        let esp = forged(&mut sender, &[packet.clone(), vec![0; 900]].concat(), next_header);
        assert_eq!(open(&receiver, &esp).unwrap().1, packet);
    }
}

#[test]
fn a_dummy_carries_nothing() {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let esp = forged(&mut sender, &noise(50, 2), 59);
    assert_eq!(open(&receiver, &esp).unwrap().0.inner, None);
    let mut buffer = Buffer::of(&noise(50, 3));
    let mut place = buffer.packet();
    sender.seal_dummy(&mut place, TIME).unwrap();
    assert_eq!(place.len(), esp::MIN_LEN);
    let opened = OpenedTunnel { sequence: 1, time: TIME, inner: None };
    assert_eq!(open(&receiver, place.bytes()).unwrap().0, opened);
}

#[test]
fn what_is_no_packet_inside_is_refused() {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let (v4, v6) = (ipv4(6, &[], 9, 0, &[1; 20]), ipv6(6, &[1; 20]));
    let wrong: [(&[u8], u8); 6] =
        [(&v4, 41), (&v6, 4), (&v4, 17), (&v4[..39], 4), (&[], 4), (&[0x45], 4)];
    for (payload, next_header) in wrong {
        let esp = forged(&mut sender, payload, next_header);
        assert_eq!(open(&receiver, &esp).map(|_| ()), Err(DropReason::BadInner), "{next_header}");
    }
    let other =
        Receiver::new(Spi::new(7, 1).unwrap(), TestCipher::new(Suite::Aes256Gcm, &[0; 32]), [0; 4]);
    let esp = sealed(&mut sender, &v4);
    assert_eq!(open(&other, &esp).map(|_| ()), Err(DropReason::UnknownSender));
}

#[test]
fn without_room_or_numbers_the_packet_stays_as_it_was() {
    let (mut sender, _) = pair(Suite::Aes256Gcm);
    let plain = ipv4(17, &[], 9, 0, &noise(30, 1));
    let outline = Outline::parse(&plain).unwrap();
    let needed = esp::sealed_len(plain.len()) - plain.len();
    for (front, back) in [(esp::HEADER_LEN - 1, TAIL_ROOM), (HEAD_ROOM, needed - 1)] {
        let mut bytes = [vec![0; front], plain.clone(), vec![0; back]].concat();
        let mut place = Packet::new(&mut bytes, front..front + plain.len()).unwrap();
        let refused = sender.seal_tunnel(&mut place, &outline, TIME);
        assert_eq!((refused, place.bytes()), (Err(SealError::NoRoom), plain.as_slice()));
    }
    assert_eq!(sender.sequence(), 1);
    let (cipher, salt) = (TestCipher::new(Suite::Aes256Gcm, &[0; 32]), [0; 4]);
    let mut worn = Sender::new(sender.spi(), cipher, salt, 5, 5);
    let mut buffer = Buffer::of(&plain);
    let mut place = buffer.packet();
    assert_eq!(worn.seal_tunnel(&mut place, &outline, TIME), Err(SealError::Exhausted));
    assert_eq!(place.bytes(), plain);
}

#[test]
fn a_traffic_class_is_read_and_set() {
    for packet in [ipv4(17, &[], 9, 0, &noise(30, 1)), ipv6(17, &noise(30, 1))] {
        for class in 0..=255 {
            let mut changed = packet.clone();
            set_traffic_class(&mut changed, class).unwrap();
            assert_eq!(traffic_class(&changed), Ok(class));
            if packet[0] >> 4 == 4 {
                assert!(v4::Header::new_checked(&changed[..]).unwrap().checksum_is_right());
            }
            set_traffic_class(&mut changed, traffic_class(&packet).unwrap()).unwrap();
            assert_eq!(changed, packet);
        }
    }
    for short in [&[][..], &[0x45], &[0x60, 0], &[0x75, 0]] {
        assert!(set_traffic_class(&mut short.to_vec(), 1).is_err());
    }
}
