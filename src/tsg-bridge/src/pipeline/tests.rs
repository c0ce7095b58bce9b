//! Two gateways' workers face to face, without a kernel between them.

mod copies;
mod counts;
mod pieces;
mod power_cut;
mod redirects;
mod talks;
mod too_big;

use super::*;
use crate::config::Oversize;
use tsg_control::gateway::KeyView;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Policy, Rule};
use tsg_control::timeline::Stage;
use tsg_esp::DropReason;
use tsg_esp::buffer::Packet;
use tsg_esp::checksum;
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::form::{Encap, Form};
use tsg_esp::ip::Version;
use tsg_esp::seal::{SEQUENCE_END, SPARE_FROM};

const PLC: [u8; 4] = [192, 0, 2, 1];
const HMI: [u8; 4] = [192, 0, 2, 2];

/// A gateway with one worker.
struct Gateway {
    worker: Worker,
    out: Outbox,
    _run: tempfile::TempDir,
}

/// What one gateway made of a packet.
#[derive(Debug, PartialEq)]
struct Made {
    verdict: Verdict,
    /// The packet behind the verdict, if it goes on.
    packet: Vec<u8>,
    extra: Vec<(Side, Vec<u8>)>,
}

impl Gateway {
    fn new(view: View) -> Self {
        tsg_sodium::init().unwrap();
        let run = tempfile::tempdir().unwrap();
        let leases = Leases::open(run.path()).unwrap();
        let shared = Arc::new(Shared::new(1, leases, Box::new(|| {})));
        publish(&shared, view);
        Self { worker: Worker::new(0, shared), out: Outbox::new(), _run: run }
    }

    fn handle(&mut self, from: Side, packet: &[u8]) -> Made {
        let version = if packet.first().is_some_and(|first| first >> 4 == 6) {
            Version::V6
        } else {
            Version::V4
        };
        self.handle_as(version, from, packet)
    }

    /// In a frame that announces this version.
    fn handle_as(&mut self, version: Version, from: Side, packet: &[u8]) -> Made {
        let made = self.in_batch(version, from, packet);
        self.worker.idle();
        made
    }

    /// And more may follow before the worker is idle.
    fn in_batch(&mut self, version: Version, from: Side, packet: &[u8]) -> Made {
        let mut buffer = vec![0; HEAD_ROOM + packet.len() + TAIL_ROOM];
        buffer[HEAD_ROOM..][..packet.len()].copy_from_slice(packet);
        let packet = Packet::new(&mut buffer, HEAD_ROOM..HEAD_ROOM + packet.len()).unwrap();
        let mut frame = Frame { packet, version, from, link: None, lan_port: 0 };
        self.out.clear();
        let verdict = self.worker.handle(&mut frame, &mut self.out);
        Made {
            verdict,
            packet: frame.packet.bytes().to_vec(),
            extra: self.out.iter().map(|(side, packet)| (side, packet.to_vec())).collect(),
        }
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.worker.shared.counters().dropped(reason)
    }

    fn notes(&self) -> Vec<Note> {
        self.worker.shared.take_notes()
    }
}

fn publish(shared: &Shared, view: View) {
    let held: Vec<EpochTag> = view.epochs.iter().map(|epoch| epoch.tag).collect();
    shared.publish(view, &held);
}

pub(crate) fn key(sender: u32) -> KeyView {
    KeyView {
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
    }
}

fn policy(mode: Mode, rules: &[&str]) -> PolicyVersion {
    let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
    PolicyVersion {
        version: 1,
        stage: Stage::Active,
        policy: Policy::new(rules),
        mode,
        non_ip: NonIp::Pass,
        fail: Fail::Closed,
    }
}

const MODBUS: &str = "encrypt proto=tcp dest_port=502";

/// Sender 1 has the PLC behind it, sender 2 the HMI.
fn view(sender: u32, mode: Mode, rules: &[&str]) -> View {
    let (mine, other) = if sender == 1 { (PLC, HMI) } else { (HMI, PLC) };
    View {
        epochs: EpochView::new(key(sender)).into_iter().collect(),
        policies: vec![policy(mode, rules)],
        mine: HashSet::from([IpAddr::from(mine)]),
        others: HashSet::from([IpAddr::from(other)]),
        has_map: true,
        ..View::default()
    }
}

fn pair(rules: &[&str]) -> (Gateway, Gateway) {
    (Gateway::new(view(1, Mode::Enforce, rules)), Gateway::new(view(2, Mode::Enforce, rules)))
}

fn ipv4(proto: u8, dont_fragment: bool, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let flags = if dont_fragment { 0x40 } else { 0 };
    let mut packet = vec![0x45, 0, total[0], total[1], 0x12, 0x34, flags, 0, 64, proto, 0, 0];
    packet.extend(PLC);
    packet.extend(HMI);
    let sum = checksum::of(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

fn tcp(source: u16, dest: u16, length: usize) -> Vec<u8> {
    let mut payload = vec![0; 20 + length];
    payload[..2].copy_from_slice(&source.to_be_bytes());
    payload[2..4].copy_from_slice(&dest.to_be_bytes());
    payload[12] = 0x50;
    payload[13] = 0x10;
    ipv4(6, true, &payload)
}

fn udp(dest: u16, length: usize, dont_fragment: bool) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..8 + length).map(|at| at as u8).collect();
    payload[..2].copy_from_slice(&40_000u16.to_be_bytes());
    payload[2..4].copy_from_slice(&dest.to_be_bytes());
    ipv4(17, dont_fragment, &payload)
}

#[test]
fn what_one_seals_the_other_opens() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let mut plain = tcp(40_000, 502, 100);
    let secret = b"set point of boiler 3";
    plain[60..][..secret.len()].copy_from_slice(secret);
    let sealed = a.handle(Side::Lan, &plain);
    assert_eq!(sealed.verdict, Verdict::Send);
    assert_eq!(sealed.packet[9], 253);
    for part in secret.windows(8) {
        assert!(!sealed.packet.windows(8).any(|bytes| bytes == part), "a part of the payload");
    }
    let opened = b.handle(Side::Wan, &sealed.packet);
    assert_eq!((opened.verdict, opened.packet), (Verdict::Send, plain));
    assert_eq!(b.handle(Side::Wan, &sealed.packet).verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::Packet(DropReason::Replayed)), 1);
}

#[test]
fn in_clear_goes_only_what_the_policy_lets_go() {
    let (mut a, mut b) = pair(&[MODBUS, "drop proto=udp dest_port=161"]);
    let web = tcp(40_000, 80, 10);
    assert_eq!(a.handle(Side::Lan, &web).verdict, Verdict::Pass);
    assert_eq!(b.handle(Side::Wan, &web).verdict, Verdict::Pass);
    let modbus = tcp(40_000, 502, 10);
    assert_eq!(b.handle(Side::Wan, &modbus).verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::InClear), 1);
    let disguised = tcp(80, 502, 10);
    assert_eq!(b.handle(Side::Wan, &disguised).verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::InClear), 2);
    assert_eq!(a.handle(Side::Lan, &udp(161, 10, false)).verdict, Verdict::Drop);
    assert_eq!(a.dropped(Reason::Policy), 1);
}

#[test]
fn what_was_sealed_must_be_for_sealing() {
    let mut a = Gateway::new(view(1, Mode::Enforce, &["encrypt proto=tcp"]));
    let mut b = Gateway::new(view(2, Mode::Enforce, &[MODBUS]));
    let sealed = a.handle(Side::Lan, &tcp(40_000, 80, 10));
    assert_eq!(b.handle(Side::Wan, &sealed.packet).verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::InsidePolicy), 1);
}

#[test]
fn a_large_packet_is_cut_or_answered() {
    let (mut a, mut b) = pair(&["encrypt proto=udp dest_port=5000"]);
    let large = udp(5_000, 8_000, false);
    let cut = a.handle(Side::Lan, &large);
    assert_eq!(cut.verdict, Verdict::Drop);
    assert!(cut.extra.len() >= 6);
    let mut whole = vec![0; large.len() - 20];
    for (side, piece) in &cut.extra {
        assert_eq!(*side, Side::Wan);
        assert!(piece.len() <= 1_500 && piece[9] == 253);
        let opened = b.handle(Side::Wan, piece);
        assert_eq!(opened.verdict, Verdict::Send);
        let outline = Outline::parse(&opened.packet).unwrap();
        let at = usize::from(outline.fragment.unwrap().offset);
        whole[at..at + opened.packet.len() - 20].copy_from_slice(&opened.packet[20..]);
    }
    assert_eq!(whole, large[20..]);
    let answered = a.handle(Side::Lan, &udp(5_000, 1_472, true));
    assert_eq!(answered.verdict, Verdict::Drop);
    let [(Side::Lan, icmp)] = answered.extra.as_slice() else { panic!("{answered:?}") };
    assert_eq!((icmp[9], icmp[20], icmp[21]), (1, 3, 4));
    let mtu = u16::from_be_bytes([icmp[26], icmp[27]]);
    assert_eq!(a.dropped(Reason::TooBig), 1);
    let fits = a.handle(Side::Lan, &udp(5_000, usize::from(mtu) - 28, true));
    assert_eq!(fits.verdict, Verdict::Send);
    assert!(fits.packet.len() <= 1_500);
}

#[test]
fn answers_to_large_packets_are_limited() {
    let (mut a, _) = pair(&["encrypt proto=udp dest_port=5000"]);
    let large = udp(5_000, 1_472, true);
    let start = boottime::now();
    let answered = (0..2_000).filter(|_| !a.handle(Side::Lan, &large).extra.is_empty()).count();
    let earned = (boottime::now() - start) * u64::from(TOO_BIG) / 1_000;
    assert!(answered >= TOO_BIG as usize, "{answered}");
    assert!(answered as u64 <= u64::from(TOO_BIG) + earned + 1, "{answered}, {earned} earned");
    assert_eq!(a.dropped(Reason::TooBig), answered as u64);
    assert_eq!(a.dropped(Reason::TooBigSilent), 2_000 - answered as u64);
}

#[test]
fn a_narrow_path_cuts_ipv6_that_could_not_be_told() {
    let mut a =
        Gateway::new(View { path_mtu: 1_300, ..view(1, Mode::Enforce, &["encrypt proto=udp"]) });
    let mut packet = vec![0x60, 0, 0, 0, 0x04, 0xd8, 17, 64];
    packet.extend([[0xfd; 16], [0xfc; 16]].concat());
    packet.extend([0x9c, 0x40, 0x13, 0x88, 0x04, 0xd8, 0, 1]);
    packet.resize(1_280, 7);
    assert_eq!(a.handle(Side::Lan, &packet).extra.len(), 2);
}

#[test]
fn oversize_fragment_cuts_what_must_not_be_cut() {
    let mut a = Gateway::new(View {
        oversize: Oversize::Fragment,
        ..view(1, Mode::Enforce, &["encrypt proto=udp"])
    });
    assert_eq!(a.handle(Side::Lan, &udp(5_000, 1_472, true)).extra.len(), 2);
}

#[test]
fn without_a_key_fail_decides() {
    let keyless = |fail| {
        let mut view = view(1, Mode::Enforce, &[MODBUS]);
        view.epochs.clear();
        view.policies[0].fail = fail;
        Gateway::new(view)
    };
    let modbus = tcp(40_000, 502, 10);
    let mut closed = keyless(Fail::Closed);
    assert_eq!(closed.handle(Side::Lan, &modbus).verdict, Verdict::Drop);
    assert_eq!(closed.dropped(Reason::NoKey), 1);
    assert_eq!(closed.handle(Side::Lan, &tcp(1, 80, 0)).verdict, Verdict::Pass);
    let mut open = keyless(Fail::Open);
    assert_eq!(open.handle(Side::Lan, &modbus).verdict, Verdict::Pass);
    let mut unborn = Gateway::new(View::default());
    assert_eq!(unborn.handle(Side::Lan, &tcp(1, 80, 0)).verdict, Verdict::Drop);
    assert_eq!(unborn.handle(Side::Wan, &tcp(1, 80, 0)).verdict, Verdict::Drop);
}

#[test]
fn migrate_reaches_machines_without_a_gateway_in_clear() {
    let mut view = view(1, Mode::Migrate, &[MODBUS]);
    view.others.clear();
    let mut a = Gateway::new(view);
    let modbus = tcp(40_000, 502, 10);
    assert_eq!(a.handle(Side::Lan, &modbus).verdict, Verdict::Pass);
    assert_eq!(a.handle(Side::Wan, &modbus).verdict, Verdict::Pass);
    let mut a = Gateway::new(self::view(1, Mode::Migrate, &[MODBUS]));
    assert_eq!(a.handle(Side::Lan, &modbus).verdict, Verdict::Send);
}

#[test]
fn enforce_names_machines_without_a_gateway() {
    let mut view = view(1, Mode::Enforce, &[MODBUS]);
    view.others.clear();
    let mut a = Gateway::new(view);
    assert_eq!(a.handle(Side::Lan, &tcp(40_000, 502, 10)).verdict, Verdict::Send);
    assert!(a.notes().contains(&Note::Unreached(IpAddr::from(HMI))));
}

#[test]
fn a_gateway_in_series_lets_sealed_packets_through() {
    let (mut inner, mut outer) = pair(&[MODBUS]);
    let sealed = inner.handle(Side::Lan, &tcp(40_000, 502, 10));
    assert_eq!(outer.handle(Side::Lan, &sealed.packet).verdict, Verdict::Pass);
    assert!(outer.notes().contains(&Note::Downstream(IpAddr::from(PLC))));
    // What comes back for that machine is for the inner gateway to open.
    let mut back = sealed.packet.clone();
    back[12..16].copy_from_slice(&HMI);
    back[16..20].copy_from_slice(&PLC);
    assert_eq!(outer.handle(Side::Wan, &back).verdict, Verdict::Pass);
    // A forged one does not make anybody a machine of another gateway.
    let mut forged = inner.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    forged[12..16].copy_from_slice(&[192, 0, 2, 99]);
    outer.handle(Side::Lan, &forged);
    assert!(outer.worker.shared.places.of(IpAddr::from([192, 0, 2, 99])).is_none());
}

#[test]
fn a_gateway_in_series_can_be_taken_away() {
    let (mut inner, mut outer) = pair(&[MODBUS]);
    let plain = tcp(40_000, 502, 10);
    let sealed = inner.handle(Side::Lan, &plain);
    outer.handle(Side::Lan, &sealed.packet);
    let mut peer = Gateway::new(view(1, Mode::Enforce, &[MODBUS]));
    let mut back = plain.clone();
    back[12..16].copy_from_slice(&HMI);
    back[16..20].copy_from_slice(&PLC);
    let back = peer.handle(Side::Lan, &back).packet;
    assert_eq!(outer.handle(Side::Wan, &back).verdict, Verdict::Pass);
    outer.notes();
    assert_eq!(outer.handle(Side::Lan, &plain).verdict, Verdict::Send);
    assert!(outer.notes().contains(&Note::Machine(IpAddr::from(PLC))));
    assert_eq!(outer.handle(Side::Wan, &back).verdict, Verdict::Send);
}

#[test]
fn an_own_packet_that_comes_back_moves_nobody() {
    let (mut gateway, _) = pair(&[MODBUS]);
    let sealed = gateway.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    assert_eq!(gateway.handle(Side::Lan, &sealed).verdict, Verdict::Pass);
    assert_eq!(gateway.worker.shared.places.of(IpAddr::from(PLC)), None);
}

#[test]
fn a_machine_that_two_gateways_claim_is_reached_through_both() {
    let both = |sender| View {
        mine: HashSet::from([IpAddr::from(HMI)]),
        others: HashSet::from([IpAddr::from(HMI), IpAddr::from(PLC)]),
        ..view(sender, Mode::Enforce, &[MODBUS])
    };
    let mut a = Gateway::new(view(1, Mode::Enforce, &[MODBUS]));
    let mut outer = Gateway::new(both(2));
    let plain = tcp(40_000, 502, 10);
    let sealed = a.handle(Side::Lan, &plain).packet;
    let made = outer.handle(Side::Wan, &sealed);
    assert_eq!((made.verdict, &made.packet), (Verdict::Pass, &sealed));
    assert_eq!(made.extra, [(Side::Lan, plain.clone())]);
    // The machine sends in clear what is for sealing: no other gateway is in front of it.
    let mut answer = tcp(502, 40_000, 10);
    answer[12..16].copy_from_slice(&HMI);
    answer[16..20].copy_from_slice(&PLC);
    assert_eq!(outer.handle(Side::Lan, &answer).verdict, Verdict::Send);
    let sealed = a.handle(Side::Lan, &plain).packet;
    assert_eq!(outer.handle(Side::Wan, &sealed).verdict, Verdict::Send);
}

#[test]
fn what_is_for_another_gateway_is_left_sealed() {
    let (mut a, _) = pair(&[MODBUS]);
    let mut third =
        Gateway::new(View { mine: HashSet::new(), ..view(1, Mode::Enforce, &[MODBUS]) });
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    let made = third.handle(Side::Wan, &sealed);
    assert_eq!((made.verdict, made.packet), (Verdict::Pass, sealed));
}

#[test]
fn the_same_number_in_another_group_is_another_epoch() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let plain = tcp(40_000, 502, 100);
    let sealed = a.handle(Side::Lan, &plain).packet;
    assert_eq!(b.handle(Side::Wan, &sealed).verdict, Verdict::Send);
    let moved = |sender| {
        let key = KeyView { tek: Tek::new([8; 32]).into(), ..key(sender) };
        let epochs = EpochView::new(key).into_iter().collect();
        View { epochs, ..view(sender, Mode::Enforce, &[MODBUS]) }
    };
    let (mut new_a, mut new_b) = (Gateway::new(moved(1)), Gateway::new(moved(2)));
    publish(&a.worker.shared, moved(1));
    publish(&b.worker.shared, moved(2));
    let by_moved = a.handle(Side::Lan, &plain).packet;
    assert_eq!(new_b.handle(Side::Wan, &by_moved).packet, plain);
    let for_moved = new_a.handle(Side::Lan, &plain).packet;
    assert_eq!(b.handle(Side::Wan, &for_moved).packet, plain);
    assert_eq!(b.handle(Side::Wan, &sealed).verdict, Verdict::Drop);
}

#[test]
fn an_unknown_epoch_makes_it_ask() {
    let (mut a, mut b) = pair(&[MODBUS]);
    publish(&b.worker.shared, View { epochs: Vec::new(), ..view(2, Mode::Enforce, &[MODBUS]) });
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 10));
    assert_eq!(b.handle(Side::Wan, &sealed.packet).verdict, Verdict::Drop);
    assert_eq!(b.notes(), [Note::UnknownEpoch]);
}

/// A gateway with these sender numbers. Number 1 is leased up to `ceiling`.
fn worn_to(ceiling: u64, senders: &[u32]) -> Gateway {
    let gateway = Gateway::new(with_senders(senders));
    let tag = gateway.worker.shared.view.read().unwrap().epochs[0].tag;
    lock(&gateway.worker.shared.leases).set_ceiling(tag, 1, ceiling);
    gateway
}

fn with_senders(senders: &[u32]) -> View {
    let key = KeyView { senders: senders.to_vec(), ..key(1) };
    let epochs = EpochView::new(key).into_iter().collect();
    View { epochs, ..view(1, Mode::Enforce, &[MODBUS]) }
}

/// The numbers that a gateway seals its next packets with, 0 for one that it drops.
fn sealed_with(gateway: &mut Gateway, count: usize) -> Vec<u8> {
    let number = |_| {
        let made = gateway.handle(Side::Lan, &tcp(40_000, 502, 10));
        if made.verdict == Verdict::Send { made.packet[23] } else { 0 }
    };
    (0..count).map(number).collect()
}

#[test]
fn a_sender_number_without_a_spare_serves_to_its_very_end() {
    let mut gateway = worn_to(SEQUENCE_END - 50, &[1]);
    assert_eq!(sealed_with(&mut gateway, 50), [1; 50]);
    assert_eq!(sealed_with(&mut gateway, 1), [0]);
    assert_eq!(gateway.dropped(DropReason::Exhausted.into()), 1);
    assert!(gateway.notes().contains(&Note::Exhausted { epoch: 1, sender: 1 }));
    // There is one again, before the control thread knows that the other is over.
    publish(&gateway.worker.shared, with_senders(&[1, 7]));
    assert_eq!(sealed_with(&mut gateway, 2), [7, 7]);
}

#[test]
fn a_sender_number_that_is_three_quarters_used_gives_way_to_a_spare() {
    for (senders, next) in [(&[1, 7][..], 7), (&[1], 1)] {
        // A block of 16 reaches three quarters.
        let mut gateway = worn_to(SPARE_FROM - 15, senders);
        assert_eq!(sealed_with(&mut gateway, 16), [1; 16]);
        assert!(!gateway.notes().contains(&Note::Worn { epoch: 1, sender: 1 }));
        assert_eq!(sealed_with(&mut gateway, 40), [next; 40]);
        assert!(gateway.notes().contains(&Note::Worn { epoch: 1, sender: 1 }), "{senders:?}");
        // The one that comes later takes over at the end of a block.
        publish(&gateway.worker.shared, with_senders(&[1, 7]));
        assert_eq!(*sealed_with(&mut gateway, 17).last().unwrap(), 7);
    }
}

#[test]
fn numbers_that_were_not_leased_to_it_no_worker_uses() {
    let mut gateway = worn_to(1, &[1]);
    let number = |gateway: &mut Gateway| {
        let sealed = gateway.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
        u32::from_be_bytes([sealed[24], sealed[25], sealed[26], sealed[27]])
    };
    assert_eq!(number(&mut gateway), 1);
    let tag = gateway.worker.shared.view.read().unwrap().epochs[0].tag;
    lock(&gateway.worker.shared.leases).set_ceiling(tag, 1, 100_000);
    let numbers: Vec<u32> = (0..40).map(|_| number(&mut gateway)).collect();
    let leased = numbers.iter().filter(|&&number| number < 100_000).count();
    assert_eq!(numbers[..leased], (2..=16).collect::<Vec<_>>());
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

#[test]
fn a_sender_number_that_was_replaced_is_not_used_any_more() {
    let mut gateway = Gateway::new(with_senders(&[1, 2]));
    assert_eq!(sealed_with(&mut gateway, 1), [1]);
    publish(&gateway.worker.shared, with_senders(&[7, 8]));
    assert_eq!(sealed_with(&mut gateway, 1), [7]);
}

#[test]
fn an_icmp_error_follows_what_it_quotes() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let error = |quoted: &[u8]| {
        let mut icmp = vec![3, 1, 0, 0, 0, 0, 0, 0];
        icmp.extend(&quoted[..28]);
        ipv4(1, false, &icmp)
    };
    let about_modbus = error(&tcp(40_000, 502, 10));
    let sealed = a.handle(Side::Lan, &about_modbus);
    assert_eq!(sealed.verdict, Verdict::Send);
    assert_eq!(b.handle(Side::Wan, &sealed.packet).packet, about_modbus);
    assert_eq!(b.handle(Side::Wan, &about_modbus).verdict, Verdict::Drop);
    let about_web = error(&tcp(40_000, 80, 10));
    assert_eq!(b.handle(Side::Wan, &about_web).verdict, Verdict::Pass);
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    assert_eq!(b.handle(Side::Wan, &error(&sealed)).verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::AboutSealed), 1);
}

#[test]
fn garbage_is_dropped_and_counted() {
    let (mut a, mut b) = pair(&[MODBUS]);
    // The sender is known: what it costs to hear a new one is limited, and not the matter here.
    let first = a.handle(Side::Lan, &tcp(40_000, 502, 40)).packet;
    assert_eq!(b.handle(Side::Wan, &first).verdict, Verdict::Send);
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 40)).packet;
    let mut cases = 0;
    for length in 0..sealed.len() {
        assert_eq!(b.handle(Side::Wan, &sealed[..length]).verdict, Verdict::Drop, "{length}");
        cases += 1;
    }
    for bit in 20 * 8..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(b.handle(Side::Wan, &flipped).verdict, Verdict::Drop, "bit {bit}");
        cases += 1;
    }
    assert!(cases > 500);
    assert_eq!(b.handle(Side::Wan, &sealed).verdict, Verdict::Send);
}

/// The packet as if another sender had sealed it.
fn forged(sealed: &[u8], sender: u32) -> Vec<u8> {
    let mut forged = sealed.to_vec();
    forged[21..24].copy_from_slice(&sender.to_be_bytes()[1..]);
    forged
}

#[test]
fn a_flood_of_forged_senders_keeps_out_nobody_in_a_small_group() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    for at in 0..5_000 {
        let sender = 2 + at % 255;
        assert_eq!(b.handle(Side::Wan, &forged(&sealed, sender)).verdict, Verdict::Drop);
    }
    assert_eq!(b.dropped(Reason::Packet(DropReason::Unauthentic)), 5_000);
    assert_eq!(b.handle(Side::Wan, &sealed).verdict, Verdict::Send);
}

#[test]
fn a_flood_from_the_wan_does_not_hide_a_gateway_in_series() {
    let (mut inner, _) = pair(&[MODBUS]);
    let large = KeyView { highest_sender: 1 << 20, ..key(2) };
    let epochs = EpochView::new(large).into_iter().collect();
    let mut outer = Gateway::new(View { epochs, ..view(2, Mode::Enforce, &[MODBUS]) });
    let sealed = inner.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    let mut sender = 1_000;
    while outer.dropped(Reason::Budget) == 0 {
        sender += 1;
        outer.handle(Side::Wan, &forged(&sealed, sender));
        assert!(sender < 1 << 20, "no limit");
    }
    assert_eq!(outer.handle(Side::Lan, &sealed).verdict, Verdict::Pass);
    assert!(outer.notes().contains(&Note::Downstream(IpAddr::from(PLC))));
}

#[test]
fn a_packet_of_another_version_than_its_frame_says_goes_nowhere() {
    let (mut plc, _) = pair(&[MODBUS]);
    let bypassed = ipv4(55, false, &[7; 20]);
    assert_eq!(plc.handle(Side::Wan, &bypassed).verdict, Verdict::Pass);
    for (n, from) in [(1, Side::Wan), (2, Side::Lan)] {
        assert_eq!(plc.handle_as(Version::V6, from, &bypassed).verdict, Verdict::Drop);
        assert_eq!(plc.dropped(Reason::Malformed), n);
    }
}
