//! Who is told of before a group goes on to `enforce`.

use super::*;

fn from_to(src: [u8; 4], dest: [u8; 4], source: u16, port: u16) -> Vec<u8> {
    let mut packet = tcp(source, port, 10);
    packet[12..16].copy_from_slice(&src);
    packet[16..20].copy_from_slice(&dest);
    packet[10..12].fill(0);
    let sum = checksum::of(&packet[..20]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet
}

#[test]
fn what_enforce_would_drop_is_told_for_each_pair_and_service() {
    let mut lan = Gateway::new(view(1, Mode::Migrate, &[MODBUS]));
    let shared = Arc::clone(&lan.worker.shared);
    let stranger = [192, 0, 2, 9];
    // The PLC answers a machine that has no gateway; two connections of it are one service.
    for port in [40_000, 40_001] {
        assert_eq!(
            lan.handle(Side::Wan, &from_to(stranger, PLC, port, 502)).verdict,
            Verdict::Pass
        );
        assert_eq!(
            lan.handle(Side::Lan, &from_to(PLC, stranger, 502, port)).verdict,
            Verdict::Pass
        );
    }
    // What is sealed, and what no rule wants sealed, is not told of.
    assert_eq!(lan.handle(Side::Lan, &from_to(PLC, HMI, 502, 40_000)).verdict, Verdict::Send);
    assert_eq!(lan.handle(Side::Wan, &from_to(stranger, PLC, 40_000, 80)).verdict, Verdict::Pass);
    let told = || {
        let mut told: Vec<_> = shared
            .talks(boottime::now())
            .iter()
            .map(|(talk, heard)| (talk.src, talk.port, talk.fate, heard.packets))
            .collect();
        told.sort_by_key(|(src, ..)| *src);
        told
    };
    let both = [
        (IpAddr::from(PLC), Some(502), Fate::Unreached, 2),
        (IpAddr::from(stranger), Some(502), Fate::Dropped, 2),
    ];
    assert_eq!(told(), both);
    // Keys and map may change without its being forgotten, the policy may not.
    publish(&shared, view(1, Mode::Migrate, &[MODBUS]));
    assert_eq!(told(), both);
    publish(&shared, view(1, Mode::Enforce, &[MODBUS]));
    assert_eq!(told(), []);
    assert_eq!(lan.handle(Side::Wan, &from_to(stranger, PLC, 40_000, 502)).verdict, Verdict::Drop);
    assert_eq!(told(), [(IpAddr::from(stranger), Some(502), Fate::Dropped, 1)]);
}

#[test]
fn what_a_busy_worker_counted_under_another_policy_is_not_told() {
    let mut lan = Gateway::new(view(1, Mode::Migrate, &[MODBUS]));
    let shared = Arc::clone(&lan.worker.shared);
    let late = from_to([192, 0, 2, 9], PLC, 40_000, 502);
    let told = || shared.talks(boottime::now()).len();
    assert_eq!(lan.in_batch(Version::V4, Side::Wan, &late).verdict, Verdict::Pass);
    // Other keys are no reason to forget it.
    publish(&shared, view(2, Mode::Migrate, &[MODBUS]));
    lan.worker.idle();
    assert_eq!(told(), 1);
    assert_eq!(lan.in_batch(Version::V4, Side::Wan, &late).verdict, Verdict::Pass);
    publish(&shared, view(2, Mode::Migrate, &[]));
    lan.worker.idle();
    assert_eq!(told(), 0);

    publish(&shared, view(2, Mode::Learn, &[]));
    assert_eq!(lan.in_batch(Version::V4, Side::Wan, &late).verdict, Verdict::Pass);
    publish(&shared, view(2, Mode::Migrate, &[]));
    lan.worker.idle();
    assert_eq!(shared.learned(), []);
}

#[test]
fn a_group_that_learns_is_told_of_all_that_passes() {
    let mut lan = Gateway::new(view(1, Mode::Learn, &[MODBUS]));
    let shared = Arc::clone(&lan.worker.shared);
    let stranger = [192, 0, 2, 9];
    for port in [40_000, 40_001] {
        for service in [502, 8_080] {
            let there = from_to(stranger, PLC, port, service);
            let back = from_to(PLC, stranger, service, port);
            assert_eq!(lan.handle(Side::Wan, &there).verdict, Verdict::Pass);
            assert_eq!(lan.handle(Side::Lan, &back).verdict, Verdict::Pass);
        }
    }
    // EtherNet/IP's port is above the client's.
    assert_eq!(lan.handle(Side::Lan, &from_to(PLC, HMI, 40_002, 44_818)).verdict, Verdict::Pass);
    let told = || {
        let mut told: Vec<_> = shared
            .learned()
            .iter()
            .map(|(service, used)| (service.client, service.server, service.port, used.packets))
            .collect();
        told.sort_unstable();
        told
    };
    let (plc, stranger) = (IpAddr::from(PLC), IpAddr::from(stranger));
    let mut all = [
        (stranger, plc, Some(502), 4),
        (stranger, plc, Some(8_080), 4),
        (plc, IpAddr::from(HMI), Some(44_818), 1),
    ];
    all.sort_unstable();
    assert_eq!(told(), all);
    assert!(shared.learned().iter().all(|(_, used)| used.bytes >= 50 * used.packets));
    // Other rules judge otherwise, but what there is is the same.
    publish(&shared, view(1, Mode::Learn, &[]));
    assert_eq!(told(), all);
    publish(&shared, view(1, Mode::Migrate, &[MODBUS]));
    assert_eq!(told(), []);
    assert_eq!(lan.handle(Side::Lan, &from_to(PLC, HMI, 40_002, 80)).verdict, Verdict::Pass);
    assert_eq!(told(), [], "nobody learns any more");
}
