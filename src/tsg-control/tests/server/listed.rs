//! Many gateways let in at once, by a list of their fingerprints.

use crate::{NOW, key, register, registration, said, say, server, stored};
use tsg_control::keys::{Fingerprint, PublicKey};
use tsg_control::message::{ToGateway, ToServer};
use tsg_control::server::{GatewayState, ListedGateway, MOST_LISTED, OrderError, Record, Server};

fn prints(keys: impl IntoIterator<Item = u16>) -> Vec<Fingerprint> {
    keys.into_iter().map(|number| key(number).fingerprint()).collect()
}

/// So many ask to join: at the rate at which strangers are heard.
fn ask(server: &mut Server, numbers: impl IntoIterator<Item = u16>) -> u64 {
    let mut now = NOW;
    for number in numbers {
        now += 50;
        let answer = say(server, key(number), ToServer::Register(registration(1)), now);
        assert!(matches!(answer[..], [ToGateway::Pending(_)]), "{number}: {answer:?}");
    }
    now
}

fn waiting(server: &Server, now: u64) -> Vec<PublicKey> {
    let all = server.gateways(now);
    all.iter().filter(|one| one.state == GatewayState::Pending).map(|one| one.key).collect()
}

#[test]
fn who_waits_and_is_listed_is_let_in_and_nobody_else() {
    let mut server = server();
    server.add_group("other", NOW).unwrap();
    server.approve(key(7), "other", 0, NOW).unwrap();
    server.approve(key(8), "plant", 0, NOW).unwrap();
    server.revoke(key(8), "stolen", NOW).unwrap();
    let now = ask(&mut server, [1, 2, 3]);
    let listed = prints([3, 99, 1, 7, 3, 8]);
    let came = server.approve_listed(&listed, "plant", 0, now).unwrap();
    let of = |gateways: &[ListedGateway]| -> Vec<_> {
        gateways.iter().map(|one| (one.fingerprint, one.group.clone())).collect()
    };
    let in_plant = |number| (key(number).fingerprint(), "plant".to_owned());
    assert_eq!(of(&came.approved), [in_plant(3), in_plant(1)], "in the list's order, once");
    assert_eq!(of(&came.members), [(key(7).fingerprint(), "other".to_owned())]);
    assert_eq!(of(&came.revoked), [in_plant(8)]);
    assert_eq!(came.absent, prints([99]));
    assert!(came.approved[0].name != came.approved[1].name, "{came:?}");
    assert_eq!(waiting(&server, now), [key(2)], "who is not listed still waits");
    assert!(!server.admits(&key(8)), "who was thrown out stays out");
    said(&mut server);
    for number in [1, 3] {
        assert_eq!(register(&mut server, key(number), 1, now).group, "plant");
    }

    // Once more: it changes nothing.
    while server.poll_record().is_some() {}
    let again = server.approve_listed(&listed, "plant", 0, now).unwrap();
    assert!(again.approved.is_empty() && again.members.len() == 3, "{again:?}");
    assert_eq!(server.poll_record(), None);
}

#[test]
fn hundreds_are_let_in_by_one_epoch() {
    let mut server = server();
    server.approve(key(9_999), "plant", 0, NOW).unwrap();
    let now = ask(&mut server, 0..300);
    while server.poll_record().is_some() {}
    let epochs = |server: &Server| server.groups(NOW)[0].epochs.len();
    let before = epochs(&server);
    let came = server.approve_listed(&prints(0..300), "plant", 7, now).unwrap();
    assert_eq!((came.approved.len(), epochs(&server)), (300, before));
    let records: Vec<_> = std::iter::from_fn(|| server.poll_record()).collect();
    let gateways = records.iter().filter(|record| matches!(record, Record::Gateway(_))).count();
    assert_eq!(gateways, 300);
    assert!(records.len() <= 301, "each once, and one step of the group: {}", records.len());
    let stored = stored(records.into_iter());
    assert!(stored.gateways.iter().all(|one| one.approved == 7 && one.group == "plant"));
    assert_eq!(server.groups(now)[0].members, 301);
}

#[test]
fn a_group_without_keys_gets_one_epoch_for_all_of_them() {
    let mut server = server();
    let now = ask(&mut server, 0..3);
    assert_eq!(server.groups(now)[0].epochs.len(), 0);
    server.approve_listed(&prints(0..3), "plant", 0, now).unwrap();
    let senders = (0..3).map(|n| {
        let state = register(&mut server, key(n), 1, now);
        assert_eq!(state.epochs.len(), 1);
        (state.epochs[0].id, crate::senders(&state))
    });
    let mut senders: Vec<_> = senders.collect();
    assert!(senders.iter().all(|(epoch, _)| *epoch == senders[0].0));
    senders.dedup();
    assert_eq!(senders.len(), 3, "each has numbers of its own");
}

#[test]
fn a_list_that_cannot_be_is_refused_and_changes_nothing() {
    let mut server = server();
    let now = ask(&mut server, [1]);
    while server.poll_record().is_some() {}
    let refused = |server: &mut Server, listed: &[Fingerprint], group: &str| {
        server.approve_listed(listed, group, 0, now).unwrap_err()
    };
    assert!(matches!(refused(&mut server, &prints([1]), "none"), OrderError::NotFound(_)));
    assert!(matches!(refused(&mut server, &[], "plant"), OrderError::Invalid(_)));
    let many = vec![key(1).fingerprint(); MOST_LISTED + 1];
    let told = refused(&mut server, &many, "plant").to_string();
    assert!(told.contains("at most 1000"), "{told}");
    assert_eq!((waiting(&server, now), server.poll_record()), (vec![key(1)], None));
    let came = server.approve_listed(&many[1..], "plant", 0, now).unwrap();
    assert_eq!((came.approved.len(), came.absent.len()), (1, 0));
}
