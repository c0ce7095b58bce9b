//! The steps of the packet path, each ready to be done again and again: [`Step::ALL`] by name.
//!
//! `cargo bench -p packets` measures their time, `tests/bench/instructions` counts what they execute, and a test sees
//! that none of them takes memory.

mod gateway;
mod made;

pub use made::{datagram, stretch};

use gateway::Gateway;
use std::hint::black_box;
use tsg_bridge::attach::{Side, Verdict};
use tsg_control::policy::{Flow, Policy, Proto};
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Cipher as _, Kdf as _, Spi, Suite, Tek};
use tsg_esp::ip::Outline;
use tsg_esp::join::{Added, Joined, Shape};
use tsg_esp::replay::Window;
use tsg_esp::segment::{Cut, Kind};
use tsg_sodium::{AnyCipher, Sodium};

/// Payload of a full packet, and of one as Modbus has them.
const SIZES: [(&str, usize); 2] = [("1400", 1_400), ("64", 64)];

/// Payload of a TCP packet of which 40 fit into 64 KiB.
const SEGMENT: usize = 1_400;

/// Rules of a policy as a large plant has it.
const RULES: u16 = 100;

/// Something that happens to each packet, or to each packet of 64 KiB.
pub struct Step {
    /// What it is called in tables.
    pub name: String,
    run: Box<dyn FnMut()>,
}

impl Step {
    /// All of them, ready.
    ///
    /// # Panics
    /// libsodium cannot be set up, or a packet is not treated as it should be: then numbers would say nothing.
    pub fn all() -> Vec<Self> {
        assert!(tsg_sodium::init().is_ok(), "libsodium cannot be set up");
        let mut steps = Vec::new();
        for suite in suites() {
            for (size, len) in SIZES {
                steps.push(Self::new(format!("cipher: seal {size} {suite:?}"), cipher(suite, len)));
                steps.push(Self::new(format!("gateway: seal {size} {suite:?}"), seal(suite, len)));
                steps.push(Self::new(
                    format!("gateway: seal and open {size} {suite:?}"),
                    seal_and_open(suite, len),
                ));
            }
        }
        steps.push(Self::new("outline".to_owned(), outline()));
        steps.push(Self::new("cut 64 KiB".to_owned(), cut()));
        steps.push(Self::new("join 64 KiB".to_owned(), join()));
        steps.push(Self::new("replay window".to_owned(), window()));
        steps.push(Self::new(format!("policy of {RULES} rules"), policy()));
        steps
    }

    fn new(name: String, run: impl FnMut() + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Does it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// The ciphers that this processor has.
fn suites() -> impl Iterator<Item = Suite> {
    Suite::ALL.into_iter().filter(|&suite| suite != Suite::Aes256Gcm || tsg_sodium::aes_available())
}

fn cipher(suite: Suite, len: usize) -> impl FnMut() {
    let mut cipher = AnyCipher::blank(suite).ok();
    let key = Spi::new(1, 2).map(|spi| Sodium::derive(&Tek::new([7; 32]), spi));
    if let (Some(cipher), Some(key)) = (&mut cipher, &key) {
        cipher.set_key(key);
    }
    let mut data = vec![0x5a; len];
    move || {
        if let Some(cipher) = &cipher {
            black_box(cipher.seal(&[1; 12], &[2; 16], black_box(&mut data)));
        }
    }
}

fn seal(suite: Suite, len: usize) -> impl FnMut() {
    let (mut gateway, packet) = (Gateway::new(suite, 1), datagram(len));
    move || {
        let verdict = gateway.handle(Side::Lan, &packet);
        assert_eq!(verdict, Verdict::Send);
    }
}

/// Both: a packet can be opened only once.
fn seal_and_open(suite: Suite, len: usize) -> impl FnMut() {
    let (mut near, mut far) = (Gateway::new(suite, 1), Gateway::new(suite, 2));
    let packet = datagram(len);
    move || {
        assert_eq!(near.handle(Side::Lan, &packet), Verdict::Send);
        assert_eq!(far.handle(Side::Wan, near.sent()), Verdict::Send);
    }
}

fn outline() -> impl FnMut() {
    let packet = datagram(64);
    move || {
        black_box(Outline::parse(black_box(&packet)).is_ok());
    }
}

fn cut() -> impl FnMut() {
    let source = stretch();
    let mut room = vec![0; HEAD_ROOM + 1_500 + TAIL_ROOM];
    move || {
        let Ok(outline) = Outline::parse(&source) else { return };
        let Ok(cut) = Cut::plan(&source, &outline, Kind::Tcp, SEGMENT, true) else { return };
        for number in 0..cut.count() {
            let Ok(mut piece) = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM) else { return };
            black_box(cut.write(number, &mut piece).is_ok());
        }
    }
}

fn join() -> impl FnMut() {
    let pieces = made::pieces(SEGMENT);
    move || {
        let Some(shape) = Shape::of(&pieces[0], false) else { return };
        let mut joined = Joined::new(shape);
        for piece in &pieces[1..] {
            let Some(shape) = Shape::of(black_box(piece), false) else { return };
            assert_eq!(joined.add(&pieces[0], piece, &shape), Added::Behind);
        }
    }
}

fn window() -> impl FnMut() {
    let (mut window, mut sequence) = (Window::new(), 0);
    move || {
        sequence += 1;
        black_box(window.mark(black_box(sequence)).is_ok());
    }
}

fn policy() -> impl FnMut() {
    let rule = |port| format!("encrypt proto=tcp dest_port={port}").parse().ok();
    let policy = Policy::new((1..=RULES).filter_map(rule).collect());
    let flow = Flow {
        src: [10, 0, 0, 1].into(),
        dest: [10, 0, 0, 2].into(),
        proto: Some(Proto(6)),
        ports: Some((50_000, RULES)),
    };
    move || {
        black_box(policy.action(black_box(&flow)));
    }
}
