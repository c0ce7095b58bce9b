//! `check` on machines made of files.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::*;
use crate::attach::{Finding, Kind, Ports};

const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

/// A machine with lan1, lan2 and wan in br-lan, nft, and a whole configuration.
struct Fake {
    folder: tempfile::TempDir,
    findings: Vec<Finding>,
}

impl Fake {
    fn new() -> Self {
        let findings = Kind::ALL.map(|kind| Finding { kind, refusal: None });
        let fake = Self { folder: tempfile::tempdir().unwrap(), findings: findings.to_vec() };
        for port in ["lan1", "lan2", "wan"] {
            fake.write(&format!("sys/class/net/{port}/mtu"), "1500\n");
            fake.write(&format!("sys/class/net/{port}/operstate"), "up\n");
            fake.join_bridge(port, "br-lan");
        }
        fake.write("sys/class/net/lo/mtu", "65536\n");
        fake.write("usr/sbin/nft", "");
        fake.write("dev/net/tun", "");
        fake.write("proc/modules", "nf_tables 1 0 - Live 0x0\n");
        fake.configure("");
        Identity::generate()
            .unwrap()
            .save(&fake.path("state"), crate::identity::Replace::Never)
            .unwrap();
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn configure(&self, options: &str) {
        self.write_config(options, "");
    }

    fn configure_bridge(&self, options: &str) {
        self.write_config("", options);
    }

    fn write_config(&self, main: &str, bridge: &str) {
        let text = format!(
            "config tsg main\n option server 192.0.2.1\n option server_key '{KEY}'\n{main}\n\
             config bridge\n list lan lan1\n list lan lan2\n option wan wan\n{bridge}\n"
        );
        self.write("config/tsg", &text);
    }

    fn join_bridge(&self, port: &str, bridge: &str) {
        self.leave_bridge(port);
        self.write(&format!("sys/class/net/{port}/brport/state"), "3\n");
        symlink(
            format!("../../{bridge}"),
            self.path(&format!("sys/class/net/{port}/brport/bridge")),
        )
        .unwrap();
        self.write(&format!("sys/class/net/{bridge}/brif/{port}/state"), "3\n");
    }

    fn leave_bridge(&self, port: &str) {
        let _ = fs::remove_dir_all(self.path(&format!("sys/class/net/{port}/brport")));
        let _ = fs::remove_dir_all(self.path(&format!("sys/class/net/br-lan/brif/{port}")));
    }

    fn check(&self) -> (Verdict, String) {
        let folders = Folders {
            config: self.path("config"),
            state: self.path("state"),
            run: self.path("run"),
        };
        let mut out = Vec::new();
        let machine = Machine::new(self.folder.path());
        let prober =
            |_: &Ports| Some(self.findings.clone()).filter(|findings| !findings.is_empty());
        let verdict = check(&folders, &machine, &prober, &mut Report::new(&mut out)).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    fn has_problem(&self, expected: &str) {
        let (verdict, out) = self.check();
        assert_eq!(verdict, Verdict::Problems, "{out}");
        let found = out.lines().any(|line| line.starts_with("PROBLEM") && line.contains(expected));
        assert!(found, "{expected:?} is no problem in\n{out}");
    }

    fn has_warning(&self, expected: &str) {
        let (verdict, out) = self.check();
        assert_eq!(verdict, Verdict::Good, "{out}");
        let found = out.lines().any(|line| line.starts_with("warning") && line.contains(expected));
        assert!(found, "{expected:?} is no warning in\n{out}");
    }
}

#[test]
fn a_good_machine_has_no_problems() {
    let (verdict, out) = Fake::new().check();
    assert_eq!(verdict, Verdict::Good, "{out}");
    assert!(out.ends_with("0 problems, 0 warnings\n"), "{out}");
    assert!(out.lines().all(|line| line.starts_with("ok") || line.starts_with("0 ")), "{out}");
}

#[test]
fn missing_and_misplaced_ports_are_problems() {
    let fake = Fake::new();
    fs::remove_dir_all(fake.path("sys/class/net/lan2")).unwrap();
    fake.has_problem("there is no port lan2 (section @bridge[0]); there are br-lan, lan1, wan");

    let fake = Fake::new();
    fake.leave_bridge("lan2");
    fake.has_problem("lan2 is in no bridge, but wan in br-lan");
    fake.join_bridge("lan2", "br-other");
    fake.has_problem("lan2 is in br-other, but wan in br-lan");

    let fake = Fake::new();
    fake.join_bridge("wlan0", "br-lan");
    fake.has_problem("wlan0 is in br-lan too");
}

#[test]
fn ports_without_a_bridge_have_to_be_told_standalone() {
    let fake = Fake::new();
    fake.configure_bridge(" option standalone 1\n option box box1");
    fake.has_problem("lan1 is in br-lan, but `standalone` is 1");
    for port in ["lan1", "lan2", "wan"] {
        fake.leave_bridge(port);
    }
    fake.has_problem("there is no port box1 (`option box`)");
    fake.write("sys/class/net/box1/operstate", "up\n");
    assert!(fake.check().1.contains("lan1, lan2, wan are in no bridge; the gateway connects them"));
    fake.configure_bridge("");
    fake.has_problem("or let the gateway connect them: `option standalone '1'`");
}

#[test]
fn ports_of_one_switch_chip_are_a_problem_in_a_bridge() {
    let fake = Fake::new();
    for port in ["lan1", "lan2", "wan"] {
        fake.write(&format!("sys/class/net/{port}/phys_switch_id"), "d0a1\n");
    }
    fake.has_problem("lan2 and wan belong to one switch chip");
    fake.write("sys/class/net/wan/phys_switch_id", "beef\n");
    assert_eq!(fake.check().0, Verdict::Good);
}

#[test]
fn what_carries_packets_past_is_found() {
    let fake = Fake::new();
    fake.write(
        "config/firewall",
        "config defaults\n option flow_offloading 1\n option flow_offloading_hw '0'\n",
    );
    fake.has_problem("flow_offloading is on");
    fake.write("config/firewall", "config defaults\n option x 'y\n");
    fake.has_warning("config/firewall:2:11: this ' is never closed");
    fake.write("config/firewall", "config defaults\n");
    fake.write("proc/modules", "shortcut_fe 1 0 - Live 0x0\n");
    fake.has_warning("shortcut_fe");
}

#[test]
fn the_chosen_attach_has_what_it_needs() {
    let fake = Fake::new();
    fs::remove_file(fake.path("usr/sbin/nft")).unwrap();
    fake.has_problem("neither nft nor iptables");
    fake.configure(" option attach ingress");
    fake.has_problem("nft is not there");
    fs::remove_file(fake.path("dev/net/tun")).unwrap();
    fake.has_problem("kmod-tun");
    fake.configure(" option attach nfqueue-iptables");
    fake.has_problem("ip6tables is not there");
    fake.write("sbin/iptables", "");
    fake.write("sbin/ip6tables", "");
    fake.has_problem("br_netfilter is not loaded");
    for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        fake.write(&format!("proc/sys/net/bridge/{name}"), "1\n");
    }
    fake.write("proc/sys/net/bridge/bridge-nf-filter-vlan-tagged", "0\n");
    fake.has_warning("frames with a VLAN tag slip by");
}

#[test]
fn the_attaches_that_the_kernel_refuses_are_named() {
    let mut fake = Fake::new();
    assert!(fake.check().1.contains("nfqueue-nft works here\n"));
    fake.findings[0].refusal = Some("no nft_queue".to_owned());
    let expected = "nfqueue-iptables works here (nfqueue-nft does not: no nft_queue)";
    assert!(fake.check().1.contains(expected));
    fake.configure(" option attach nfqueue-nft");
    fake.has_problem("nfqueue-nft does not: no nft_queue");
    for finding in &mut fake.findings {
        finding.refusal = Some("no".to_owned());
    }
    fake.configure("");
    fake.has_problem("ingress does not: no; install");
    fake.findings.clear();
    fake.has_warning("run `tsg check` as root");
}

#[test]
fn configuration_and_identity_are_judged() {
    let fake = Fake::new();
    fake.configure(" option fail maybe\n option colour red");
    fake.has_problem("section main: option fail: \"maybe\" is not allowed");
    fake.configure(" option colour red");
    fake.has_warning("option colour");
    fake.configure(" option path_mtu 9000");
    fake.has_problem("path_mtu is 9000, but wan carries only 1500");
    fake.configure("");
    fake.write("sys/class/net/wan/operstate", "down\n");
    fake.has_warning("wan has no link");
    fake.write("state/key", "nonsense");
    fake.has_problem("state/key is damaged");
    fs::remove_dir_all(fake.path("state")).unwrap();
    fake.has_warning("there is none yet");
    fs::remove_file(fake.path("config/tsg")).unwrap();
    fake.has_problem("cannot read");
    fake.write("config/tsg", "config tsg main\n");
    fake.has_warning("no key server is set");
}
