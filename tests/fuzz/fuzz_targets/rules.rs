//! The text of the kernel's rules for hostile policies, beside what `iptables-save` says is there already.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::sync::Arc;
use tsg_bridge::attach::Ports;
use tsg_bridge::rules::{
    BoxPort, Existing, Hooks, IpVersion, Plan, Queues, bridge_text, netdev_text, restore_text,
    withdraw_text,
};
use tsg_fuzz::plan_and_rest;

fuzz_target!(|input: &[u8]| {
    let Some((plan, rest)) = plan_and_rest(input) else { return };
    let ports = Ports {
        bridge: "br-lan".into(),
        lan: vec!["lan1".into(), "lan2".into()],
        wan: "wan".into(),
        standalone: plan.servers.len() % 2 == 1,
        ..Ports::default()
    };
    let text = texts(&plan, &ports, &Existing::default());
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
    let mut nameless = plan.clone();
    for policy in nameless.policies.iter_mut().chain([&mut nameless.local]) {
        Arc::make_mut(&mut policy.rules).iter_mut().for_each(|rule| rule.name.clear());
    }
    assert_eq!(texts(&nameless, &ports, &Existing::default()), text, "a name is in the text");

    let saved = String::from_utf8_lossy(rest);
    let existing = Existing::parse(&saved, &ports);
    let _ = Existing::fingerprint(&saved, &ports);
    let _ = texts(&plan, &ports, &existing);
    chains(&withdraw_text(&existing, &ports));
});

fn texts(plan: &Plan, ports: &Ports, existing: &Existing) -> String {
    let queues = Queues { first: 25_300, count: 2 };
    let hooks = Hooks {
        ports: vec![("lan1", Some("tsg-tap0")), ("lan2", None), ("wan", Some("tsg-tap2"))],
        taps: vec!["tsg-tap0", "tsg-tap1"],
        own: vec![[2; 6]],
        box_port: Some(BoxPort { name: "tsg-box", peer: None, addresses: Vec::new() }),
    };
    let mut all = bridge_text(plan, ports, queues) + &netdev_text(plan, ports, &hooks);
    let count = |brace| all.matches(brace).count();
    assert_eq!(count('{'), count('}'), "{all}");
    for version in [IpVersion::V4, IpVersion::V6] {
        let text = restore_text(plan, ports, queues, version, existing);
        chains(&text);
        all += &text;
    }
    all
}

/// Every chain that is jumped to is there.
fn chains(text: &str) {
    let name = |rest: &str| rest.split(' ').next().unwrap_or_default().to_owned();
    let made: HashSet<_> =
        text.lines().filter_map(|line| Some(name(line.strip_prefix(':')?))).collect();
    for line in text.lines().filter(|line| line.starts_with("-A ")) {
        let target = line.rsplit_once(" -j ").map_or_else(String::new, |(_, target)| name(target));
        assert!(!target.contains('/') || made.contains(&target), "no chain {target}: {text}");
    }
}
