//! What is counted, by whom and how much.

use super::*;

#[test]
fn a_worker_counts_on_where_the_one_before_it_ended() {
    let (mut a, _) = pair(&[MODBUS]);
    let sealed = |gateway: &mut Gateway| {
        gateway.handle(Side::Lan, &tcp(40_000, 502, 10));
        gateway.worker.shared.counters().sealed
    };
    assert_eq!([sealed(&mut a), sealed(&mut a)], [1, 2]);
    a.worker = Worker::new(0, Arc::clone(&a.worker.shared));
    a.worker.idle();
    assert_eq!(a.worker.shared.counters().sealed, 2);
    assert_eq!(sealed(&mut a), 3);
}

#[test]
fn bytes_are_those_of_the_machines() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let mut sent = 0;
    for size in [0, 1, 100, 1_400] {
        let packet = tcp(40_000, 502, size);
        sent += packet.len() as u64;
        let sealed = a.handle(Side::Lan, &packet).packet;
        assert!(sealed.len() > packet.len());
        b.handle(Side::Wan, &sealed);
        b.handle(Side::Wan, &sealed);
    }
    assert_eq!(a.worker.counters.sealed_bytes, sent);
    assert_eq!(b.worker.counters.opened_bytes, sent, "a replay is no traffic");
}
