//! From what gateways saw to rules: rows for the editor, not in force before somebody has reviewed them.

use super::policy::{Row, SERVICES};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tsg_control::policy::{Action, Proto};
use tsg_control::server::FlowView;

/// A rule takes no more addresses; with more it is for any.
const MOST_SERVERS: usize = 64;

/// Which machines a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those that were seen to offer the service.
    Seen,
    /// Whoever offers it.
    Any,
}

/// What people call a service; several may have the same port.
pub(super) fn service(proto: &str, port: u16) -> Option<String> {
    let titles: Vec<_> = SERVICES
        .iter()
        .filter(|service| service.is_on(proto, port))
        .map(|service| service.title.split(" (").next().unwrap_or_default())
        .collect();
    (!titles.is_empty()).then(|| titles.join(" or "))
}

/// A rule that seals a service, on one machine or on any.
pub(super) fn row(proto: &str, port: Option<u16>, servers: &[IpAddr]) -> Row {
    let known = port.and_then(|port| SERVICES.iter().find(|service| service.is_on(proto, port)));
    let name = match (known, port) {
        (Some(service), _) => service.key.to_owned(),
        (None, Some(port)) => format!("{proto}-{port}"),
        (None, None) => proto.to_owned(),
    };
    Row {
        action: "encrypt".to_owned(),
        name,
        proto: proto.to_owned(),
        dest_ip: servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        dest_port: port.map(|port| port.to_string()).unwrap_or_default(),
        ..Row::default()
    }
}

/// A rule for each service that no rule matches. What is sent to many machines is left out, and what has no ports: that is
/// for somebody to decide.
pub(super) fn uncovered(flows: &[FlowView], scope: Scope) -> Vec<Row> {
    let mut services: BTreeMap<(&str, u16), BTreeSet<IpAddr>> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| flow.rule.is_none() && flow.action != Action::Encrypt) {
        if let (Some(proto), Some(port), true) = (&flow.proto, flow.port, is_one(flow.server)) {
            services.entry((proto.as_str(), port)).or_default().insert(flow.server);
        }
    }
    let rule = |((proto, port), servers): ((&str, u16), BTreeSet<IpAddr>)| {
        let named = scope == Scope::Seen && servers.len() <= MOST_SERVERS;
        let servers: Vec<_> = servers.into_iter().filter(|_| named).collect();
        row(proto, Some(port), &servers)
    };
    services.into_iter().map(rule).collect()
}

/// Puts rules into a policy: each in front of the first rule that now decides otherwise on what it is for. Gives how many
/// there were that are not there yet.
pub(super) fn insert(rows: &mut Vec<Row>, new: Vec<Row>, flows: &[FlowView]) -> usize {
    let mut added = 0;
    // Where the rules that are in force are by now.
    let mut places: Vec<usize> = (0..rows.len()).collect();
    for row in new {
        let same = |other: &Row| Row { name: row.name.clone(), ..other.clone() } == row;
        if rows.iter().any(same) {
            continue;
        }
        let is_for = |flow: &&FlowView| {
            flow.action != Action::Encrypt
                && flow.proto.as_deref() == Some(row.proto.as_str())
                && flow.port.map(|port| port.to_string()).unwrap_or_default() == row.dest_port
                && (row.dest_ip.is_empty()
                    || row.dest_ip.split(' ').any(|at| at == flow.server.to_string()))
        };
        let first = flows.iter().filter(is_for).filter_map(|flow| flow.rule).min();
        let at = first.and_then(|rule| places.get(rule - 1).copied()).unwrap_or(rows.len());
        rows.insert(at, row);
        places.iter_mut().filter(|place| **place >= at).for_each(|place| *place += 1);
        added += 1;
    }
    added
}

/// Is that one machine, as far as one can tell by looking at it?
fn is_one(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_multicast() && !broadcast
}

/// A protocol as it is in a rule.
pub(super) fn protocol(text: &str) -> Option<String> {
    text.parse::<Proto>().ok().map(|proto| proto.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::policy::line;

    fn flow(server: [u8; 4], proto: &str, port: u16, rule: Option<usize>) -> FlowView {
        FlowView {
            client: [192, 0, 2, 1].into(),
            server: server.into(),
            proto: Some(proto.to_owned()),
            port: (port > 0).then_some(port),
            packets: 1,
            bytes: 1,
            first: 0,
            last: 0,
            gateways: Vec::new(),
            action: Action::Bypass,
            rule,
            in_clear: false,
            unreached: false,
        }
    }

    fn lines(rows: &[Row]) -> Vec<String> {
        rows.iter().map(|row| line(&row.rule().unwrap())).collect()
    }

    #[test]
    fn services_have_the_names_that_the_editor_has() {
        assert_eq!(service("tcp", 502).as_deref(), Some("Modbus/TCP"));
        assert_eq!(service("tcp", 102).as_deref(), Some("S7 or IEC 61850 MMS"));
        assert_eq!(service("udp", 44_818).as_deref(), Some("EtherNet/IP"));
        assert_eq!(service("tcp", 443).as_deref(), Some("Web pages of machines"));
        assert_eq!((service("udp", 502), service("tcp", 8_080)), (None, None));
    }

    #[test]
    fn a_rule_for_each_service_that_no_rule_matches() {
        let flows = [
            flow([10, 0, 0, 2], "tcp", 502, None),
            flow([10, 0, 0, 1], "tcp", 502, None),
            flow([10, 0, 0, 1], "tcp", 8_080, None),
            flow([10, 0, 0, 1], "tcp", 80, Some(1)),
            flow([224, 0, 0, 9], "udp", 5_353, None),
            flow([10, 0, 0, 1], "icmp", 0, None),
        ];
        assert_eq!(
            lines(&uncovered(&flows, Scope::Seen)),
            [
                "encrypt name=modbus proto=tcp dest_ip=10.0.0.1,10.0.0.2 dest_port=502",
                "encrypt name=tcp-8080 proto=tcp dest_ip=10.0.0.1 dest_port=8080",
            ]
        );
        assert_eq!(
            lines(&uncovered(&flows, Scope::Any)),
            [
                "encrypt name=modbus proto=tcp dest_port=502",
                "encrypt name=tcp-8080 proto=tcp dest_port=8080",
            ]
        );
        let many: Vec<_> =
            (0..=MOST_SERVERS as u8).map(|n| flow([10, 0, 1, n], "tcp", 7, None)).collect();
        assert_eq!(
            lines(&uncovered(&many, Scope::Seen)),
            ["encrypt name=tcp-7 proto=tcp dest_port=7"]
        );
    }

    #[test]
    fn a_new_rule_is_not_behind_one_that_decides_otherwise() {
        let old =
            ["drop proto=tcp dest_port=23", "bypass proto=tcp", "encrypt proto=udp dest_port=7"];
        let mut rows: Vec<Row> = old.map(|text| Row::of(&text.parse().unwrap())).into();
        let flows = [flow([10, 0, 0, 1], "tcp", 502, Some(2)), flow([10, 0, 0, 1], "udp", 9, None)];
        let new = vec![
            row("tcp", Some(502), &[]),
            row("udp", Some(9), &[[10, 0, 0, 1].into()]),
            row("udp", Some(7), &[]),
        ];
        assert_eq!(insert(&mut rows, new, &flows), 2);
        assert_eq!(
            lines(&rows),
            [
                "drop proto=tcp dest_port=23",
                "encrypt name=modbus proto=tcp dest_port=502",
                "bypass proto=tcp",
                "encrypt proto=udp dest_port=7",
                "encrypt name=udp-9 proto=udp dest_ip=10.0.0.1 dest_port=9",
            ]
        );
        // A ping has no port.
        let rule = line(&row("icmp", None, &[]).rule().unwrap());
        assert_eq!(rule, "encrypt name=icmp proto=icmp");
    }
}
