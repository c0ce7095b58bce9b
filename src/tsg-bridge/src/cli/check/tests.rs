//! `check` on machines made of files.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::*;
use crate::{
    attach::{Finding, Ports},
    offloads::{Feature, Setting, Settings},
};
use room::Room;
use serde_json::json;

const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

/// A machine with lan1, lan2 and wan in br-lan, nft, and a whole configuration.
struct Fake {
    folder: tempfile::TempDir,
    findings: Vec<Finding>,
    /// What every port has.
    offloads: Settings,
    room: Option<Room>,
    status: Option<Value>,
    silent: bool,
}

impl Fake {
    fn new() -> Self {
        let findings = Kind::ALL.map(|kind| Finding { kind, refusal: None });
        let off = Setting { on: false, fixed: false };
        let fake = Self {
            folder: tempfile::tempdir().unwrap(),
            findings: findings.to_vec(),
            offloads: Feature::ALL.map(|feature| (feature, off)).into(),
            room: Some(Room { bytes: 8 << 20, read_only: false }),
            status: Some(json!({ "state": "sealing", "connected": true, "since_server_s": 3 })),
            silent: false,
        };
        for port in ["lan1", "lan2", "wan"] {
            fake.write(&format!("sys/class/net/{port}/mtu"), "1500\n");
            fake.write(&format!("sys/class/net/{port}/operstate"), "up\n");
            fake.join_bridge(port, "br-lan");
        }
        fake.write("sys/class/net/lo/mtu", "65536\n");
        fake.write("usr/sbin/nft", "");
        fake.write("dev/net/tun", "");
        fake.write("proc/modules", "nf_tables 1 0 - Live 0x0\n");
        fake.write("proc/meminfo", "MemTotal: 120000 kB\nMemAvailable: 60000 kB\n");
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
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        self.report(&mut report);
        let verdict = report.verdict();
        (verdict, String::from_utf8(out).unwrap())
    }

    fn report(&self, report: &mut Report<'_>) {
        let folders = Folders {
            config: self.path("config"),
            state: self.path("state"),
            run: self.path("run"),
        };
        let machine = Machine::new(self.folder.path());
        let sources = Sources {
            prober: &|_: &Ports| Some(self.findings.clone()).filter(|found| !found.is_empty()),
            offloads: &|_| Ok(self.offloads.clone()),
            room: &|_| self.room,
            daemon: match (&self.status, self.silent) {
                (_, true) => Daemon::Silent,
                (Some(status), false) => Daemon::Says(status),
                (None, false) => Daemon::Absent,
            },
        };
        check(&folders, &machine, &sources, report).unwrap();
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
fn a_box_without_ujail_is_told() {
    let fake = Fake::new();
    let (without, with) = ("install procd-ujail", "its three capabilities");
    assert!(!fake.check().1.contains(without) && !fake.check().1.contains(with), "no procd");
    fake.write("sbin/procd", "");
    fake.has_warning(without);
    fake.write("sbin/ujail", "");
    assert!(fake.check().1.contains(with));
}

#[test]
fn a_firewall_that_sees_what_crosses_the_bridge_is_told() {
    let fake = Fake::new();
    let told = "net.bridge.bridge-nf-call-ip6tables is 1, so the router's firewall sees";
    let has = |attach| {
        fake.configure(&format!(" option attach {attach}"));
        fake.check().1.contains(told)
    };
    assert!(!has("ingress"));
    fake.write("proc/sys/net/bridge/bridge-nf-call-ip6tables", "1\n");
    assert!(has("ingress") && has("nfqueue-nft"));
    assert!(!has("nfqueue-iptables"), "the queue is there");
    fake.configure_bridge(" option standalone 1");
    assert!(!fake.check().1.contains(told), "there is no bridge");
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

#[test]
fn json_says_the_same() {
    let fake = Fake::new();
    fake.configure(" option path_mtu 9000\n option colour red");
    let mut report = Report::silent();
    fake.report(&mut report);
    let json = report.json();
    assert_eq!((json["problems"].as_u64(), json["warnings"].as_u64()), (Some(1), Some(1)));
    let lines: Vec<String> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| {
            let [grade, what, text] = ["grade", "what", "text"].map(|n| check[n].as_str().unwrap());
            let grade = if grade == "problem" { "PROBLEM" } else { grade };
            format!("{grade:<8} {what}: {text}\n")
        })
        .collect();
    assert_eq!(fake.check().1, format!("{}1 problems, 1 warnings\n", lines.concat()));
}

#[test]
fn beside_a_running_gateway_nothing_is_tried() {
    let mut fake = Fake::new();
    let bridges = |attach: Value| json!([{ "device": "br-lan", "attach": attach }]);
    fake.findings.clear();
    fake.status = Some(json!({ "connected": true, "bridges": bridges("ingress".into()) }));
    let (verdict, out) = fake.check();
    assert_eq!(verdict, Verdict::Good, "{out}");
    assert!(out.contains("ok       attach: br-lan: ingress is at work"), "{out}");
    fake.status = Some(json!({ "connected": true, "bridges": bridges(Value::Null) }));
    fake.has_problem("attach: br-lan: nothing is sealed there");
    fake.silent = true;
    fake.has_problem("server: a gateway runs here and does not answer");
    assert!(!fake.check().1.contains("attach:"));
}

#[test]
fn the_key_servers_silence_is_told() {
    let mut fake = Fake::new();
    fake.status = None;
    fake.has_warning("no gateway runs here");
    let status = |state: &str, since: Value| {
        Some(json!({ "state": state, "connected": state == "sealing", "since_server_s": since }))
    };
    for (seconds, text) in [(61, "61 s"), (3_000, "50 min"), (90_000, "25 h"), (900_000, "10 days")]
    {
        fake.status = status("sealing", seconds.into());
        fake.has_warning(&format!("server: has not answered for {text}; is its address right"));
    }
    fake.status = status("sealing", 60.into());
    assert!(fake.check().1.contains("ok       server: answered 60 s ago"));
    fake.status = status("searching", Value::Null);
    fake.has_problem("server: has not answered yet");
    fake.status = status("pending", 1.into());
    fake.has_warning("an operator has to approve this gateway");
    fake.status = status("revoked", 1.into());
    fake.has_problem("the key server has revoked this gateway");
}

#[test]
fn offloads_that_stand_in_the_way_are_told() {
    let mut fake = Fake::new();
    let set = |fake: &mut Fake, feature, on, fixed| {
        fake.offloads.insert(feature, Setting { on, fixed });
    };
    set(&mut fake, Feature::Lro, true, false);
    fake.has_warning("offloads: wan: lro is on; run `tsg offloads`");
    set(&mut fake, Feature::Lro, true, true);
    fake.has_warning("wan: lro is on and its driver lets nobody change that");
    set(&mut fake, Feature::Lro, false, true);
    set(&mut fake, Feature::RxGroList, true, false);
    assert!(fake.check().1.ends_with("0 problems, 0 warnings\n"), "a queue does not mind");
    fake.configure(" option attach ingress");
    assert!(fake.check().1.ends_with("0 problems, 0 warnings\n"), "that is seen to");
    fake.write_config(
        " option attach ingress",
        "config port\n option device lan1\n option rx_gro_list 1",
    );
    fake.has_warning("lan1: rx_gro_list is on: nothing is lost");
    fake.configure("");
    let bridges = [json!({ "device": "br-lan", "attach": "ingress" })];
    fake.status = Some(json!({ "connected": true, "bridges": bridges }));
    fake.has_warning("wan: rx_udp_gro_forwarding is off");
    let joining = "config port\n option device wan\n option rx_udp_gro_forwarding 0";
    fake.write_config("", joining);
    assert!(!fake.check().1.contains("rx_udp_gro_forwarding"), "that is wanted");
    fake.write_config("", "config port\n option device lan2\n option gro 1");
    fake.has_warning("offloads: lan2: gro is off; run `tsg offloads`");
    set(&mut fake, Feature::Gro, false, true);
    fake.has_warning("remove `option gro` of its `config port`");
}

#[test]
fn room_on_flash_and_in_memory_is_told() {
    let mut fake = Fake::new();
    let room = |bytes, read_only| Some(Room { bytes, read_only });
    fake.room = room(500 << 10, false);
    fake.has_warning("flash: 500 KB are left");
    fake.room = room(10 << 10, false);
    fake.has_problem("flash: 10 KB are left");
    fake.room = room(8 << 20, true);
    fake.has_problem("can only be read");
    fake.room = None;
    fake.has_warning("flash: cannot tell");
    fake.room = room(8 << 20, false);
    fake.write(
        "proc/mounts",
        "overlayfs:/tmp/root / overlay rw,lowerdir=/,upperdir=/tmp/root/upper 0 0\n",
    );
    fake.has_problem("the overlay is in memory");
    fake.write(
        "proc/mounts",
        "overlayfs:/overlay / overlay rw,lowerdir=/,upperdir=/overlay/upper 0 0\n",
    );
    fake.write("proc/meminfo", "MemAvailable: 10240 kB\n");
    fake.has_warning("memory: 10 MB are left");
    fake.write("proc/meminfo", "MemAvailable: 1024 kB\n");
    fake.has_problem("memory: 1 MB are left");
    fake.write("proc/meminfo", "MemAvailable: lots\n");
    fake.has_warning("memory: cannot tell");
}

#[test]
fn a_kernel_module_that_is_surely_missing_is_a_problem() {
    let fake = Fake::new();
    fake.configure(" option attach ingress");
    fake.write("proc/sys/kernel/osrelease", "6.6.1\n");
    fake.write("lib/modules/6.6.1/nft_fwd_netdev.ko", "");
    fake.write("lib/modules/6.6.1/sch_ingress.ko", "");
    let unknown = fake.check();
    assert_eq!(unknown.0, Verdict::Good, "nobody says what is built in: {}", unknown.1);
    fake.write("lib/modules/6.6.1/modules.builtin", "kernel/drivers/net/tun.ko\n");
    fake.has_problem(
        "this kernel has no cls_bpf, for the gate on the ports; install kmod-sched-bpf",
    );
    fake.write("sys/module/cls_bpf/refcnt", "1\n");
    assert!(fake.check().1.contains("modules: none that is known to be missing"));
    fs::remove_file(fake.path("lib/modules/6.6.1/nft_fwd_netdev.ko")).unwrap();
    fake.has_problem("no nft_fwd_netdev");
    fake.write(
        "lib/modules/6.6.1/modules.dep",
        "kernel/net/netfilter/nft-fwd-netdev.ko.xz: x.ko\n",
    );
    assert_eq!(fake.check().0, Verdict::Good);
}
