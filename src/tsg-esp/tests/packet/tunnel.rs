//! ESP that comes alone: whole packets in it (tunnel mode), or what follows their headers (transport mode).

use proptest::prelude::*;
use tsg_esp::DropReason;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Spi, Suite};
use tsg_esp::esp::{self, AadBytes, Header};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::inside::{self, Visible};
use tsg_esp::ip::{Outline, hop_limit, set_hop_limit, set_traffic_class, traffic_class, v4, v6};
use tsg_esp::open::{OpenedPayload, Receiver};
use tsg_esp::seal::{SealError, Sender};

use crate::known::{KNOWN, array, bytes};
use crate::rustcrypto::TestCipher;
use crate::traffic::{Buffer, TIME, cases, ipv4, ipv6, noise, packets, pair, suites};

fn sealed(sender: &mut Sender<TestCipher>, packet: &[u8]) -> Vec<u8> {
    let outline = Outline::parse(packet).unwrap();
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    let next_header = inside::whole(&mut place, &outline).unwrap();
    sender.seal_payload(&mut place, next_header, TIME).unwrap();
    place.bytes().to_vec()
}

/// What was opened, and the outline of the packet in it.
type Opened = (OpenedPayload, Option<Outline>);

fn open(receiver: &Receiver<TestCipher>, esp: &[u8]) -> Result<(Opened, Vec<u8>), DropReason> {
    let mut buffer = Buffer::of(esp);
    let mut place = buffer.packet();
    let opened = receiver.open_payload(&mut place)?;
    let inner = opened.next_header.map(|it| inside::packet_of(&mut place, it)).transpose()?;
    Ok(((opened, inner), place.bytes().to_vec()))
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
    let ((opened, inner), packet) = open(&receiver, &esp).unwrap();
    assert_eq!((opened.sequence, inner), (5, Outline::parse(&packet).ok()));
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
        let next_header = Some(if packet[0] >> 4 == 4 { 4 } else { 41 });
        let payload = OpenedPayload { sequence: 1, time: TIME, next_header };
        prop_assert_eq!(opened, (payload, Some(outline)));
        prop_assert_eq!(plain, packet);
    }
}

/// What transport mode is for, and whether it may come back as it was: the identification of IPv4 and the flow label of
/// IPv6 do not.
fn carried(packet: &[u8]) -> bool {
    let outline = Outline::parse(packet).unwrap();
    let plain = outline.header_len == if packet[0] >> 4 == 4 { 20 } else { 40 };
    let last = [0, 43, 44, 59].contains(&outline.next_header);
    plain && !last && outline.fragment.is_none() && !outline.source_route
}

proptest! {
    #![proptest_config(cases(512))]

    /// And it is what RFC 4303 section 3.1.1 has behind the header.
    #[test]
    fn what_follows_a_header_comes_back(suite in suites(), packet in packets(1_500), behind in 0usize..20) {
        let (mut sender, receiver) = pair(suite);
        let outline = Outline::parse(&packet).unwrap();
        let mut padded = packet.clone();
        padded.resize(packet.len() + behind, 0xaa);
        let mut buffer = Buffer::of(&padded);
        let mut place = buffer.packet();
        let next_header = inside::behind_header(&mut place, &outline);
        prop_assert_eq!(next_header.is_ok(), carried(&packet));
        let Ok(next_header) = next_header else { return Ok(()) };
        sender.seal_payload(&mut place, next_header, TIME).unwrap();
        let form = Form { encap: Encap::Protocol(50), aad: Aad::Rfc4303 };
        prop_assert_eq!(outline.header_len + place.len(), form.sealed_len(&outline));
        let mut whole = packet[..outline.header_len].to_vec();
        whole.extend_from_slice(place.bytes());
        let opened = receiver.open_payload(&mut place).unwrap();
        prop_assert_eq!(opened.next_header, Some(outline.next_header));
        let visible = Visible {
            src: outline.src,
            dst: outline.dst,
            class: traffic_class(&packet).unwrap(),
            hops: hop_limit(&packet).unwrap(),
            id: 0x1234,
        };
        let mut restored = vec![0xee; visible.header_len()];
        restored.extend_from_slice(place.bytes());
        visible.emit(&mut restored, outline.next_header).unwrap();
        // The same by the way that keeps headers.
        let (_, receiver) = pair(suite);
        prop_assert!(by_form(&receiver, &whole, &outline, &form) == packet);
        let mut expected = packet.clone();
        if packet[0] >> 4 == 4 {
            expected[4..8].copy_from_slice(&[0x12, 0x34, 0, 0]);
            v4::Header::new_checked(&mut expected[..]).unwrap().fill_checksum();
        } else {
            expected[1] &= 0xf0;
            expected[2..4].fill(0);
        }
        prop_assert_eq!(restored, expected);
    }
}

fn by_form(
    receiver: &Receiver<TestCipher>,
    sealed: &[u8],
    plain: &Outline,
    form: &Form,
) -> Vec<u8> {
    let mut sealed = sealed.to_vec();
    let len = sealed.len() as u16;
    match plain.src.is_ipv4() {
        true => {
            let mut header = v4::Header::new_checked(&mut sealed[..]).unwrap();
            header.set_total_len(len);
            header.set_protocol(50);
        }
        false => {
            let mut header = v6::Header::new_checked(&mut sealed[..]).unwrap();
            header.set_payload_len(len - 40);
            header.set_last_next_header(50).unwrap();
        }
    }
    let outline = Outline::parse(&sealed).unwrap();
    let mut buffer = Buffer::of(&sealed);
    let mut place = buffer.packet();
    receiver.open(&mut place, &outline, form).unwrap();
    place.bytes().to_vec()
}

#[test]
fn no_packet_has_such_a_payload() {
    let [src, dst] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into);
    let visible = Visible { src, dst, class: 0, hops: 64, id: 0 };
    for next_header in [0, 43, 44, 59] {
        assert_eq!(visible.emit(&mut [0; 40], next_header), Err(DropReason::BadInner));
    }
    assert_eq!(visible.emit(&mut [0; 19], 17), Err(DropReason::BadInner));
    assert_eq!(visible.emit(&mut vec![0; 65_536], 17), Err(DropReason::TooLong));
    assert_eq!(visible.emit(&mut vec![0; 65_535], 17), Ok(()));
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
    assert_eq!(open(&receiver, &esp).unwrap().0.1, None);
    let mut buffer = Buffer::of(&noise(50, 3));
    let mut place = buffer.packet();
    sender.seal_dummy(&mut place, TIME).unwrap();
    assert_eq!(place.len(), esp::MIN_LEN);
    let opened = OpenedPayload { sequence: 1, time: TIME, next_header: None };
    assert_eq!(open(&receiver, place.bytes()).unwrap().0, (opened, None));
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
    let needed = esp::sealed_len(plain.len()) - plain.len();
    for (front, back) in [(esp::HEADER_LEN - 1, TAIL_ROOM), (HEAD_ROOM, needed - 1)] {
        let mut bytes = [vec![0; front], plain.clone(), vec![0; back]].concat();
        let mut place = Packet::new(&mut bytes, front..front + plain.len()).unwrap();
        let refused = sender.seal_payload(&mut place, 4, TIME);
        assert_eq!((refused, place.bytes()), (Err(SealError::NoRoom), plain.as_slice()));
    }
    assert_eq!(sender.sequence(), 1);
    let (cipher, salt) = (TestCipher::new(Suite::Aes256Gcm, &[0; 32]), [0; 4]);
    let mut worn = Sender::new(sender.spi(), cipher, salt, 5, 5);
    let mut buffer = Buffer::of(&plain);
    let mut place = buffer.packet();
    assert_eq!(worn.seal_payload(&mut place, 4, TIME), Err(SealError::Exhausted));
    assert_eq!(place.bytes(), plain);
}

#[test]
fn a_traffic_class_and_a_hop_limit_are_read_and_set() {
    for packet in [ipv4(17, &[], 9, 0, &noise(30, 1)), ipv6(17, &noise(30, 1))] {
        for class in 0..=255 {
            let mut changed = packet.clone();
            set_traffic_class(&mut changed, class).unwrap();
            assert_eq!(traffic_class(&changed), Ok(class));
            if packet[0] >> 4 == 4 {
                assert!(v4::Header::new_checked(&changed[..]).unwrap().checksum_is_right());
            }
            set_hop_limit(&mut changed, class).unwrap();
            assert_eq!(hop_limit(&changed), Ok(class));
            if packet[0] >> 4 == 4 {
                assert!(v4::Header::new_checked(&changed[..]).unwrap().checksum_is_right());
            }
            set_traffic_class(&mut changed, traffic_class(&packet).unwrap()).unwrap();
            set_hop_limit(&mut changed, hop_limit(&packet).unwrap()).unwrap();
            assert_eq!(changed, packet);
        }
    }
    for short in [&[][..], &[0x45], &[0x60, 0], &[0x75, 0]] {
        assert!(set_traffic_class(&mut short.to_vec(), 1).is_err());
        assert!(hop_limit(short).is_err() && set_hop_limit(&mut short.to_vec(), 1).is_err());
    }
}
