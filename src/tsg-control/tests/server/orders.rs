//! What operators order is refused where it could not be carried out.

use super::{Counting, NOW, key, register, server, stored};
use std::sync::Arc;
use tsg_control::message::{self, MAX_FRAME, MAX_POLICY, ToGateway};
use tsg_control::policy::{Policy, Rule};
use tsg_control::server::{GatewayFilter, Server};

fn policy(rules: usize, addresses: usize) -> Policy {
    let list: Vec<_> = (0..addresses).map(|n| format!("10.{}.{}.1", n / 256, n % 256)).collect();
    let rule: Rule = format!("encrypt proto=tcp src_ip={}", list.join(",")).parse().unwrap();
    Policy::new(vec![rule; rules])
}

#[test]
fn a_policy_that_no_message_could_carry_is_refused() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let refused = server.set_policy("plant", policy(256, 64), NOW).unwrap_err().to_string();
    assert!(refused.contains(&MAX_POLICY.to_string()), "{refused}");
    assert_eq!(server.set_policy("plant", policy(60, 64), NOW).unwrap(), 2, "nothing was kept");

    // Three of the largest fit into a frame.
    let mut large = 60;
    while message::encoded_len(&policy(large + 1, 64)) <= MAX_POLICY {
        large += 1;
    }
    let mut state = register(&mut server, key(1), 10, NOW);
    let mut version = state.policies[0].clone();
    version.policy = policy(large, 64);
    state.policies = vec![version; 3];
    assert!(message::encoded_len(&ToGateway::State(Box::new(state))) < MAX_FRAME);
}

/// With one each, ten thousand messages that wait would take gigabytes.
#[test]
fn states_that_wait_hold_the_rules_once() {
    let mut server = server();
    for number in 1..=2 {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    let [one, other] =
        [1, 2].map(|number| register(&mut server, key(number), u64::from(number), NOW));
    assert!(!one.policies.is_empty());
    for (one, other) in one.policies.iter().zip(&other.policies) {
        assert!(Arc::ptr_eq(&one.policy.rules, &other.policy.rules));
    }
}

#[test]
fn a_gateway_gets_a_name_though_others_took_all_that_fit() {
    let mut server = server();
    let victim = key(9).fingerprint().to_string();
    let names = [format!("gateway-{}", &victim[..4]), format!("gateway-{victim}")];
    for (number, name) in (1..).zip(&names) {
        server.approve(key(number), "plant", 0, NOW).unwrap();
        server.rename(key(number), name, NOW).unwrap();
    }
    server.revoke(key(1), "lost", NOW).unwrap();
    let name = server.approve(key(9), "plant", 0, NOW).unwrap();
    assert!(!names.contains(&name), "{name}");
    assert!(server.gateways(NOW).iter().filter(|gateway| gateway.name == name).count() == 1);
}

#[test]
fn an_epoch_cannot_end_while_the_next_one_still_waits() {
    let mut server = server();
    let set = |server: &mut Server, changes: &[(&str, &str)]| {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        server.set_group("plant", &changes.iter().map(owned).collect::<Vec<_>>(), NOW)
    };
    set(&mut server, &[("key_lifetime", "60")]).unwrap();
    let refused = set(&mut server, &[("activation_delay", "16")]).unwrap_err().to_string();
    assert!(refused.contains("activation_delay=16") && refused.contains("60"), "{refused}");
    set(&mut server, &[("activation_delay", "900"), ("key_lifetime", "3600")]).unwrap();
    assert!(set(&mut server, &[("key_lifetime", "3599")]).is_err());
    assert_eq!(server.groups(NOW)[0].settings.key_lifetime, 3_600);
}

#[test]
fn an_older_version_that_is_too_long_does_not_survive_a_restart() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    register(&mut server, key(1), 10, NOW);
    server.set_policy("plant", policy(1, 1), NOW).unwrap();
    let mut stored = stored(std::iter::from_fn(|| server.poll_record()));
    let previous = stored.groups[0].previous.as_mut().unwrap();
    previous.policy = policy(600, 64);
    assert!(message::encoded_len(&previous.policy) > MAX_FRAME);
    let mut server = Server::new(stored, Box::new(Counting(99)), NOW);
    let state = register(&mut server, key(1), 10, NOW);
    assert!(message::encoded_len(&ToGateway::State(Box::new(state))) < MAX_FRAME);
}

#[test]
fn tags_stay_on_a_box_that_is_let_in_again_and_find_it() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let tags = ["line.b", "hall-3", "line.b"].map(str::to_owned).to_vec();
    assert_eq!(server.tag(key(1), tags).unwrap(), ["hall-3", "line.b"]);
    let many = (0..9).map(|n| n.to_string()).collect();
    assert!(server.tag(key(1), many).unwrap_err().to_string().contains("at most 8"));
    let wrong = server.tag(key(1), vec!["Hall\u{1b}".to_owned()]).unwrap_err().to_string();
    assert!(wrong.contains("is no tag") && !wrong.contains('\u{1b}'), "{wrong}");
    assert!(server.tag(key(2), Vec::new()).unwrap_err().to_string().contains("no gateway"));
    server.revoke(key(1), "lost", NOW).unwrap();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let found = |tag: &str, server: &Server| {
        let filter = GatewayFilter { tag: Some(tag.to_owned()), ..GatewayFilter::default() };
        server.find(&filter, NOW).total
    };
    assert_eq!((found("hall-3", &server), found("hall", &server)), (1, 0));
    let stored = stored(std::iter::from_fn(|| server.poll_record()));
    assert_eq!(stored.gateways[0].tags, ["hall-3", "line.b"]);
}
