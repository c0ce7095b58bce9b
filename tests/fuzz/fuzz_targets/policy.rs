//! A policy as it lies on flash, and a rule as somebody types it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Flow, Proto, Rule};

fuzz_target!(|text: &[u8]| {
    if let Some(rule) = core::str::from_utf8(text).ok().and_then(|text| text.parse::<Rule>().ok()) {
        let json = serde_json::to_vec(&rule).expect("a rule can be written");
        assert_eq!(serde_json::from_slice::<Rule>(&json).ok(), Some(rule));
    }
    let Ok(version) = serde_json::from_slice::<PolicyVersion>(text) else { return };
    let json = serde_json::to_vec(&version).expect("a policy can be written");
    assert_eq!(serde_json::from_slice::<PolicyVersion>(&json).ok(), Some(version.clone()));
    if version.policy.check().is_err() {
        return;
    }
    let flow = |proto, ports| Flow {
        src: IpAddr::from([192, 0, 2, 1]),
        dest: IpAddr::from([192, 0, 2, 2]),
        proto,
        ports,
    };
    let known = version.policy.action(&flow(Some(Proto::TCP), Some((40_000, 502))));
    let unknown: Action = version.policy.action(&flow(None, None));
    assert!(unknown >= known, "what is not known counts as the strictest that it could be");
});
