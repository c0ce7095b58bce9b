//! Packets that were cut since they do not fit once sealed.

use super::*;
use tsg_control::policy::Action;

/// A pair with a policy that drops what no rule matches.
fn strict_pair(rules: &[&str]) -> (Gateway, Gateway) {
    let gateway = |sender| {
        let mut view = view(sender, Mode::Enforce, rules);
        view.policies[0].policy.default_action = Action::Drop;
        Gateway::new(view)
    };
    (gateway(1), gateway(2))
}

#[test]
fn pieces_are_opened_although_a_stricter_rule_might_be_theirs() {
    const ENCRYPT: &str = "encrypt proto=udp dest_port=5000";
    const DROP: &str = "drop proto=udp dest_port=161";
    for (mut a, mut b) in [strict_pair(&[ENCRYPT]), pair(&[DROP, ENCRYPT])] {
        let cut = a.handle(Side::Lan, &udp(5_000, 8_000, false));
        assert!(cut.extra.len() >= 6);
        for (_, piece) in &cut.extra {
            let opened = b.handle(Side::Wan, piece);
            assert_eq!(opened.verdict, Verdict::Send);
            let again = b.handle(Side::Wan, &opened.packet);
            assert_eq!(again.verdict, Verdict::Drop, "in clear the strictest rule counts");
        }
    }
}

#[test]
fn pieces_that_no_rule_could_have_sealed_are_not_opened() {
    let (mut a, _) = pair(&["encrypt proto=udp dest_port=5000"]);
    let (_, mut b) = pair(&["encrypt proto=tcp", "drop proto=udp dest_port=161"]);
    let cut = a.handle(Side::Lan, &udp(5_000, 8_000, false));
    for (_, piece) in &cut.extra {
        assert_eq!(b.handle(Side::Wan, piece).verdict, Verdict::Drop);
    }
    assert_eq!(b.dropped(Reason::InsidePolicy), cut.extra.len() as u64);
}

#[test]
fn packets_that_two_workers_cut_have_different_identifications() {
    let oversize = View {
        oversize: Oversize::Fragment,
        epochs: with_senders(&[1, 2]).epochs,
        ..view(1, Mode::Enforce, &["encrypt proto=udp"])
    };
    let (mut a, mut b) = (Gateway::new(oversize), Gateway::new(View::default()));
    b.worker = Worker::new(1, Arc::clone(&a.worker.shared));
    let mut packet = udp(5_000, 1_472, true);
    packet[4..6].fill(0);
    let mut seen = HashSet::new();
    for round in 0..50 {
        // A worker that is made anew begins with none of before.
        if round == 25 {
            a.worker = Worker::new(0, Arc::clone(&a.worker.shared));
        }
        for gateway in [&mut a, &mut b] {
            let made = gateway.handle(Side::Lan, &packet);
            let [(_, first), (_, second)] = made.extra.as_slice() else { panic!("{made:?}") };
            assert_eq!(first[4..6], second[4..6]);
            assert!(seen.insert(first[4..6].to_vec()), "twice: {:02x?}", &first[4..6]);
        }
    }
}
