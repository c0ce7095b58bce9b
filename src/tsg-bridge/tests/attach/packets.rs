//! What goes through: both directions, both IP versions, tags, extra packets.

use crate::child::Gateway;
use crate::lab::{At, Lab, kinds, wait_for};
use tsg_bridge::attach::Kind;

const MODBUS: &str = "encrypt proto=udp,tcp dest_port=502";

/// Two gateways of the same kind with the same policy.
fn gateways(lab: &Lab, kind: Kind, rules: &str) -> [Gateway; 2] {
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
                let (len, from) = server.recv_from(&mut room).unwrap_or_else(|e| panic!("{e} {} {}\n{}\n{}", pair[0].tell("counters"), pair[1].tell("counters"), wire.text(), lab.run(At::GatewayA, "iptables-save -c -t mangle; nft list ruleset; sysctl net.bridge; cat /proc/net/netfilter/nfnetlink_queue")));
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
        assert_eq!(wire.count(&[".502"]), 0, "{kind}: in clear:\n{}", wire.text());
        assert_eq!(wire.count(&["10.9.0.", "ip-proto-253"]), 40, "{kind}");
        assert_eq!(wire.count(&["fd09::", "ip-proto-253"]), 40, "{kind}");
        assert_eq!(wire.count(&["plain answer"]), 0, "{kind}");
        println!("{kind}: {}", pair[0].tell("counters"));
        assert!(pair[0].tell("machines").contains("10.9.0.1"));
    }
}
