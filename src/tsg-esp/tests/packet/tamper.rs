//! Whoever changes a packet on the way is noticed, except where the crate says that he is not.

use tsg_esp::DropReason;
use tsg_esp::crypto::{Kdf, Spi, Suite, Tek};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::ip::{Outline, v4};
use tsg_esp::open::{Opened, Receiver};

use crate::rustcrypto::{Blake2, TestCipher};
use crate::traffic::{Buffer, FORMS, extended, ipv4, ipv6, noise, pair, sealed};

/// Opens a packet as it came from the wire.
fn open(
    receiver: &Receiver<TestCipher>,
    packet: &[u8],
    form: &Form,
) -> Result<(Opened, Vec<u8>), DropReason> {
    let outline = Outline::parse(packet).map_err(|_| DropReason::Malformed)?;
    let mut buffer = Buffer::of(packet);
    let mut place = buffer.packet();
    let opened = receiver.open(&mut place, &outline, form)?;
    Ok((opened, place.bytes().to_vec()))
}

/// The bits of the outer header that nothing protects, as a mask for each byte.
fn unprotected(packet: &[u8], form: &Form) -> Vec<u8> {
    let mut mask = vec![0; packet.len()];
    let outline = Outline::parse(packet).unwrap();
    if packet[0] >> 4 == 4 {
        mask[1] = 0xff; // DSCP, ECN
        mask[4..6].fill(0xff); // identification
        mask[6] = 0xc0; // reserved, don't fragment
        mask[8] = 0xff; // time to live
        mask[10..12].fill(0xff); // header checksum
        mask[20..outline.header_len].fill(0xff); // options
    } else {
        mask[0] = 0x0f; // traffic class
        mask[1..4].fill(0xff); // traffic class, flow label
        mask[7] = 0xff; // hop limit
        if outline.header_len > 40 {
            mask[42..outline.header_len].fill(0xff); // hop-by-hop options
        }
    }
    match form.encap {
        Encap::Udp { .. } => mask[outline.header_len + 6..][..2].fill(0xff), // UDP checksum
        Encap::Protocol(_) => {}
    }
    if form.aad == Aad::Rfc4303 {
        match packet[0] >> 4 {
            4 => mask[12..20].fill(0xff), // addresses
            _ => mask[8..40].fill(0xff),
        }
    }
    mask
}

#[test]
fn any_flipped_bit_fails_or_is_one_that_nothing_protects() {
    let plain = noise(21, 3);
    let packets = [
        ipv4(6, &[], 7, 0x4000, &plain),
        ipv4(6, &[148, 4, 0, 0], 7, 0x2000 | 3, &noise(16, 3)),
        ipv6(6, &plain),
        ipv6(0, &extended(6, 0, &plain)),
    ];
    let mut flips = 0;
    for (suite, form) in Suite::ALL.into_iter().flat_map(|s| FORMS.map(|f| (s, f))) {
        for packet in &packets {
            let (mut sender, receiver) = pair(suite);
            let sealed = sealed(&mut sender, packet, &form);
            let unprotected = unprotected(&sealed, &form);
            let payload_at = Outline::parse(packet).unwrap().header_len;
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let passes = unprotected[bit / 8] & 1 << (bit % 8) != 0;
                match open(&receiver, &changed, &form) {
                    Ok((_, opened)) => {
                        assert!(passes, "bit {bit} of {sealed:02x?} went unnoticed");
                        assert_eq!(opened[payload_at..], packet[payload_at..]);
                    }
                    Err(_) => assert!(!passes, "bit {bit} of {sealed:02x?} was promised free"),
                }
                flips += 1;
            }
        }
    }
    println!("{flips} bits flipped");
}

#[test]
fn a_restored_fragment_has_its_own_identification() {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let packet = ipv4(17, &[], 0x1234, 0x2000, &noise(16, 1));
    let mut sealed = sealed(&mut sender, &packet, &Form::TRANSPARENT);
    v4::Header::new_checked(&mut sealed[..]).unwrap().set_id(0x4321);
    let (_, opened) = open(&receiver, &sealed, &Form::TRANSPARENT).unwrap();
    assert_eq!(opened, packet);
}

#[test]
fn truncation_at_every_length_fails() {
    for form in FORMS {
        for packet in [ipv4(17, &[], 7, 0, &noise(50, 3)), ipv6(17, &noise(50, 3))] {
            let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
            let sealed = sealed(&mut sender, &packet, &form);
            for len in 0..sealed.len() {
                assert_eq!(open(&receiver, &sealed[..len], &form), Err(DropReason::Malformed));
                let mut honest = sealed[..len].to_vec();
                if claim(&mut honest) {
                    assert!(open(&receiver, &honest, &form).is_err(), "cut to {len}");
                }
            }
        }
    }
}

/// Makes the headers of a truncated packet say its true length, where there is room for that.
fn claim(packet: &mut [u8]) -> bool {
    let len = packet.len();
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if len >= 20 => {
            v4::Header::new_checked(&mut *packet).unwrap().set_total_len(len as u16);
            if len >= 28 && packet[9] == 17 {
                packet[24..26].copy_from_slice(&(len as u16 - 20).to_be_bytes());
            }
        }
        Some(6) if len >= 40 => {
            packet[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes());
            if len >= 48 && packet[6] == 17 {
                packet[44..46].copy_from_slice(&(len as u16 - 40).to_be_bytes());
            }
        }
        Some(_) | None => return false,
    }
    true
}

#[test]
fn a_packet_for_another_member_fails_in_the_transparent_mode() {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    for (form, expected) in FORMS.into_iter().map(|form| (form, form.aad == Aad::Rfc4303)) {
        let mut sealed = sealed(&mut sender, &ipv4(6, &[], 7, 0, &noise(20, 1)), &form);
        sealed[19] = 99;
        let result = open(&receiver, &sealed, &form);
        assert_eq!(result.is_ok(), expected);
        if let Err(reason) = result {
            assert_eq!(reason, DropReason::Unauthentic);
        }
    }
}

#[test]
fn other_epochs_senders_and_forms_fail() {
    let (mut sender, _) = pair(Suite::Aes256Gcm);
    let packet = ipv4(6, &[], 7, 0, &noise(20, 1));
    let sealed = sealed(&mut sender, &packet, &Form::TRANSPARENT);
    let with = |spi: Spi, suite, tek| {
        let key = Blake2::derive(&Tek::new([tek; 32]), spi);
        Receiver::new(spi, TestCipher::new(suite, &key.key), key.salt)
    };
    let spi = sender.spi();
    let result = |receiver, form| open(&receiver, &sealed, form).map(|_| ());
    let good = || with(spi, Suite::Aes256Gcm, 0x5a);
    assert_eq!(result(good(), &Form::TRANSPARENT), Ok(()));
    let other = Spi::new(7, 0x1235).unwrap();
    let unknown = result(with(other, Suite::Aes256Gcm, 0x5a), &Form::TRANSPARENT);
    assert_eq!(unknown, Err(DropReason::UnknownSender));
    let wrong_tek = result(with(spi, Suite::Aes256Gcm, 0x5b), &Form::TRANSPARENT);
    assert_eq!(wrong_tek, Err(DropReason::Unauthentic));
    let wrong_suite = result(with(spi, Suite::ChaCha20Poly1305, 0x5a), &Form::TRANSPARENT);
    assert_eq!(wrong_suite, Err(DropReason::Unauthentic));
    let wrong_aad = Form { aad: Aad::Rfc4303, ..Form::TRANSPARENT };
    assert_eq!(result(good(), &wrong_aad), Err(DropReason::Unauthentic));
    assert_eq!(result(good(), &FORMS[1]), Err(DropReason::Malformed));
}
