//! Enrolment tokens: their numbers, their ends, and floods of wrong ones.

use crate::{NOW, key, refused, registration, say, server, state, stored};
use tsg_control::message::{Register, ToGateway, ToServer};
use tsg_control::server::{Record, Server, Stored};
use tsg_control::token::TokenSecret;

const DAY: u64 = 86_400_000;

fn with(secret: &TokenSecret) -> ToServer {
    ToServer::Register(Register { token: Some(secret.clone()), ..registration(1) })
}

fn records(server: &mut Server) -> Vec<Record> {
    std::iter::from_fn(|| server.poll_record()).collect()
}

#[test]
fn no_number_comes_twice() {
    let mut server = server();
    let expires = NOW / 1000 + 60;
    let (first, secret) = server.create_token("plant", expires).unwrap();
    server.revoke_token(first).unwrap();
    assert!(server.tokens().is_empty());
    assert!(server.revoke_token(first).is_err());
    let answer = say(&mut server, key(1), with(&secret), NOW);
    assert!(refused(&answer).reason.contains("not known"), "{answer:?}");
    // Neither after a restart.
    let records = records(&mut server);
    let mut server = server_from(stored(records.into_iter()));
    let (second, _) = server.create_token("plant", expires).unwrap();
    assert!(second > first);
    let left: Vec<_> = server.tokens().iter().map(|token| token.id).collect();
    assert_eq!(left, [second]);
    let gone = self::records(&mut server).contains(&Record::TokenGone(first));
    assert!(gone, "the old number need not be kept any more");
}

fn server_from(stored: Stored) -> Server {
    Server::new(stored, Box::new(crate::Counting(99)), NOW)
}

#[test]
fn a_token_is_not_good_for_another_group_of_the_same_name() {
    let mut server = server();
    server.add_group("lab", NOW).unwrap();
    let secrets = [0; 2].map(|_| server.create_token("lab", NOW / 1000 + 60).unwrap().1);
    server.remove_group("lab").unwrap();
    assert!(server.tokens().is_empty());
    server.add_group("lab", NOW).unwrap();
    let records = records(&mut server);
    for mut server in [server, server_from(stored(records.into_iter()))] {
        for secret in &secrets {
            let answer = say(&mut server, key(1), with(secret), NOW);
            assert!(refused(&answer).reason.contains("not known"), "{answer:?}");
        }
    }
}

#[test]
fn what_is_long_over_is_cleared_away() {
    let mut server = server();
    let (used, secret) = server.create_token("plant", NOW / 1000 + 60).unwrap();
    state(say(&mut server, key(1), with(&secret), NOW));
    let (unused, _) = server.create_token("plant", NOW / 1000 + 60).unwrap();
    for (days, left) in [(29, 3), (31, 2)] {
        server.handle_timeout(NOW + days * DAY);
        server.create_token("plant", (NOW + (days + 1) * DAY) / 1000).unwrap();
        assert_eq!(server.tokens().len(), left, "after {days} days");
    }
    let gone = records(&mut server);
    assert!(gone.contains(&Record::TokenGone(used)) && gone.contains(&Record::TokenGone(unused)));
}

#[test]
fn strangers_in_masses_do_not_keep_out_who_has_a_token() {
    let mut server = server();
    let (_, secret) = server.create_token("plant", NOW / 1000 + 3_600).unwrap();
    let wrong = TokenSecret::make(|secret| secret.fill(9));
    for number in 0..3_000 {
        say(&mut server, key(number), ToServer::Register(registration(1)), NOW);
        say(&mut server, key(number), with(&wrong), NOW);
    }
    let warnings = std::iter::from_fn(|| server.poll_event())
        .filter(|event| event.text.contains("not known"))
        .count();
    assert!((1..=50).contains(&warnings), "{warnings} lines in the log");
    state(say(&mut server, key(9_999), with(&secret), NOW));
    // Wrong tokens do not keep out those who wait for an operator.
    let now = NOW + 60_000;
    for number in 0..3_000 {
        say(&mut server, key(number), with(&wrong), now);
    }
    let answer = say(&mut server, key(8_888), ToServer::Register(registration(1)), now);
    assert!(matches!(answer[..], [ToGateway::Pending(_)]), "{answer:?}");
}
