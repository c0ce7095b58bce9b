//! A sealed frame that the kernel hands over once for each LAN port.

use super::*;
use crate::attach::Link;

fn link(dst: u8) -> Option<Link> {
    Some(Link { dst: [dst; 6], src: [2; 6], vlans: Default::default() })
}

/// A sender, and a gateway with several LAN ports.
fn flooded() -> (Gateway, Gateway) {
    let (a, mut b) = pair(&["encrypt proto=udp dest_port=5000"]);
    b.worker.expect_copies();
    (a, b)
}

fn sealed(a: &mut Gateway, number: u8) -> (Vec<u8>, Vec<u8>) {
    let plain = udp(5_000, 100 + usize::from(number), false);
    (a.handle(Side::Lan, &plain).packet, plain)
}

impl Gateway {
    /// A copy that leaves by this LAN port.
    fn copy(&mut self, packet: &[u8], link: Option<Link>, lan_port: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; HEAD_ROOM + packet.len() + TAIL_ROOM];
        buffer[HEAD_ROOM..][..packet.len()].copy_from_slice(packet);
        let packet = Packet::new(&mut buffer, HEAD_ROOM..HEAD_ROOM + packet.len()).unwrap();
        let mut frame = Frame { packet, version: Version::V4, from: Side::Wan, link, lan_port };
        self.out.clear();
        let verdict = self.worker.handle(&mut frame, &mut self.out);
        let bytes = frame.packet.bytes().to_vec();
        self.worker.idle();
        (verdict == Verdict::Send).then_some(bytes)
    }
}

#[test]
fn each_lan_port_gets_its_copy_and_none_gets_two() {
    for group in [link(0xff), None] {
        let (mut a, mut b) = flooded();
        let (sealed, plain) = sealed(&mut a, 0);
        for port in [0, 1, 31] {
            assert_eq!(b.copy(&sealed, group, port).as_ref(), Some(&plain), "port {port}");
        }
        for port in [0, 1, 31] {
            assert_eq!(b.copy(&sealed, group, port), None, "port {port}");
        }
        assert_eq!(b.dropped(DropReason::Replayed.into()), 3);
    }
}

#[test]
fn copies_of_several_frames_may_be_mixed() {
    let (mut a, mut b) = flooded();
    let frames: Vec<_> = (0..16).map(|number| sealed(&mut a, number)).collect();
    for port in 0..4 {
        for (sealed, plain) in &frames {
            assert_eq!(b.copy(sealed, link(0xff), port).as_ref(), Some(plain), "port {port}");
        }
    }
    // The oldest gives way to a new one.
    let (newest, _) = sealed(&mut a, 16);
    assert!(b.copy(&newest, link(0xff), 0).is_some());
    assert_eq!(b.copy(&frames[0].0, link(0xff), 9), None);
    assert!(b.copy(&frames[1].0, link(0xff), 9).is_some());
}

#[test]
fn a_replay_for_somebody_else_is_no_copy() {
    let (mut a, mut b) = flooded();
    let (sealed, _) = sealed(&mut a, 0);
    assert!(b.copy(&sealed, link(4), 0).is_some());
    assert_eq!(b.copy(&sealed, link(6), 1), None, "another Ethernet address");
    let mut other = sealed.clone();
    other[19] ^= 1;
    assert_eq!(b.copy(&other, link(4), 1), None, "another IP address");
    let last = sealed.len() - 1;
    let mut other = sealed.clone();
    other[last] ^= 1;
    assert_eq!(b.copy(&other, link(4), 1), None, "another ICV");
    assert_eq!(b.dropped(DropReason::Replayed.into()), 3);
}

#[test]
fn a_later_copy_meets_the_policy_of_its_time() {
    let (mut a, mut b) = flooded();
    let (sealed, plain) = sealed(&mut a, 0);
    assert_eq!(b.copy(&sealed, link(0xff), 0), Some(plain));
    publish(&b.worker.shared, view(2, Mode::Enforce, &[MODBUS]));
    assert_eq!(b.copy(&sealed, link(0xff), 1), None);
    assert_eq!(b.dropped(Reason::InsidePolicy), 1);
}

#[test]
fn the_opened_copy_beside_a_sealed_one_goes_to_each_port() {
    let (mut a, mut b) = flooded();
    let both = View {
        mine: HashSet::from([IpAddr::from(HMI)]),
        others: HashSet::from([IpAddr::from(HMI), IpAddr::from(PLC)]),
        ..view(2, Mode::Enforce, &["encrypt proto=udp dest_port=5000"])
    };
    publish(&b.worker.shared, both);
    let (sealed, plain) = sealed(&mut a, 0);
    for (port, extra) in [(0, 1), (1, 1), (1, 0)] {
        assert_eq!(b.copy(&sealed, link(4), port), None);
        let sent: Vec<_> = b.out.iter().map(|(to, packet)| (to, packet.to_vec())).collect();
        assert_eq!(sent, vec![(Side::Lan, plain.clone()); extra], "port {port}");
    }
}
