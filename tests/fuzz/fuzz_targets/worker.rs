//! Packets of any shape through a gateway's data path, and what it sealed, altered, through another's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use tsg_bridge::attach::{Frame, Handler, Outbox, Side, Verdict};
use tsg_bridge::pipeline::{EpochView, Leases, Shared, View, Worker};
use tsg_control::gateway::KeyView;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::Policy;
use tsg_control::timeline::Stage;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::ip::Version::{V4, V6};

const RULES: [&str; 3] = [
    "encrypt proto=tcp dest_port=502",
    "encrypt proto=udp dest_port=20000",
    "drop proto=udp dest_port=161",
];
const LARGEST: usize = 4096;

thread_local! {
    static PAIR: RefCell<[Gateway; 2]> = RefCell::new([Gateway::new(1), Gateway::new(2)]);
}

struct Gateway {
    worker: Worker,
    out: Outbox,
    buffer: Vec<u8>,
}

impl Gateway {
    fn new(sender: u32) -> Self {
        tsg_sodium::init().unwrap();
        let folder = std::env::temp_dir().join(format!("tsg-fuzz-{}-{sender}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let leases = Leases::open(&folder).unwrap();
        let shared = Arc::new(Shared::new(1, leases, Box::new(|| {})));
        std::fs::remove_dir_all(&folder).unwrap();
        let view = view(sender);
        let held: Vec<_> = view.epochs.iter().map(|epoch| epoch.tag).collect();
        shared.publish(view, &held);
        Self { worker: Worker::new(0, shared), out: Outbox::new(), buffer: Vec::new() }
    }

    /// What goes on, and all that goes elsewhere.
    fn handle(&mut self, from: Side, packet: &[u8]) -> (Verdict, Vec<u8>) {
        self.buffer.clear();
        self.buffer.resize(HEAD_ROOM + packet.len() + TAIL_ROOM, 0);
        self.buffer[HEAD_ROOM..][..packet.len()].copy_from_slice(packet);
        let range = HEAD_ROOM..HEAD_ROOM + packet.len();
        let packet = Packet::new(&mut self.buffer, range).unwrap();
        let version =
            if packet.bytes().first().is_some_and(|first| first >> 4 == 6) { V6 } else { V4 };
        let mut frame = Frame { packet, version, from, link: None, lan_port: 0 };
        self.out.clear();
        let verdict = self.worker.handle(&mut frame, &mut self.out);
        self.worker.idle();
        let away = if from == Side::Lan { Side::Wan } else { Side::Lan };
        for (side, piece) in self.out.iter().filter(|(side, _)| *side == away) {
            assert!(!in_clear(piece), "in clear to {side:?}: {piece:02x?}");
        }
        (verdict, frame.packet.bytes().to_vec())
    }
}

fn view(sender: u32) -> View {
    let key = KeyView {
        id: 1,
        tek: Tek::new([7; 32]).into(),
        suite: Suite::ChaCha20Poly1305,
        carriage: Carriage::Protocol(253),
        sealing: true,
        prepared: false,
        senders: vec![sender],
        open: false,
        highest_sender: 256,
        origin: Some(0),
        error: 5,
        floor: 0,
        ends: None,
    };
    let policy = PolicyVersion {
        version: 1,
        stage: Stage::Active,
        policy: Policy::new(RULES.iter().map(|rule| rule.parse().unwrap()).collect()),
        mode: Mode::Enforce,
        non_ip: NonIp::Pass,
        fail: Fail::Closed,
    };
    View {
        epochs: EpochView::new(key).into_iter().collect(),
        policies: vec![policy],
        others: HashSet::from([IpAddr::from([192, 0, 2, 2])]),
        has_map: true,
        ..View::default()
    }
}

/// Plainly Modbus or the UDP protocol: whole, no options, no extension headers. Told without our own parsers.
fn in_clear(packet: &[u8]) -> bool {
    let (proto, at) = match packet.first() {
        Some(0x45) if packet.len() >= 28 && packet[6] & 0x3f == 0 && packet[7] == 0 => {
            (packet[9], 20)
        }
        Some(first) if first >> 4 == 6 && packet.len() >= 48 => (packet[6], 40),
        _ => return false,
    };
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let wanted = match proto {
        6 if packet.len() >= at + 20 => 502,
        17 => 20_000,
        _ => return false,
    };
    [port(at), port(at + 2)].contains(&wanted)
}

fuzz_target!(|input: &[u8]| {
    // Two bytes say how what was sealed is altered on its way.
    let [low, high, packet @ ..] = input else { return };
    if packet.len() > LARGEST {
        return;
    }
    let alter = usize::from(u16::from_le_bytes([*low, *high]));
    PAIR.with_borrow_mut(|[left, right]| {
        let (verdict, _) = right.handle(Side::Wan, packet);
        assert!(verdict == Verdict::Drop || !in_clear(packet), "let in: {packet:02x?}");
        let (verdict, mut sealed) = left.handle(Side::Lan, packet);
        assert!(verdict != Verdict::Pass || !in_clear(packet), "let out: {packet:02x?}");
        if verdict != Verdict::Send {
            return;
        }
        assert!(!in_clear(&sealed), "in clear: {sealed:02x?}");
        // Behind an IPv4 header without options: ESP, of which every bit counts.
        if sealed[0] == 0x45 && sealed[9] == 253 && alter / 8 < sealed.len() - 20 {
            sealed[20 + alter / 8] ^= 1 << (alter % 8);
            assert_eq!(right.handle(Side::Wan, &sealed).0, Verdict::Drop, "altered: {sealed:02x?}");
            sealed[20 + alter / 8] ^= 1 << (alter % 8);
        }
        let (verdict, opened) = right.handle(Side::Wan, &sealed);
        assert_ne!(verdict, Verdict::Pass, "a sealed packet goes on unopened");
        if verdict == Verdict::Send && sealed[0] == 0x45 {
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(opened[20..], packet[20..length], "not as it was");
        }
    });
});
