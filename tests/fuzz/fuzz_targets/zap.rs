//! Who connects to the key server: frames of a ZAP request, and envelopes of messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_control::keys::PublicKey;
use tsg_control::server::{GatewayRecord, Record};
use tsg_server::network::fuzzing::Porch;

const MEMBER: PublicKey = PublicKey([b'M'; 32]);
const REVOKED: PublicKey = PublicKey([b'R'; 32]);

fuzz_target!(|input: &[u8]| {
    let mut porch = Porch::new(&[record(MEMBER, None), record(REVOKED, Some("lost"))]);
    // Frames begin with their length.
    let mut rest = input;
    let mut frames = Vec::new();
    while let Some((&len, bytes)) = rest.split_first() {
        let (frame, left) = bytes.split_at(usize::from(len).min(bytes.len()));
        frames.push(frame.to_vec());
        rest = left;
    }
    let [version, _, code, _, user, _] = porch.admit(&frames);
    assert_eq!(version, b"1.0");
    let key =
        frames.last().and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok()).map(PublicKey);
    if code == b"200" {
        let key = key.expect("let in without a key");
        assert!(key != REVOKED && frames.len() == 7 && frames[5] == b"CURVE");
        assert!(frames[2] == b"gateways" || frames[2] == b"announcements" && key == MEMBER);
        assert_eq!(String::from_utf8(user).ok().and_then(|id| id.parse().ok()), Some(key));
    } else {
        assert!(user.is_empty() && [&b"300"[..], b"400"].contains(&code.as_slice()));
    }

    let mut now = 1;
    for envelope in frames.chunks_exact(3) {
        let [key, route, address] = envelope else { continue };
        let from = match key.first() {
            Some(b'M') => MEMBER,
            Some(b'R') => REVOKED,
            first => PublicKey([first.copied().unwrap_or(0); 32]),
        };
        let address = String::from_utf8_lossy(address);
        let bytes = key.len() * 512;
        let heard = porch.hear(from, (route, &address), bytes, route.len() % 2 == 0, now);
        if heard.is_ok() && porch.route(&from).is_some() {
            assert_eq!(porch.route(&from), Some(route.as_slice()));
        }
        assert!(porch.count() <= 64);
        now += u64::from(route.first().copied().unwrap_or(0)) << 8;
    }
});

fn record(key: PublicKey, revoked: Option<&str>) -> Record {
    Record::Gateway(GatewayRecord {
        key,
        name: "press".to_owned(),
        group: "plant".to_owned(),
        revoked: revoked.map(str::to_owned),
        approved: 0,
        aes: false,
        machines: Vec::new(),
        pinned: Vec::new(),
        tags: Vec::new(),
    })
}
