//! The whole order of opening, as the crate's front page has it, on a path that delays, repeats and
//! damages.

use proptest::prelude::*;
use tsg_esp::DropReason;
use tsg_esp::crypto::Suite;
use tsg_esp::form::Form;
use tsg_esp::freshness::Freshness;
use tsg_esp::ip::Outline;
use tsg_esp::open::{Header, Receiver};
use tsg_esp::replay::Window;

use crate::rustcrypto::TestCipher;
use crate::traffic::{Buffer, TIME, cases, ipv4, noise, pair, sealed};

const FRESHNESS: Freshness = Freshness { window_ms: 4000, clock_error_ms: 100 };
const FORM: Form = Form::TRANSPARENT;

struct Gateway {
    receiver: Receiver<TestCipher>,
    window: Window,
}

impl Gateway {
    fn hear(&mut self, packet: &[u8], now: u32) -> Result<Vec<u8>, DropReason> {
        let outline = Outline::parse(packet).map_err(|_| DropReason::Malformed)?;
        let header = Header::parse(packet, &outline, &FORM)?;
        if header.spi.epoch_byte() != self.receiver.spi().epoch_byte() {
            return Err(DropReason::UnknownEpoch);
        }
        self.window.check(header.sequence)?;
        FRESHNESS.check(header.time, now, None)?;
        let mut buffer = Buffer::of(packet);
        let mut place = buffer.packet();
        let opened = self.receiver.open(&mut place, &outline, &FORM)?;
        self.window.mark(opened.sequence)?;
        Ok(place.bytes().to_vec())
    }
}

struct Sent {
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// Numbered packets, and a gateway that hears them.
fn traffic(number: usize) -> (Vec<Sent>, Gateway) {
    let (mut sender, receiver) = pair(Suite::ChaCha20Poly1305);
    let packets = (0..number).map(|n| {
        let plain = ipv4(17, &[], n as u16, 0, &noise(20, n as u32));
        let sealed = sealed(&mut sender, &plain, &FORM);
        Sent { plain, sealed }
    });
    (packets.collect(), Gateway { receiver, window: Window::new() })
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn every_packet_opens_once_whatever_the_path_does(
        events in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0usize..60, 0u8..4),
            1..300,
        ),
    ) {
        let (packets, mut gateway) = traffic(60);
        let mut seen = [false; 60];
        for (bit, packet, kind) in events {
            let Sent { plain, sealed } = &packets[packet];
            if kind == 0 {
                // Damage behind the IP header: never opens, and takes nothing from the packet
                // itself.
                let mut damaged = sealed.clone();
                let bit = bit.index((damaged.len() - 20) * 8);
                damaged[20 + bit / 8] ^= 1 << (bit % 8);
                prop_assert!(gateway.hear(&damaged, TIME).is_err());
                continue;
            }
            let expected = if seen[packet] { Err(DropReason::Replayed) } else { Ok(plain.clone()) };
            prop_assert_eq!(gateway.hear(sealed, TIME), expected);
            seen[packet] = true;
        }
    }
}

#[test]
fn a_recording_is_stale_even_for_a_gateway_that_has_just_started() {
    let (packets, mut gateway) = traffic(1);
    let Sent { plain, sealed } = &packets[0];
    assert_eq!(gateway.hear(sealed, TIME.wrapping_add(4101)), Err(DropReason::Stale));
    assert_eq!(gateway.hear(sealed, TIME.wrapping_sub(4101)), Err(DropReason::Future));
    assert_eq!(gateway.window.newest(), 0, "what was refused left no mark");
    assert_eq!(gateway.hear(sealed, TIME.wrapping_add(4100)), Ok(plain.clone()));
}

#[test]
fn a_forged_number_does_not_move_the_window() {
    let (packets, mut gateway) = traffic(1);
    let Sent { plain, sealed } = &packets[0];
    let mut forged = sealed.clone();
    forged[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(gateway.hear(&forged, TIME), Err(DropReason::Unauthentic));
    assert_eq!(gateway.hear(sealed, TIME), Ok(plain.clone()));
}
