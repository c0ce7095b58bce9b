//! A gateway's data path without its wires.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use tsg_bridge::attach::{Frame, Handler as _, Outbox, Side, Verdict};
use tsg_bridge::pipeline::{EpochView, Leases, Shared, View, Worker};
use tsg_control::gateway::KeyView;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::Policy;
use tsg_control::timeline::Stage;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::ip::Version;

const RULES: [&str; 3] = [
    "encrypt proto=tcp dest_port=502",
    "encrypt proto=udp dest_port=20000",
    "drop proto=udp dest_port=161",
];

/// One worker, in a group that seals Modbus and a UDP protocol.
pub(crate) struct Gateway {
    worker: Worker,
    out: Outbox,
    buffer: Vec<u8>,
    sent: core::ops::Range<usize>,
}

impl Gateway {
    /// Number 1 is in front of 10.0.0.1, number 2 in front of 10.0.0.2.
    #[expect(clippy::expect_used, reason = "for measurements")]
    pub(crate) fn new(suite: Suite, number: u8) -> Self {
        let folder = tempfile::tempdir().expect("a folder for leases");
        let leases = Leases::open(folder.path()).expect("leases");
        let shared = Arc::new(Shared::new(1, leases, Box::new(|| {})));
        // Numbers are stored now and then, as on a router's RAM disk.
        let _ = folder.keep();
        let view = view(suite, number);
        let held: Vec<_> = view.epochs.iter().map(|epoch| epoch.tag).collect();
        shared.publish(view, &held);
        let buffer = vec![0; HEAD_ROOM + 2_048 + TAIL_ROOM];
        Self { worker: Worker::new(0, shared), out: Outbox::new(), buffer, sent: 0..0 }
    }

    /// What becomes of a packet.
    pub(crate) fn handle(&mut self, from: Side, packet: &[u8]) -> Verdict {
        let range = HEAD_ROOM..HEAD_ROOM + packet.len();
        self.buffer[range.clone()].copy_from_slice(packet);
        let Ok(packet) = Packet::new(&mut self.buffer, range) else { return Verdict::Drop };
        let mut frame = Frame { packet, version: Version::V4, from, link: None, lan_port: 0 };
        let verdict = self.worker.handle(&mut frame, &mut self.out);
        self.sent = frame.packet.range();
        verdict
    }

    /// The last packet that went on.
    pub(crate) fn sent(&self) -> &[u8] {
        &self.buffer[self.sent.clone()]
    }
}

fn view(suite: Suite, number: u8) -> View {
    let key = KeyView {
        id: 1,
        tek: Tek::new([7; 32]).into(),
        suite,
        carriage: Carriage::Protocol(253),
        sealing: true,
        prepared: false,
        senders: vec![number.into()],
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
        policy: Policy::new(RULES.iter().filter_map(|rule| rule.parse().ok()).collect()),
        mode: Mode::Enforce,
        non_ip: NonIp::Pass,
        fail: Fail::Closed,
    };
    View {
        epochs: EpochView::new(key).into_iter().collect(),
        policies: vec![policy],
        others: HashSet::from([IpAddr::from([10, 0, 0, 3 - number])]),
        has_map: true,
        ..View::default()
    }
}
