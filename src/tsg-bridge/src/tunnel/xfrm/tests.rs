//! What the script says, which tests/lab/test_9_xfrm.py runs.

use super::*;
use crate::tunnel::settings::Keys;

const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));

fn tunnel(transport: bool, udp: bool) -> Tunnel {
    Tunnel {
        interface: "eth0".to_owned(),
        peer: THERE,
        device: "tsg0".to_owned(),
        keys: Keys::File("key".into()),
        socket: "tunnel-tsg0.sock".into(),
        transport,
        udp,
        mtu: None,
    }
}

#[test]
fn the_script_is_for_the_other_host() {
    tsg_sodium::init().unwrap();
    let key = Key::generate();
    let ends = Ends { key: &key, suite: Suite::Aes256Gcm, here: HERE, there: THERE };
    // What it says about itself: there, this end's is the other's.
    let session = standing::session(&key, Suite::Aes256Gcm, THERE, HERE);
    for transport in [false, true] {
        let text = script(&tunnel(transport, false), &ends, 1_438);
        assert!(text.starts_with("#!/bin/sh\n") && text.len() < 8_192 - 2_048);
        for (from, to, association) in [(THERE, HERE, &session.out), (HERE, THERE, &session.inward)]
        {
            let line =
                format!("xfrm state add src {from} dst {to} proto esp spi {}", hex(association.0));
            let line = text.lines().find(|found| found.starts_with(&line)).unwrap();
            let aead = format!("aead 'rfc4106(gcm(aes))' {} 128", *key_of(association));
            assert!(line.ends_with(&aead), "{line}");
            assert_eq!(line.contains("mode transport"), transport);
        }
        let device = text.contains("ip link add tsg0 mtu 1438 type xfrm if_id 0x");
        assert_ne!(device, transport);
        assert!(!text.contains("python3"));
        let udp = script(&tunnel(transport, true), &ends, 1_430);
        assert_eq!(udp.matches("128 encap espinudp 4500 4500 0.0.0.0\n").count(), 2);
        assert!(udp.contains("python3"));
    }
}

#[test]
fn what_is_made_is_taken_away_again() {
    let key = Key::generate();
    let v6 = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
    for (here, there, udp, policies) in [
        (HERE, THERE, false, 2),
        (HERE, THERE, true, 3),
        (v6(1), v6(2), false, 6),
        (v6(1), v6(2), true, 7),
    ] {
        let ends = Ends { key: &key, suite: Suite::ChaCha20Poly1305, here, there };
        let Mode { forget, make, .. } = transport_mode(&ends, udp);
        let made = make.lines().filter_map(|line| line.strip_prefix("ip xfrm policy add "));
        let made: Vec<_> = made.map(|line| line.split(" priority").next().unwrap()).collect();
        let gone =
            forget.lines().filter_map(|line| line.strip_prefix("    ip xfrm policy delete "));
        let gone: Vec<_> = gone.map(|line| line.strip_suffix(" || :").unwrap()).collect();
        assert_eq!((&made, made.len()), (&gone, policies));
    }
}
