//! What goes through: both directions, both IP versions, tags, extra packets.

use crate::child::Gateway;
use crate::lab::{At, Lab, kinds, udp_in, wait_for};
use tsg_bridge::attach::Kind;

pub const MODBUS: &str = "encrypt proto=udp,tcp dest_port=502";

/// Two gateways of the same kind with the same policy.
pub fn gateways(lab: &Lab, kind: Kind, rules: &str) -> [Gateway; 2] {
    [At::GatewayA, At::GatewayB].map(|at| {
        let mut gateway = Gateway::start(&lab.namespace(at), kind);
        gateway.install(rules);
        gateway
    })
}

#[test]
#[ignore = "needs root: network namespaces"]
fn matched_traffic_is_sealed_on_the_wire_and_the_rest_is_not() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "ip or ip6");
        for (plc, hmi) in [("10.9.0.1", "10.9.0.2"), ("[fd09::1]", "[fd09::2]")] {
            let server = lab.udp(At::Plc, &format!("{plc}:502"));
            let client = lab.udp(At::Hmi, &format!("{hmi}:0"));
            let mut room = [0; 100];
            for n in 0..20u8 {
                let question = [b'q', n, b'?'];
                client.send_to(&question, format!("{plc}:502")).unwrap();
                let (len, from) = server.recv_from(&mut room).unwrap();
                assert_eq!(&room[..len], question);
                server.send_to(b"plain answer", from).unwrap();
                let len = client.recv(&mut room).unwrap();
                assert_eq!(&room[..len], b"plain answer");
            }
            let bypassed = lab.udp(At::Plc, &format!("{plc}:9"));
            client.send_to(b"bypassed", format!("{plc}:9")).unwrap();
            assert_eq!(bypassed.recv(&mut room).unwrap(), 8);
        }
        // What the capture has seen of the last datagram ends what it has to say of the others.
        wire.expect(&["fd09::2", "fd09::1.9"]);
        assert_eq!(wire.in_clear(502), 0, "{kind}: in clear:\n{}", wire.text());
        assert_eq!(wire.count(&["10.9.0.", "ip-proto-253"]), 40, "{kind}");
        assert_eq!(wire.count(&["fd09::", "ip-proto-253"]), 40, "{kind}");
        assert_eq!(wire.count(&["plain answer"]), 0, "{kind}");
        println!("{kind}: {}", pair[0].tell("counters"));
        assert!(pair[0].tell("machines").contains("10.9.0.1"));
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn further_packets_and_answers_find_their_way() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        for (plc, hmi) in [("10.9.0.1", "10.9.0.2"), ("[fd09::1]", "[fd09::2]")] {
            let at_plc = lab.udp(At::Plc, &format!("{plc}:502"));
            let at_hmi = lab.udp(At::Hmi, &format!("{hmi}:502"));
            let mut room = [0; 100];
            for _ in 0..3 {
                at_plc.send_to(b"twice", format!("{hmi}:502")).unwrap();
                for _ in 0..2 {
                    assert_eq!(at_hmi.recv(&mut room).unwrap(), 5, "{kind}");
                }
                at_plc.send_to(b"answer", format!("{hmi}:502")).unwrap();
                // From the gateway, and the datagram itself at the other end.
                let (len, from) = at_plc.recv_from(&mut room).unwrap();
                assert_eq!(
                    (&room[..len], from.to_string()),
                    (&b"answer"[..], format!("{hmi}:502"))
                );
                assert_eq!(at_hmi.recv(&mut room).unwrap(), 6, "{kind}");
            }
        }
        // A thread makes its counters visible after its batch.
        let mut counters = String::new();
        wait_for(&format!("{kind}: 12 further packets"), || {
            counters = pair[0].tell("counters");
            counters.contains("extra: 12")
        });
        assert!(counters.contains("no_link_address: 0"), "{kind}: {counters}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn tags_are_kept() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let arrived = lab.capture(At::Hmi, "eth", "vlan or udp");
        let wire = lab.capture(At::GatewayB, "wan", "");
        // br_netfilter looks below one tag only; two are for the other attaches.
        let most = if kind == Kind::NfqueueIptables { 1 } else { 2 };
        for tags in 1..=most {
            send_tagged(&lab, tags, 1_000 + tags);
            arrived.expect(&[&format!("10.9.0.1.{} > 10.9.0.2.502", 1_000 + tags)]);
        }
        assert_eq!(arrived.count(&["vlan 101, p 5"]), most, "{kind}: {}", arrived.text());
        assert_eq!(wire.count(&["vlan 101, p 5", "ip-proto-253"]), most, "{kind}");
        assert_eq!(arrived.count(&["vlan 102, p 5"]), usize::from(most == 2), "{kind}");
        assert_eq!(wire.in_clear(502), 0, "{kind}: {}", wire.text());
        if most == 1 {
            // What the attach cannot see the gate stops.
            send_tagged(&lab, 2, 1_002);
            send_tagged(&lab, 1, 1_003);
            arrived.expect(&["10.9.0.1.1003 > 10.9.0.2.502"]);
            assert_eq!(wire.count(&["vlan 102"]), 0, "{}", wire.text());
            wait_for("the gate counts what it stops", || {
                pair[0].tell("verify");
                pair[0].tell("counters").ends_with("gate: 1 }")
            });
        }
        assert!(pair[0].tell("counters").contains("malformed: 0"));
        // What the gate of an earlier daemon has stopped is not this one's.
        pair[0].kill();
        pair[0] = Gateway::start(&lab.namespace(At::GatewayA), kind);
        pair[0].install(MODBUS);
        assert!(pair[0].tell("counters").ends_with("gate: 0 }"), "{kind}");
    }
}

/// Sends a datagram to port 502 with VLAN tags, priority 5.
fn send_tagged(lab: &Lab, tags: usize, from_port: usize) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attach/frames.py");
    lab.run(At::Plc, &format!("python3 {script} eth {tags} {from_port}"));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn lan_to_lan_is_untouched() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let second = lab.add_second_machine();
        let mut pair = gateways(
            &lab,
            kind,
            "non_ip=drop;encrypt proto=udp dest_port=502|drop proto=udp dest_port=9",
        );
        let inside = lab.capture(At::GatewayA, "lan1", "udp");
        let mut room = [0; 100];
        let at_plc = lab.udp(At::Plc, "10.9.0.1:502");
        for port in [502, 9] {
            let at_second = udp_in(&second, &format!("10.9.0.3:{port}"));
            for _ in 0..3 {
                at_plc.send_to(b"within", format!("10.9.0.3:{port}")).unwrap();
                let (len, from) = at_second.recv_from(&mut room).unwrap();
                assert_eq!(
                    (&room[..len], from.to_string().as_str()),
                    (&b"within"[..], "10.9.0.1:502")
                );
                at_second.send_to(b"too", from).unwrap();
                assert_eq!(at_plc.recv(&mut room).unwrap(), 3, "{kind}");
            }
        }
        // Both machines, and the plant: sealed.
        let at_hmi = lab.udp(At::Hmi, "10.9.0.2:502");
        let at_second = udp_in(&second, "10.9.0.3:502");
        for inner in [&at_plc, &at_second] {
            inner.send_to(b"out", "10.9.0.2:502").unwrap();
            let (len, from) = at_hmi.recv_from(&mut room).unwrap();
            assert_eq!(len, 3, "{kind}");
            at_hmi.send_to(b"back", from).unwrap();
            assert_eq!(inner.recv(&mut room).unwrap(), 4, "{kind}");
        }
        inside.expect(&["10.9.0.1.502 > 10.9.0.3.9"]);
        println!("{kind}: {}", pair[0].tell("counters"));
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn without_a_policy_only_what_always_passes_does() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut gateway = crate::child::Gateway::start(&lab.namespace(At::GatewayA), kind);
        gateway.install("server=10.9.0.2:5555;none");
        let wire = lab.capture(At::GatewayB, "wan", "");
        let hmi = lab.udp(At::Hmi, "10.9.0.2:9");
        lab.udp(At::Plc, "10.9.0.1:0").send_to(b"stopped", "10.9.0.2:9").unwrap();
        // A connection to the server's port is answered, if only by a refusal.
        let connect = |port| {
            let script = "import socket; s = socket.socket(); s.settimeout(5); ";
            let script = format!("{script} print(s.connect_ex((\"10.9.0.2\", {port})))");
            lab.run(At::Plc, &format!("echo \"{}\" | python3 -", script.replace('"', "\\\"")))
        };
        assert_eq!(connect(5555).trim(), "111", "{kind}");
        assert_eq!(connect(5556).trim(), "11", "{kind}");
        wire.expect(&["ARP"]);
        assert_eq!(wire.count(&["10.9.0.2.9"]), 0, "{kind}");
        drop(hmi);
    }
}
