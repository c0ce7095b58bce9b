//! What stays when rules are changed or taken away, and when the daemon is killed.

use crate::child::Gateway;
use crate::lab::{At, Capture, Lab, Udp, kinds, sh, udp_in, wait_for};
use crate::packets::{MODBUS, gateways};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tsg_bridge::attach::Kind;

/// Asks and is answered, once.
pub fn poll(client: &Udp, server: &Udp, port: u16) -> bool {
    let mut room = [0; 64];
    client.send_to(b"poll", format!("10.9.0.1:{port}")).unwrap();
    let Ok((_, from)) = server.recv_from(&mut room) else { return false };
    server.send_to(b"answer?", from).unwrap();
    client.recv(&mut room).is_ok()
}

/// Says so when it goes.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The PLC speaks all the time: to port 502 of the HMI, which rules match, and to other ports, with the counter of
/// rounds.
pub struct Load {
    stop: Arc<AtomicBool>,
    round: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

/// Of the other ports.
const FIRST: u32 = 20_000;
const PORTS: u32 = 20_000;

impl Load {
    pub fn start(lab: &Lab) -> Self {
        lab.know_each_other();
        let (stop, round) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let socket = lab.udp(At::Plc, "0.0.0.0:0");
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&round));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                let other = FIRST + counted.fetch_add(1, Relaxed) % PORTS;
                // There may be no way for a moment.
                let _ = socket.send_to(b"secret", "10.9.0.2:502");
                let _ = socket.send_to(b"open", format!("10.9.0.2:{other}"));
                std::thread::park_timeout(Duration::from_micros(500));
            }
        });
        Self { stop, round, thread: Some(thread) }
    }

    /// Waits until one of the other datagrams, sent from now on, has crossed.
    pub fn crosses(&self, wire: &Capture) {
        let mut from = self.round.load(Relaxed);
        wait_for("that what is bypassed crosses", || {
            let to = self.round.load(Relaxed);
            let port = |round| format!("10.9.0.2.{}:", FIRST + round % PORTS);
            let seen = (from..to.min(from + 50)).any(|round| wire.count(&[&port(round)]) > 0);
            from = from.max(to.saturating_sub(200));
            seen
        });
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes every rule away, as `firewall stop` does.
pub fn flush(lab: &Lab, at: At) {
    lab.run(
        at,
        "nft flush ruleset; for t in iptables iptables-legacy ip6tables; do $t -t mangle -F; done",
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_change_of_rules_under_load_loses_nothing() {
    const CHANGES: usize = 6;
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp port 502");
        let (stop, polls) = (AtomicBool::new(false), AtomicU32::new(0));
        let pairs = [502, 700].map(|port: u16| {
            let server = lab.udp(At::Plc, &format!("10.9.0.1:{port}"));
            (port, server, lab.udp(At::Hmi, "10.9.0.2:0"))
        });
        std::thread::scope(|scope| {
            // Also when something fails here: the pollers would go on for ever.
            let _stop = Stop(&stop);
            let pollers: Vec<_> = pairs
                .iter()
                .map(|(port, server, client)| {
                    let (stop, polls) = (&stop, &polls);
                    scope.spawn(move || {
                        while !stop.load(Relaxed) {
                            assert!(
                                poll(client, server, *port),
                                "{kind}: a poll of {port} is lost"
                            );
                            polls.fetch_add(1, Relaxed);
                        }
                    })
                })
                .collect();
            for change in 0..CHANGES {
                let before = polls.load(Relaxed);
                wait_for("a poll", || polls.load(Relaxed) > before + 20);
                let other = if change % 2 == 0 { "|encrypt proto=udp dest_port=44818" } else { "" };
                for gateway in &mut pair {
                    gateway.install(&format!("{MODBUS}{other}"));
                }
            }
            stop.store(true, Relaxed);
            for poller in pollers {
                poller.join().unwrap();
            }
        });
        println!("{kind}: {} polls over {CHANGES} changes", polls.load(Relaxed));
        assert_eq!(wire.in_clear(502), 0, "{kind}: {}", wire.text());
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn flushed_rules_come_back_and_nothing_leaves_in_between() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        flush(&lab, At::GatewayA);
        server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        server.send_to(b"in clear", client.local_addr().unwrap()).unwrap();
        assert!(!poll(&client, &server, 502), "{kind}: passed without rules");
        // What is bypassed passes, and ends what the capture has to say.
        lab.udp(At::Plc, "10.9.0.1:0").send_to(b"bypassed", "10.9.0.2:9").unwrap();
        wire.expect(&["10.9.0.2.9:"]);
        assert_eq!(wire.count(&["in clear"]), 0, "{kind}: {}", wire.text());
        pair[0].tell("verify");
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(poll(&client, &server, 502), "{kind}: the rules are not back");
        let status = pair[0].tell("status");
        assert!(status.contains("reinstalled: 1"), "{kind}: {status}");
        pair[0].tell("verify");
        assert_eq!(pair[0].tell("status"), status, "{kind}: a look has changed something");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_killed_daemon_leaves_matched_traffic_blocked() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:502");
        assert!(poll(&client, &server, 502), "{kind}");
        pair[0].kill();
        for flushed in [false, true] {
            if flushed {
                flush(&lab, At::GatewayA);
            }
            server.send_to(b"in clear", "10.9.0.2:502").unwrap();
            server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            assert!(!poll(&client, &server, 502), "{kind}: passed with a dead daemon");
            let port = if flushed { 9 } else { 10 };
            lab.udp(At::Plc, "10.9.0.1:0").send_to(b"-", format!("10.9.0.2:{port}")).unwrap();
            wire.expect(&[&format!("10.9.0.2.{port}:")]);
            assert_eq!(wire.count(&["in clear"]), 0, "{kind}: {}", wire.text());
        }
        pair[0] = Gateway::start(&lab.namespace(At::GatewayA), kind);
        pair[0].install(MODBUS);
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(poll(&client, &server, 502), "{kind}: a new daemon does not take over");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn plaintext_from_the_plant_is_stopped_with_and_without_the_daemon() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut gateway = Gateway::start(&lab.namespace(At::GatewayA), kind);
        gateway.install(MODBUS);
        let inside = lab.capture(At::Plc, "eth", "udp");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        for (marker, step) in ["", "kill", "flush"].into_iter().enumerate() {
            match step {
                "kill" => gateway.kill(),
                "flush" => flush(&lab, At::GatewayA),
                _ => {}
            }
            client.send_to(b"injected", "10.9.0.1:502").unwrap();
            client.send_to(b"bypassed", format!("10.9.0.1:{}", 20 + marker)).unwrap();
            inside.expect(&[&format!("10.9.0.1.{}:", 20 + marker)]);
            assert_eq!(inside.count(&["injected"]), 0, "{kind} {step}: {}", inside.text());
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_detached_gateway_is_a_bridge_again() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        // Where br_netfilter is loaded.
        let setting = "cat /proc/sys/net/bridge/bridge-nf-filter-vlan-tagged 2>&1 || true";
        let before = lab.run(At::GatewayA, setting);
        let mut pair = gateways(&lab, kind, MODBUS);
        for gateway in &mut pair {
            gateway.tell("detach");
        }
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        let left =
            lab.run(At::GatewayA, "nft list ruleset; iptables-save; tc filter show dev wan egress");
        assert!(!left.contains("TSG") && !left.contains("tsg"), "{kind}: {left}");
        assert_eq!(lab.run(At::GatewayA, setting), before, "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_port_that_comes_back_is_taken_again() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let (a, b) = (lab.namespace(At::GatewayA), lab.namespace(At::GatewayB));
        sh(&format!(
            "ip -n {a} link del wan
             ip link add wan netns {a} type veth peer name wan netns {b}"
        ));
        for gateway in [&a, &b] {
            sh(&format!("ip -n {gateway} link set wan master br-tsg up"));
        }
        for gateway in &mut pair {
            gateway.tell("verify");
        }
        let wire = lab.capture(At::GatewayB, "wan", "");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        wire.expect(&["ip-proto-253"]);
        assert_eq!(wire.in_clear(502), 0, "{kind}: {}", wire.text());
        let status = pair[0].tell("status");
        assert!(
            status.contains("gate: None") && status.contains("rules: None"),
            "{kind}: {status}"
        );
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn fail_open_passes_with_a_dead_daemon_where_the_queue_can() {
    for kind in kinds(&Lab::new()) {
        if kind == Kind::Ingress {
            println!("skipped: {kind}: needs a rule swap, which a dead daemon cannot do");
            continue;
        }
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, &format!("fail=open;{MODBUS}"));
        for gateway in &mut pair {
            gateway.kill();
        }
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn another_attach_takes_over_from_a_killed_one() {
    let can = kinds(&Lab::new());
    for (before, after) in can.iter().flat_map(|b| can.iter().map(move |a| (*b, *a))) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, before, MODBUS);
        pair[0].kill();
        pair[0] = Gateway::start(&lab.namespace(At::GatewayA), after);
        pair[0].install(MODBUS);
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{before} to {after}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn two_gateways_on_one_machine_leave_each_other_alone() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let [plc, hmi] = lab.add_second_bridge();
        let mut first = gateways(&lab, kind, MODBUS);
        let mut second = [At::GatewayA, At::GatewayB].map(|at| {
            let mut gateway = Gateway::start_second(&lab.namespace(at), kind);
            gateway.install("encrypt proto=udp dest_port=700");
            gateway
        });
        let wires = ["wan", "wan-two"].map(|port| lab.capture(At::GatewayB, port, ""));
        let ask = || {
            let at_plc = udp_in(&plc, "10.8.0.1:700");
            let at_hmi = udp_in(&hmi, "10.8.0.2:700");
            let mut room = [0; 64];
            at_hmi.send_to(b"poll", "10.8.0.1:700").unwrap();
            let asked = at_plc.recv(&mut room).is_ok();
            at_plc.send_to(b"answer?", "10.8.0.2:700").unwrap();
            asked && at_hmi.recv(&mut room).is_ok()
        };
        for _ in 0..2 {
            let server = lab.udp(At::Plc, "10.9.0.1:502");
            let client = lab.udp(At::Hmi, "10.9.0.2:0");
            assert!(poll(&client, &server, 502), "{kind}: the first");
            assert!(ask(), "{kind}: the second");
            // The look of one finds nothing that the other has done.
            for gateway in first.iter_mut().chain(&mut second) {
                gateway.tell("verify");
                assert!(gateway.tell("status").contains("reinstalled: 0"), "{kind}");
            }
        }
        for gateway in &mut second {
            gateway.tell("detach");
        }
        assert!(ask(), "{kind}: detached");
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        first[0].tell("verify");
        first[1].tell("verify");
        assert!(poll(&client, &server, 502), "{kind}: the first, alone");
        for wire in &wires {
            wire.expect(&["ip-proto-253"]);
        }
        assert_eq!(wires[0].in_clear(502), 0, "{kind}: {}", wires[0].text());
    }
}
