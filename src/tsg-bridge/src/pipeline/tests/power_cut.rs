//! A gateway that lost power, and knows of the time only what it was.

use super::*;

const HOUR: i64 = 3_600_000;

/// Sender 1, whose time is open: it takes it to be so many milliseconds earlier than sender 2 does.
fn late(behind: i64) -> View {
    late_with(KeyView { origin: Some(behind), floor: pseudo(-HOUR), ..open() })
}

fn open() -> KeyView {
    KeyView { open: true, ..key(1) }
}

fn late_with(key: KeyView) -> View {
    View { epochs: EpochView::new(key).into_iter().collect(), ..view(1, Mode::Enforce, &[MODBUS]) }
}

/// So many milliseconds from now, as sender 2 counts.
fn pseudo(from_now: i64) -> u32 {
    (boottime::now() as i64 + from_now) as u32
}

fn from_hmi() -> Vec<u8> {
    let mut packet = tcp(502, 40_000, 10);
    let (src, dst) = packet[12..20].split_at_mut(4);
    src.swap_with_slice(dst);
    packet
}

#[test]
fn who_knows_the_time_tells_who_does_not() {
    let mut a = Gateway::new(late(HOUR));
    let mut b = Gateway::new(view(2, Mode::Enforce, &[MODBUS]));
    let asks = a.handle(Side::Lan, &tcp(40_000, 502, 10));
    assert_eq!(asks.verdict, Verdict::Send);
    let told = b.handle(Side::Wan, &asks.packet);
    assert_eq!(told.verdict, Verdict::Drop);
    assert_eq!(b.dropped(Reason::Packet(DropReason::Stale)), 1);
    let [(Side::Wan, dummy)] = told.extra.as_slice() else { panic!("{told:?}") };
    assert_eq!((&dummy[12..16], &dummy[16..20], dummy[9]), (&HMI[..], &PLC[..], 253));
    a.notes();
    let heard = a.handle(Side::Wan, dummy);
    assert_eq!((heard.verdict, heard.extra), (Verdict::Drop, Vec::new()));
    let counters = a.worker.shared.counters().by_name();
    assert_eq!((counters["time_heard"], counters["opened"]), (1, 0));
    assert!(counters.iter().all(|(name, count)| !name.starts_with("drop_") || *count == 0));
    let notes = a.notes();
    let [Note::Later { epoch: 1, time }] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(pseudo(0).wrapping_sub(*time) < 1_000);
    publish(&a.worker.shared, late(0));
    let goes = a.handle(Side::Lan, &tcp(40_000, 502, 10));
    assert_eq!(b.handle(Side::Wan, &goes.packet).verdict, Verdict::Send);
    assert_eq!(b.worker.shared.counters().by_name()["time_told"], 1);
}

#[test]
fn what_is_later_is_opened_up_to_the_end_of_the_epoch() {
    let mut b = Gateway::new(view(2, Mode::Enforce, &[MODBUS]));
    let late_and_ends = |in_ms: i64| {
        late_with(KeyView {
            ends: Some((boottime::now() as i64 + in_ms) as u64),
            origin: Some(HOUR),
            floor: pseudo(-HOUR),
            ..open()
        })
    };
    let mut a = Gateway::new(late_and_ends(2 * HOUR));
    let sealed = b.handle(Side::Lan, &from_hmi());
    assert_eq!(a.handle(Side::Wan, &sealed.packet).verdict, Verdict::Send);
    assert!(a.notes().iter().any(|note| matches!(note, Note::Later { .. })));
    // Once that has been taken over, there is nothing new in the next.
    publish(&a.worker.shared, late(0));
    let sealed = b.handle(Side::Lan, &from_hmi());
    assert_eq!(a.handle(Side::Wan, &sealed.packet).verdict, Verdict::Send);
    assert!(!a.notes().iter().any(|note| matches!(note, Note::Later { .. })));
    let mut a = Gateway::new(late_and_ends(HOUR / 2));
    let sealed = b.handle(Side::Lan, &from_hmi());
    assert_eq!(a.handle(Side::Wan, &sealed.packet).verdict, Verdict::Drop);
    assert_eq!(a.dropped(Reason::Packet(DropReason::Future)), 1);
}

#[test]
fn nothing_of_before_the_floor_is_opened_and_nobody_is_told_for_it() {
    let mut b = Gateway::new(view(2, Mode::Enforce, &[MODBUS]));
    let floor = KeyView { floor: pseudo(60_000), ..open() };
    let mut a = Gateway::new(late_with(floor));
    let sealed = b.handle(Side::Lan, &from_hmi());
    let refused = a.handle(Side::Wan, &sealed.packet);
    assert_eq!((refused.verdict, refused.extra), (Verdict::Drop, Vec::new()));
    assert_eq!(a.dropped(Reason::Packet(DropReason::Stale)), 1);
}

#[test]
fn what_is_not_authentic_gets_no_answer_and_the_rest_few() {
    let mut a = Gateway::new(late(HOUR));
    let mut b = Gateway::new(view(2, Mode::Enforce, &[MODBUS]));
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 10)).packet;
    let mut cases = 0;
    for at in 36..sealed.len() {
        let mut forged = sealed.clone();
        forged[at] ^= 1;
        b.worker.told_time = Budget::new(1_000);
        assert!(b.handle(Side::Wan, &forged).extra.is_empty(), "byte {at}");
        cases += 1;
    }
    assert!(cases > 45, "{cases}");
    b.worker.told_time = Budget::new(TOLD_TIME);
    let start = boottime::now();
    let told = (0..500).filter(|_| !b.handle(Side::Wan, &sealed).extra.is_empty()).count();
    let earned = (boottime::now() - start) * u64::from(TOLD_TIME) / 1_000;
    assert!((10..=11 + earned as usize).contains(&told), "{told}");
}
