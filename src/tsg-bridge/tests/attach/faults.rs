//! Ports, bridges, TAPs and threads that go and come back, and rules that go at the worst moment.

use crate::child::Gateway;
use crate::lab::{At, Lab, Udp, kinds, sh, wait_for};
use crate::packets::{MODBUS, gateways};
use crate::survival::{Load, flush, poll};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tsg_bridge::attach::Kind;

/// Programs in front of the real ones. When rules are read as often as the file `flush` says, they are flushed first.
fn flushing_programs(folder: &std::path::Path) {
    let flag = folder.join("flush");
    for (name, when) in [("nft", "list"), ("iptables-save", "mangle"), ("ip6tables-save", "mangle")]
    {
        let real = sh(&format!("command -v {name}"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *{when}*) if [ -s {flag} ]; then n=$(cat {flag}); if [ $n -gt 1 ]; then \
             echo $((n - 1)) >{flag}; else rm {flag}; export PATH={path}; nft flush ruleset; \
             for t in iptables iptables-legacy ip6tables; do $t -t mangle -F; done; fi; fi;; esac\nexec {real} \"$@\"\n",
            flag = flag.display(),
            path = std::env::var("PATH").unwrap(),
            real = real.trim(),
        );
        let path = folder.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Programs in front of the real ones. No rules are loaded while there is the file `refuse`.
fn refusing_programs(folder: &std::path::Path) {
    let flag = folder.join("refuse");
    for (name, when) in
        [("nft", "-f"), ("iptables-restore", "--noflush"), ("ip6tables-restore", "--noflush")]
    {
        let real = sh(&format!("command -v {name}"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *{when}*) [ ! -e {flag} ] || exit 1;; esac\nexec {real} \"$@\"\n",
            flag = flag.display(),
            real = real.trim(),
        );
        let path = folder.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn what_rules_that_cannot_be_loaded_would_seal_the_gate_stops() {
    for kind in kinds(&Lab::new()) {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        refusing_programs(folder.path());
        let a = lab.namespace(At::GatewayA);
        let mut gateway = Gateway::start_with_programs(&a, kind, folder.path());
        let mut other = Gateway::start(&lab.namespace(At::GatewayB), kind);
        other.install(MODBUS);
        gateway.install(MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let load = Load::start(&lab);
        let plc = lab.udp(At::Plc, "0.0.0.0:0");
        plc.send_to(b"open", "10.9.0.2:700").unwrap();
        wire.expect(&["10.9.0.2.700:"]);
        let before = wire.in_clear(700);
        let refuse = folder.path().join("refuse");
        std::fs::write(&refuse, "").unwrap();
        let stricter = format!("{MODBUS}|encrypt proto=udp dest_port=700");
        // The daemon tries again every second.
        for attempt in 0..3 {
            let answer = gateway.try_to(&format!("install {stricter}"));
            assert!(answer.starts_with("error"), "{kind}: {answer}");
            if attempt == 1 {
                gateway.try_to("verify");
            }
            for _ in 0..20 {
                plc.send_to(b"secret", "10.9.0.2:700").unwrap();
            }
            load.crosses(&wire);
            assert_eq!(wire.in_clear(700), before, "{kind}: attempt {attempt}");
        }
        assert_eq!(wire.in_clear(502), 0, "{kind}");
        std::fs::remove_file(&refuse).unwrap();
        gateway.install(&stricter);
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        assert_eq!(wire.in_clear(700), before, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn rules_that_go_between_loading_and_reading_back_are_missed() {
    for kind in kinds(&Lab::new()) {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        flushing_programs(folder.path());
        let a = lab.namespace(At::GatewayA);
        let mut gateway = Gateway::start_with_programs(&a, kind, folder.path());
        let mut other = Gateway::start(&lab.namespace(At::GatewayB), kind);
        other.install(MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let load = Load::start(&lab);
        gateway.install(MODBUS);
        load.crosses(&wire);
        let before = wire.in_clear(502);
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        // The attach with iptables reads what is there, of each IP version, before it loads.
        let read_back = if kind == Kind::NfqueueIptables { "3" } else { "1" };
        for rules in [format!("{MODBUS}|encrypt proto=udp dest_port=700"), MODBUS.to_owned()] {
            std::fs::write(folder.path().join("flush"), read_back).unwrap();
            gateway.install(&rules);
            assert!(!folder.path().join("flush").exists(), "{kind}: nothing was flushed");
            assert!(poll(&client, &server, 502), "{kind}: the rules are lost");
        }
        load.crosses(&wire);
        assert_eq!(wire.in_clear(502), before, "{kind}");
    }
}

/// Makes a veth pair of A anew, with another number, and the PLC's addresses if it is the PLC's. `before` is called
/// before A's end joins the bridge.
fn make_anew<T>(lab: &Lab, port: &str, before: impl FnOnce() -> T) -> T {
    let a = lab.namespace(At::GatewayA);
    let (far, far_port) = match port {
        "wan" => (lab.namespace(At::GatewayB), "wan"),
        _ => (lab.namespace(At::Plc), "eth"),
    };
    sh(&format!(
        "ip -n {a} link del {port}
         ip link add {port} netns {a} type veth peer name {far_port} netns {far}"
    ));
    if port == "wan" {
        sh(&format!("ip -n {far} link set wan master br-tsg up"));
    } else {
        lab.address_plc();
        lab.know_each_other();
    }
    let made = before();
    sh(&format!("ip -n {a} link set {port} master br-tsg up"));
    made
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_lan_port_made_anew_leaks_nothing_before_it_is_noticed() {
    for kind in kinds(&Lab::new()) {
        // Older kernels drop the hook with the port; with the rules flushed the gate is alone here too.
        for flushed in [false, true] {
            let lab = Lab::new();
            let mut pair = gateways(&lab, kind, MODBUS);
            let wire = lab.capture(At::GatewayB, "wan", "udp");
            let load = Load::start(&lab);
            load.crosses(&wire);
            if flushed {
                flush(&lab, At::GatewayA);
            }
            make_anew(&lab, "lan0", || ());
            load.crosses(&wire);
            pair[0].tell("verify");
            let server = lab.udp(At::Plc, "10.9.0.1:502");
            assert!(poll(&lab.udp(At::Hmi, "10.9.0.2:0"), &server, 502), "{kind} {flushed}");
            assert_eq!(wire.in_clear(502), 0, "{kind} {flushed}");
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_wan_port_made_anew_lets_nothing_out_while_the_rules_stand() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let load = Load::start(&lab);
        let listen = || lab.capture(At::GatewayB, "wan", "udp");
        let wire = make_anew(&lab, "wan", listen);
        load.crosses(&wire);
        for gateway in &mut pair {
            gateway.tell("verify");
        }
        load.crosses(&wire);
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        assert!(poll(&lab.udp(At::Hmi, "10.9.0.2:0"), &server, 502), "{kind}");
        assert_eq!(wire.in_clear(502), 0, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_wan_port_made_anew_lets_nothing_in_before_it_is_noticed() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut gateway = Gateway::start(&lab.namespace(At::GatewayA), kind);
        gateway.install(MODBUS);
        lab.know_each_other();
        flush(&lab, At::GatewayA);
        make_anew(&lab, "wan", || ());
        let inside = lab.capture(At::Plc, "eth", "udp");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        wait_for("what is bypassed", || {
            client.send_to(b"injected", "10.9.0.1:502").unwrap();
            client.send_to(b"bypassed", "10.9.0.1:20").unwrap();
            inside.count(&["10.9.0.1.20:"]) > 0
        });
        assert_eq!(inside.count(&["injected"]), 0, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_bridge_made_anew_is_served_and_the_box_stays_reachable() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let a = lab.namespace(At::GatewayA);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let load = Load::start(&lab);
        sh(&format!(
            "ip -n {a} link del br-tsg
             ip -n {a} link add name br-tsg address 02:00:00:00:09:99 type bridge mcast_snooping 0
             ip netns exec {a} sysctl -qw net.ipv6.conf.br-tsg.disable_ipv6=1
             ip -n {a} addr add 10.9.0.9/24 dev br-tsg
             ip -n {a} link set lan0 master br-tsg
             ip -n {a} link set wan master br-tsg
             ip -n {a} link set br-tsg up"
        ));
        load.crosses(&wire);
        pair[0].tell("verify");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        assert!(poll(&lab.udp(At::Hmi, "10.9.0.2:0"), &server, 502), "{kind}");
        let own = lab.udp(At::GatewayA, "10.9.0.9:502");
        lab.udp(At::Plc, "10.9.0.1:0").send_to(b"to the box", "10.9.0.9:502").unwrap();
        assert!(own.recv(&mut [0; 20]).is_ok(), "{kind}: the box does not hear what is for it");
        assert_eq!(wire.in_clear(502), 0, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_lan_port_that_is_missing_does_not_stop_the_others() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut gateway = Gateway::start_with_two(&lab.namespace(At::GatewayA), kind);
        let mut other = Gateway::start(&lab.namespace(At::GatewayB), kind);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let load = Load::start(&lab);
        other.install(MODBUS);
        gateway.install(MODBUS);
        let status = gateway.tell("status");
        assert!(status.contains("ports: false") && status.contains("gate: None"), "{status}");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        load.crosses(&wire);
        let before = wire.in_clear(502);
        assert!(poll(&client, &server, 502), "{kind}");
        gateway.kill();
        flush(&lab, At::GatewayA);
        load.crosses(&wire);
        gateway = Gateway::start_with_two(&lab.namespace(At::GatewayA), kind);
        gateway.install(MODBUS);
        assert!(poll(&client, &server, 502), "{kind}: a new daemon");
        lab.add_second_machine();
        gateway.tell("verify");
        assert!(gateway.tell("status").contains("ports: true"), "{kind}");
        gateway.install(&format!("{MODBUS}|encrypt proto=udp dest_port=700"));
        assert!(poll(&client, &server, 502), "{kind}");
        sh(&format!("ip -n {} link del lan1", lab.namespace(At::GatewayA)));
        gateway.tell("verify");
        gateway.install(MODBUS);
        assert!(poll(&client, &server, 502), "{kind}: with a port less");
        load.crosses(&wire);
        assert_eq!(wire.in_clear(502), before, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_thread_that_ends_is_replaced_and_closed_holds_meanwhile() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        server.send_to(b"panic!", "10.9.0.2:502").unwrap();
        flush(&lab, At::GatewayA);
        works_again(&mut pair[0], &server, &client, kind);
        assert_eq!(wire.in_clear(502), 0, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_tap_that_is_set_down_or_deleted_comes_back() {
    let kind = Kind::Ingress;
    if !kinds(&Lab::new()).contains(&kind) {
        println!("skipped: this kernel has no ingress attach");
        return;
    }
    let lab = Lab::new();
    let mut pair = gateways(&lab, kind, MODBUS);
    let server = lab.udp(At::Plc, "10.9.0.1:502");
    let client = lab.udp(At::Hmi, "10.9.0.2:0");
    for harm in ["set tsg-tap0 down", "del tsg-tap0", "del tsg-tap1"] {
        lab.run(At::GatewayA, &format!("ip link {harm}"));
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        works_again(&mut pair[0], &server, &client, kind);
    }
}

/// The counter of that name.
fn count(gateway: &mut Gateway, name: &str) -> u64 {
    let counters = gateway.tell("counters");
    let (_, rest) = counters.split_once(&format!("{name}: ")).unwrap();
    rest.split([',', ' ']).next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: network namespaces"]
fn what_a_busy_daemon_does_not_take_is_counted() {
    for kind in kinds(&Lab::new()) {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let mut pair = gateways(&lab, kind, MODBUS);
        lab.know_each_other();
        let plc = lab.udp(At::Plc, "10.9.0.1:0");
        let go_on = folder.path().join("go-on");
        let stop = format!("wait for {}", go_on.display());
        plc.send_to(stop.as_bytes(), "10.9.0.2:502").unwrap();
        wait_for("a full queue", || {
            for _ in 0..500 {
                plc.send_to(b"one too many", "10.9.0.2:502").unwrap();
            }
            count(&mut pair[0], "queue_full") > 0
        });
        std::fs::write(go_on, "").unwrap();
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        works_again(&mut pair[0], &lab.udp(At::Plc, "10.9.0.1:502"), &client, kind);
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_frame_from_the_side_that_it_is_for_is_counted() {
    let kind = Kind::Ingress;
    if !kinds(&Lab::new()).contains(&kind) {
        println!("skipped: this kernel has no ingress attach");
        return;
    }
    let lab = Lab::new();
    let mut gateway = Gateway::start(&lab.namespace(At::GatewayA), kind);
    gateway.install(MODBUS);
    lab.know_each_other();
    // Somebody on the plant network sends with the PLC's address, and so draws its frames there.
    let plc =
        sh(&format!("ip netns exec {} cat /sys/class/net/eth/address", lab.namespace(At::Plc)));
    let own = lab.run(At::GatewayB, "cat /sys/class/net/wan/address");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attach/frames.py");
    lab.run(
        At::GatewayB,
        &format!(
            "ip link set wan address {}; python3 {script} wan 0 9; ip link set wan address {}",
            plc.trim(),
            own.trim(),
        ),
    );
    let client = lab.udp(At::Hmi, "10.9.0.2:0");
    wait_for("the count", || {
        client.send_to(b"where?", "10.9.0.1:502").unwrap();
        count(&mut gateway, "same_side") > 0
    });
}

/// A poll is answered after some looks.
fn works_again(gateway: &mut Gateway, server: &Udp, client: &Udp, kind: Kind) {
    for socket in [server, client] {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    wait_for(&format!("{kind}: a poll"), || {
        // It may not be able to put everything right at the first look.
        gateway.try_to("verify");
        poll(client, server, 502)
    });
}
