//! What members report of the machines behind them, and the map that all get.

use crate::{NOW, beat, key, register, say, server};
use std::net::{IpAddr, Ipv4Addr};
use tsg_control::message::{Map, Report, State, ToGateway, ToServer};
use tsg_control::server::{Level, Record, Server};

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
