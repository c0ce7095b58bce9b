//! The texts as a reader sees them, and what the kernel's parsers say of them.

use super::*;
use crate::attach::Ports;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::policy::{Action, Policy};

const QUEUES: Queues = Queues { first: 25_300, count: 2 };

const HOOKS: [(&str, &str); 3] = [("lan1", "tsg-tap0"), ("lan2", "tsg-tap1"), ("wan", "tsg-tap2")];

fn ports() -> Ports {
    Ports {
        bridge: "br-tsg".into(),
        lan: vec!["lan1".into(), "lan2".into()],
        wan: "wan".into(),
        ..Ports::default()
    }
}

fn hooks(own: &[[u8; 6]]) -> Hooks<'static> {
    let ports = HOOKS.iter().map(|&(port, tap)| (port, Some(tap))).collect();
    let taps = HOOKS.iter().map(|&(_, tap)| tap).collect();
    Hooks { ports, taps, own: own.to_vec(), box_port: None }
}

fn plan(rules: &[&str]) -> Plan {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Plan { policies: vec![Policy::new(rules)], ..Plan::unknown(Fail::Closed) }
}

/// The lines of one nft chain, without blanks around them.
fn chain(text: &str, name: &str) -> Vec<String> {
    let (_, rest) = text.split_once(&format!("chain {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("  }\n").unwrap();
    body.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_bridge_table_reads_as_the_policy() {
    let text =
        bridge_text(&plan(&["encrypt proto=tcp,udp dest_port=502,500-510"]), &ports(), QUEUES);
    assert!(text.starts_with(
        "add table bridge tsg-wan\nflush table bridge tsg-wan\ntable bridge tsg-wan {\n"
    ));
    assert_eq!(
        chain(&text, "forward"),
        [
            "type filter hook forward priority 0; policy accept;",
            "iifname { \"lan1\", \"lan2\" } oifname \"wan\" goto out",
            "iifname \"wan\" oifname { \"lan1\", \"lan2\" } goto in",
        ]
    );
    assert_eq!(chain(&text, "daemon"), ["queue to 25300-25301"]);
    assert_eq!(chain(&text, "refuse"), ["drop"]);
    assert_eq!(
        chain(&text, "in")[..2],
        [
            "meta protocol ip ip protocol 253 goto daemon",
            "meta protocol ip6 meta l4proto 253 goto daemon",
        ]
    );
    assert_eq!(chain(&text, "out")[0], "meta protocol ip ip protocol 253 goto pass");
    assert_eq!(
        chain(&text, "v4_known"),
        ["ip protocol { 6, 17 } @th,16,16 500-510 goto daemon", "goto v4_known_1",]
    );
    assert_eq!(
        chain(&text, "v4_known_1"),
        ["ip protocol { 6, 17 } @th,0,16 500-510 goto daemon", "goto v4_known_2",]
    );
    assert_eq!(chain(&text, "v4_known_2"), ["goto pass"]);
    assert_eq!(chain(&text, "pass"), ["accept"]);
    assert_eq!(
        chain(&text, "v6_no_ports"),
        ["meta l4proto { 6, 17 } goto daemon", "goto v6_no_ports_1",]
    );
    assert_eq!(chain(&text, "v6_unknown"), ["goto daemon"]);
    assert_eq!(
        chain(&text, "v4"),
        [
            "ip version != 4 goto daemon",
            "ip protocol vmap { 6 : goto v4_tcp, 17 : goto v4_udp, 132 : goto v4_ports }",
            "ip protocol { 1, 2 } goto v4_control",
            "ip protocol != { 6, 17, 132 } goto v4_known",
            "goto v4_unknown",
        ]
    );
    assert_eq!(chain(&text, "v6").last().unwrap(), "goto v6_unknown");
}

#[test]
fn the_ingress_table_has_a_tap_for_each_port() {
    let plan = plan(&["drop proto=icmp", "encrypt src_ip=10.0.0.0/8,10.1.0.0/16,2001:db8::/32"]);
    let text = netdev_text(&plan, &ports(), &hooks(&[[2, 0, 0, 0, 0, 0xa]]));
    assert_eq!(
        chain(&text, "port-lan2"),
        [
            "type filter hook ingress device \"lan2\" priority 0; policy accept;",
            "ether daddr 02:00:00:00:00:0a accept",
            "goto out",
        ]
    );
    assert_eq!(chain(&text, "daemon"), ["goto tap"]);
    assert_eq!(
        chain(&text, "tap"),
        [
            "iifname \"lan1\" fwd to \"tsg-tap0\"",
            "iifname \"lan2\" fwd to \"tsg-tap1\"",
            "iifname \"wan\" fwd to \"tsg-tap2\"",
            "drop",
        ]
    );
    assert_eq!(chain(&text, "refuse")[0], "iifname { \"lan1\", \"lan2\" } goto tap");
    assert_eq!(chain(&text, "v4_known"), ["ip protocol 1 goto refuse", "goto v4_known_1"]);
    assert_eq!(chain(&text, "v4_known_1")[0], "ip protocol 1 goto v4_known_2");
    assert_eq!(chain(&text, "v4_known_1")[1], "ip saddr 10.0.0.0/8 goto daemon");
    assert_eq!(chain(&text, "v6_known_1")[1], "ip6 saddr 2001:db8::/32 goto daemon");
}

#[test]
fn standalone_ports_are_connected_and_the_box_with_them() {
    let ports = Ports { standalone: true, ..ports() };
    let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let box_port = Some(BoxPort { name: "tsg-box", peer: Some([6; 6]), addresses });
    let text = netdev_text(&plan(&["encrypt"]), &ports, &Hooks { box_port, ..hooks(&[[2; 6]]) });
    assert_eq!(
        chain(&text, "port-wan"),
        [
            "type filter hook ingress device \"wan\" priority 0; policy accept;",
            "update @at-wan { ether saddr }",
            "delete @at-lan1 { ether saddr }",
            "delete @at-lan2 { ether saddr }",
            "delete @at-tsg-box { ether saddr }",
            "ether daddr 02:02:02:02:02:02 accept",
            "ether daddr 06:06:06:06:06:06 fwd to \"tsg-box\"",
            "goto in",
        ]
    );
    assert_eq!(
        chain(&text, "port-tsg-box")[5..],
        [
            "meta protocol ip ip saddr != { 0.0.0.0, 192.0.2.1 } drop",
            "meta protocol ip6 ip6 saddr != { ::, fe80::/10, 2001:db8::1 } drop",
            "meta protocol { 0x8100, 0x88a8 } drop",
            "goto cross-tsg-box",
        ]
    );
    assert_eq!(
        chain(&text, "cross-lan1"),
        [
            "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 goto flood-lan1",
            "ether daddr @at-lan1 drop",
            "ether daddr @at-lan2 fwd to \"lan2\"",
            "ether daddr @at-wan fwd to \"wan\"",
            "ether daddr @at-tsg-box fwd to \"tsg-box\"",
            "goto flood-lan1",
        ]
    );
    assert_eq!(
        chain(&text, "flood-lan1"),
        ["dup to \"lan2\"", "dup to \"wan\"", "dup to \"tsg-box\"", "drop"]
    );
    assert_eq!(chain(&text, "pass").last().unwrap(), "drop");
}

#[test]
fn without_a_daemon_the_ingress_table_passes_where_fail_is_open() {
    let open = Plan { fail: Fail::Open, ..plan(&["drop proto=icmp", "encrypt"]) };
    // The first port is not there; its TAP is.
    let mut hooks = hooks(&[]);
    hooks.ports.remove(0);
    let text = netdev_text(&open, &ports(), &hooks);
    assert_eq!(chain(&text, "daemon"), ["meta iiftype != @alive goto pass", "goto tap"]);
    let beat = "update @alive { meta iiftype timeout 3s }".to_owned();
    assert!(HOOKS.iter().all(|(_, tap)| chain(&text, &format!("beat-{tap}")).contains(&beat)));
    assert!(text.ends_with("}\nadd element netdev tsg-wan alive { ether timeout 3s }\n"));
    // What is to be dropped is not for the daemon to pass.
    assert_eq!(chain(&text, "refuse")[0], "iifname { \"lan1\", \"lan2\" } goto tap");
    assert!(!netdev_text(&plan(&["encrypt"]), &ports(), &hooks).contains("alive"));
}

#[test]
fn the_iptables_text_is_one_transaction_with_the_jump_first() {
    let saved = "*mangle\n:FORWARD ACCEPT [0:0]\n:TSG/wan/top - [0:0]\n:TSG/wan/l9 - [1:2]\n:TSG/wan2/top - [0:0]\n\
                 -A FORWARD -i eth9 -j ACCEPT\n-A FORWARD -j TSG/wan/top\nCOMMIT\n";
    let existing = Existing::parse(saved, &ports());
    let text = restore_text(
        &plan(&[
            "encrypt proto=tcp dest_port=502 src_ip=10.0.0.1,10.0.0.2 dest_ip=10.0.0.3,10.0.0.4",
        ]),
        &ports(),
        QUEUES,
        IpVersion::V4,
        &existing,
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("*mangle", "COMMIT"));
    let at = |line: &str| lines.iter().position(|seen| *seen == line);
    assert!(at("-D FORWARD -j TSG/wan/top") < at("-I FORWARD 1 -j TSG/wan/top"));
    assert_eq!(at("-X TSG/wan/l9"), Some(lines.len() - 2));
    assert!(at(":TSG/wan/l9 - [0:0]").is_some());
    assert!(text.contains(
        "-A TSG/wan/top -m physdev --physdev-is-bridged --physdev-in lan2 --physdev-out wan -g TSG/wan/out\n"
    ));
    let rung = "-A TSG/wan/k0 -p 6 -m multiport --dports 502 -s 10.0.0.1 -j TSG/wan/l1\n";
    assert!(text.contains(rung));
    assert!(text.contains("-A TSG/wan/l1 -d 10.0.0.4 -j TSG/wan/daemon\n"));
    assert!(text.contains("-A TSG/wan/daemon -j NFQUEUE --queue-balance 25300:25301\n"));
    assert!(Existing::fingerprint(saved, &ports()).contains("# not first"));
    assert_eq!(
        withdraw_text(&existing, &ports()),
        "*mangle\n-D FORWARD -j TSG/wan/top\n-F TSG/wan/top\n-F TSG/wan/l9\n-X TSG/wan/top\n-X TSG/wan/l9\nCOMMIT\n"
    );
}

#[test]
fn neighbour_discovery_passes_and_a_redirect_is_judged_by_what_it_quotes() {
    let icmpv6 = |kind: u8| {
        let mut packet = vec![0x60, 0, 0, 0, 0, 40, 58, 255];
        packet.extend([0xfd; 32]);
        packet.push(kind);
        packet.resize(80, 0);
        tsg_esp::ip::Outline::parse(&packet).unwrap()
    };
    for kind in 0..=255 {
        let passes = matches!(kind, 130..=136 | 143);
        assert_eq!(always_passes(&icmpv6(kind), &[]), passes, "type {kind}");
    }
    let plan = plan(&["encrypt proto=tcp dest_port=502"]);
    let control = [
        "meta l4proto icmpv6 icmpv6 type { 130, 131, 132, 143, 133-136 } goto pass",
        "meta l4proto icmpv6 icmpv6 type { 0-127, 137 } goto daemon",
        "goto v6_known",
    ];
    assert_eq!(chain(&bridge_text(&plan, &ports(), QUEUES), "v6_control"), control);
    assert_eq!(chain(&netdev_text(&plan, &ports(), &hooks(&[])), "v6_control"), control);
    let text = restore_text(&plan, &ports(), QUEUES, IpVersion::V6, &Existing::default());
    assert!(text.contains("--icmpv6-type 136 -j ACCEPT\n"));
    assert!(!text.contains("--icmpv6-type 137"), "a redirect is left to the daemon");
    assert!(text.contains("-A TSG/wan/common -p icmpv6 -j TSG/wan/daemon\n"));
}

#[test]
fn fail_open_passes_what_nobody_takes_from_the_queue() {
    let mut open = plan(&["encrypt proto=tcp"]);
    open.fail = Fail::Open;
    assert_eq!(
        chain(&bridge_text(&open, &ports(), QUEUES), "daemon"),
        ["queue flags bypass to 25300-25301"]
    );
    let text = restore_text(&open, &ports(), QUEUES, IpVersion::V6, &Existing::default());
    assert!(text.contains("--queue-bypass"));
}

#[test]
fn names_from_outside_never_get_into_a_text() {
    let mut named = plan(&["encrypt proto=tcp dest_port=502"]);
    Arc::make_mut(&mut named.policies[0].rules)[0].name = "x\" drop; $(reboot)\n-X".into();
    let texts = [
        bridge_text(&named, &ports(), QUEUES),
        netdev_text(&named, &ports(), &hooks(&[])),
        restore_text(&named, &ports(), QUEUES, IpVersion::V4, &Existing::default()),
    ];
    for text in texts {
        assert!(!text.contains("reboot"));
    }
}

/// Plans with everything in them.
fn varied() -> Vec<Plan> {
    let long: Vec<String> = (0..40).map(|n| format!("{}", 1_000 + 3 * n)).collect();
    let long = format!("drop proto=udp dest_port={} src_port=5-9,7-20,21", long.join(","));
    let rules = [
        "bypass src_ip=10.0.0.0/8,10.0.0.9,192.0.2.1 dest_ip=2001:db8::1,198.51.100.0/24 proto=47,icmp",
        "encrypt proto=tcp,udp,sctp src_port=1-3 dest_port=502,44818-44820 dest_ip=10.0.0.0/8,172.16.0.0/12",
        &long,
        "encrypt src_ip=2001:db8::/32,2001:db8:1::/48 proto=icmpv6,esp",
        "drop dest_ip=0.0.0.0/0",
    ];
    let mut plans =
        vec![plan(&rules), plan(&[]), Plan::unknown(Fail::Closed), Plan::unknown(Fail::Open)];
    plans[0].policies.push(Policy::new(vec!["encrypt".parse().unwrap()]));
    plans[0].carriages = vec![Carriage::Protocol(253), Carriage::Protocol(50), Carriage::Udp(4253)];
    plans[0].servers =
        vec!["192.0.2.10:5555".parse().unwrap(), "[2001:db8::10]:5555".parse().unwrap()];
    plans[0].non_ip = NonIp::Only(vec![0x8892, 0x88b8]);
    plans[1].mode = Mode::Learn;
    plans[1].non_ip = NonIp::Drop;
    plans[2].non_ip = NonIp::Only(Vec::new());
    plans
}

/// What a program says against a text; nothing if it is well.
///
/// An EtherType that is read from the frame is not well: with a tag it is the tag's.
fn says(program: &[&str], text: &str) -> String {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let code = String::from_utf8_lossy(&output.stdout);
    match output.status.success() && !code.contains("link header + 12") {
        true => String::new(),
        false => format!("{code}{}\n{text}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_kernels_parsers_take_every_text() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let ports = ports();
    for name in HOOKS.iter().flat_map(|(port, tap)| [port, tap]).chain([&"tsg-box"]) {
        let made =
            Command::new("ip").args(["tuntap", "add", name, "mode", "tap"]).status().unwrap();
        assert!(made.success());
    }
    const NFT: [&str; 5] = ["nft", "--debug=netlink", "-c", "-f", "-"];
    let mut checked = 0;
    for plan in varied() {
        // A kernel without nft_queue still parses the rest of the table.
        let queue = chain(&bridge_text(&plan, &ports, QUEUES), "daemon").concat();
        let bridge = bridge_text(&plan, &ports, QUEUES).replace(&queue, "drop");
        assert_eq!(says(&NFT, &bridge), "");
        let hooks = hooks(&[[2; 6], [4; 6]]);
        assert_eq!(says(&NFT, &netdev_text(&plan, &ports, &hooks)), "");
        let standalone = Ports { standalone: true, ..ports.clone() };
        assert_eq!(says(&NFT, &netdev_text(&plan, &standalone, &hooks)), "");
        let box_port = Some(BoxPort {
            name: "tsg-box",
            peer: Some([6; 6]),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        });
        let hooks = Hooks { box_port, ..hooks };
        assert_eq!(says(&NFT, &netdev_text(&plan, &standalone, &hooks)), "");
        for (program, version) in
            [("iptables-restore", IpVersion::V4), ("ip6tables-restore", IpVersion::V6)]
        {
            let text = restore_text(&plan, &ports, QUEUES, version, &Existing::default());
            assert_eq!(says(&[program, "--noflush", "--test"], &text), "");
        }
        checked += 6;
    }
    println!("{checked} texts checked");
}

#[test]
fn while_the_policy_changes_the_daemon_judges() {
    let version = |text: &str| Policy::new(vec![text.parse().unwrap()]);
    let mut plan = Plan::unknown(Fail::Closed);
    plan.policies = vec![version("drop proto=udp dest_port=161"), version("bypass proto=udp")];
    plan.local = version("encrypt proto=tcp dest_port=23");
    let effective = plan.effective();
    assert_eq!(effective.len(), 3);
    assert!(effective.iter().flat_map(|p| p.rules.iter()).all(|rule| rule.action != Action::Drop));
    let versions = plan.versions();
    assert_eq!(versions.len(), 2);
    assert!(versions.iter().all(|version| version.local == plan.local));
    assert_eq!(versions[0].effective()[0].rules[0].action, Action::Drop);
}
