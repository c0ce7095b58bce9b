//! What members report of the machines behind them, and the map that all get.

use crate::{Counting, NOW, beat, key, register, said, say, server};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use tsg_control::message::{Map, Report, State, ToGateway, ToServer};
use tsg_control::server::{Level, Record, Server, Stored};

fn report(process: u64, machines: Vec<IpAddr>) -> ToServer {
    ToServer::Report(Report { process, machines, ..Report::default() })
}

fn machines(from: u32, count: u32) -> Vec<IpAddr> {
    (from..from + count).map(|number| Ipv4Addr::from(number).into()).collect()
}

fn maps(server: &mut Server) -> Vec<Map> {
    let messages = std::iter::from_fn(|| server.poll_transmit());
    let maps = messages.filter_map(|(_, message)| match message {
        ToGateway::Map(map) => Some(map),
        ToGateway::Pending(_)
        | ToGateway::Refused(_)
        | ToGateway::Unknown(_)
        | ToGateway::Pulse(_)
        | ToGateway::State(_)
        | ToGateway::Command(_) => None,
    });
    maps.collect()
}

fn two() -> (Server, State) {
    let mut server = server();
    for number in [1, 2] {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    register(&mut server, key(1), 10, NOW);
    let state = register(&mut server, key(2), 20, NOW);
    server.handle_timeout(NOW + 1_000);
    maps(&mut server);
    while server.poll_record().is_some() {}
    (server, state)
}

#[test]
fn a_flood_of_reports_costs_little() {
    let (mut server, state) = two();
    let (mut sent, mut stored) = (0, 0);
    for step in 0..600 {
        let now = NOW + 1_000 + step * 100;
        server.handle_message(key(2), report(20, machines(step as u32 * 1_000, 512)), now);
        server.handle_timeout(now);
        sent += maps(&mut server).len();
        let gateways = |record: &Record| matches!(record, Record::Gateway(_));
        stored += std::iter::from_fn(|| server.poll_record()).filter(gateways).count();
    }
    assert!((30..=80).contains(&sent), "{sent} maps to two members in a minute");
    assert!((1..=2).contains(&stored), "{stored} records in a minute");
    // What came last is stored in the end.
    let now = NOW + 200_000;
    server.handle_message(key(2), report(20, machines(1, 3)), now);
    while server.poll_record().is_some() {}
    server.handle_message(key(2), report(20, machines(1, 4)), now + 2_000);
    assert!(server.poll_record().is_none());
    say(&mut server, key(2), beat(20, &state, 2), now + 61_000);
    let record = std::iter::from_fn(|| server.poll_record()).find_map(|record| match record {
        Record::Gateway(gateway) => Some(gateway.machines),
        Record::GatewayGone(_)
        | Record::Group(_)
        | Record::GroupGone(_)
        | Record::Token(_)
        | Record::TokenGone(_) => None,
    });
    assert_eq!(record, Some(machines(1, 4)));
}

#[test]
fn members_that_report_too_much_take_nothing_from_the_others() {
    let mut server = server();
    for number in 1..=14 {
        server.approve(key(number), "plant", 0, NOW).unwrap();
        register(&mut server, key(number), u64::from(number), NOW);
    }
    // The lowest addresses are those of the liars.
    for number in 1..=12 {
        let lies = machines(u32::from(number) * 1_000, 512);
        server.handle_message(key(number), report(u64::from(number), lies), NOW);
    }
    let honest = machines(0xc000_0201, 5);
    server.handle_message(key(13), report(13, honest.clone()), NOW);
    server.handle_timeout(NOW + 5_000);
    let maps = maps(&mut server);
    let map = maps.iter().rfind(|map| map.mine.is_empty()).unwrap();
    assert_eq!(map.others.len(), 6_000);
    assert!(honest.iter().all(|machine| map.others.contains(machine)));
    let warnings = std::iter::from_fn(|| server.poll_event())
        .filter(|event| event.level == Level::Warning && event.text.contains("6149 machines"))
        .count();
    assert_eq!(warnings, 1);
}

#[test]
fn a_large_group_gets_its_maps_bit_by_bit() {
    let mut server = server();
    let members = 400;
    for number in 1..=members {
        server.approve(key(number), "plant", 0, NOW).unwrap();
        register(&mut server, key(number), number.into(), NOW);
    }
    let state = register(&mut server, key(1), 1, NOW);
    let mut now = NOW + 1_000;
    server.handle_timeout(now);
    said(&mut server);
    for number in 1..=10 {
        let behind = machines(u32::from(number) * 1_000, 500);
        server.handle_message(key(number), report(number.into(), behind), now);
    }
    now += 2_000;
    server.handle_timeout(now);
    let is_map = |message: &ToGateway| matches!(message, ToGateway::Map(_));
    let at_once: BTreeSet<_> = said(&mut server)
        .into_iter()
        .filter(|(_, message)| is_map(message))
        .map(|(to, _)| to)
        .collect();
    // Each names all 5,000 machines.
    assert_eq!(at_once.len(), 200);
    // The others hear of it with their next sign of life.
    for number in (1..=members).filter(|number| !at_once.contains(&key(*number))) {
        let told = say(&mut server, key(number), beat(number.into(), &state, 2), now);
        assert!(told.iter().any(is_map), "{number}");
    }
}

#[test]
fn many_groups_get_no_more_maps_than_one() {
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    let (groups, members) = (10, 200);
    for group in 0..groups {
        let name = format!("site{group}");
        server.add_group(&name, NOW).unwrap();
        for number in group * members..(group + 1) * members {
            server.approve(key(number), &name, 0, NOW).unwrap();
            register(&mut server, key(number), number.into(), NOW);
        }
    }
    said(&mut server);
    // In each group another member hears of another machine ten times a second.
    let mut named = 0;
    for step in 0..100_u16 {
        let now = NOW + u64::from(step) * 100;
        for group in 0..groups {
            let number = group * members + step;
            let behind = machines(u32::from(number) << 8, 1);
            server.handle_message(key(number), report(number.into(), behind), now);
        }
        server.handle_timeout(now);
        named +=
            maps(&mut server).iter().map(|map| map.mine.len() + map.others.len()).sum::<usize>();
    }
    // Fifty machines in each on average, 200 members, and a map every 400 ms.
    assert!((1_500_000..3_500_000).contains(&named), "{named} machines named in ten seconds");
}

#[test]
fn a_map_that_waits_is_not_sent_again_and_one_that_is_lost_is() {
    let (mut server, state) = two();
    let mut now = NOW + 2_000;
    server.handle_message(key(2), report(20, machines(1, 3)), now);
    server.handle_timeout(now + 1_000);
    assert_eq!(maps(&mut server).len(), 2);
    let mut sent = Vec::new();
    for _ in 0..12 {
        now += 10_000;
        server.handle_message(key(2), beat(20, &state, 2), now);
        sent.push(maps(&mut server).len());
    }
    assert_eq!(sent.iter().sum::<usize>(), 3, "{sent:?}");
    assert_eq!(sent[..3], [0; 3]);
}
