//! Boot: what `tsg gate` and a daemon that cannot get at packets let across.

use crate::child::Gateway;
use crate::lab::{At, Lab, kinds, sh, wait_for};
use crate::packets::MODBUS;
use crate::survival::{Load, flush, poll};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tsg_control::group::{Fail, Mode, NonIp};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::Policy;
use tsg_control::timeline::Stage;

const CONFIG: &str = "config tsg 'main'
\toption server '192.0.2.10'
\toption server_key 'cH0UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
config bridge
\tlist lan 'lan0'
\tlist lan 'lan1'
\toption wan 'wan'
\toption device 'br-tsg'
";

/// The files of a router that boots.
struct Router(TempDir);

impl Router {
    fn new() -> Self {
        let router = Self(tempfile::tempdir().unwrap());
        for folder in ["config", "state", "run"] {
            std::fs::create_dir(router.folder(folder)).unwrap();
        }
        router.configure(CONFIG);
        router
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.folder("config").join("tsg"), text).unwrap();
    }

    /// As if the key server had once said this.
    fn keep_policy(&self, rules: &str, fail: Fail) {
        let version = PolicyVersion {
            version: 1,
            stage: Stage::Active,
            policy: Policy::new(vec![rules.parse().unwrap()]),
            mode: Mode::Enforce,
            fail,
            non_ip: NonIp::Pass,
        };
        let text = serde_json::to_vec(&version).unwrap();
        std::fs::write(self.folder("state").join("policy.json"), text).unwrap();
    }

    fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.namespace(At::GatewayA)]);
        command.arg(env!("CARGO_BIN_EXE_tsg"));
        for (option, folder) in [("-c", "config"), ("--state", "state"), ("--run", "run")] {
            command.arg(option).arg(self.folder(folder));
        }
        command.args(["--log", "stderr"]).args(arguments);
        command
    }

    fn gate(&self, lab: &Lab, more: &[&str]) -> Output {
        self.command(lab, &[&["gate"], more].concat()).output().unwrap()
    }

    /// `tsg gate`, which says this.
    fn gate_says(&self, lab: &Lab, more: &[&str], expected: &str) {
        let output = self.gate(lab, more);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains(expected), "{said}");
    }
}

/// What arrives at the HMI of datagrams to port 502 and to port 9, in this order.
fn arrives(lab: &Lab) -> [bool; 2] {
    let plc = lab.udp(At::Plc, "10.9.0.1:0");
    [502, 9].map(|port| {
        let hmi = lab.udp(At::Hmi, &format!("10.9.0.2:{port}"));
        hmi.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        plc.send_to(b"-", format!("10.9.0.2:{port}")).unwrap();
        hmi.recv(&mut [0; 8]).is_ok()
    })
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_gate_command_holds_what_configuration_and_policy_say() {
    let (lab, router) = (Lab::new(), Router::new());
    lab.know_each_other();
    assert_eq!(arrives(&lab), [true, true]);
    router.gate_says(&lab, &["--isolate"], "isolated: lan0, wan");
    assert_eq!(arrives(&lab), [false, false]);
    router.gate_says(&lab, &[], "br-tsg: the gate stands on lan0, wan; not there yet: lan1");
    assert_eq!(arrives(&lab), [false, false], "there is no policy yet");
    let questions = lab.capture(At::GatewayB, "wan", "arp");
    lab.udp(At::Plc, "10.9.0.1:0").send_to(b"-", "10.9.0.77:9").unwrap();
    questions.expect(&["who-has 10.9.0.77"]);
    router.keep_policy("encrypt proto=udp dest_port=502", Fail::Closed);
    for _ in 0..2 {
        router.gate_says(&lab, &[], "the gate stands");
        assert_eq!(arrives(&lab), [false, true]);
    }
    // With an error in it the daemon does not start, and the gate stands.
    router.configure(&CONFIG.replace("192.0.2.10", "192.0.2.10:port"));
    let output = router.gate(&lab, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("option server"));
    assert_eq!(arrives(&lab), [false, true]);
    router.configure(&format!("{CONFIG}\nconfig tsg 'main'\n\toption enabled '0'\n"));
    router.gate_says(&lab, &[], "switched off");
    assert_eq!(arrives(&lab), [true, true]);
    router.configure(CONFIG);
    // Whatever the configuration says; of one port alone, the other stands.
    router.gate_says(&lab, &[], "the gate stands");
    router.gate_says(&lab, &["--clear", "lan0", "absent"], "lan0: no gate, no rules");
    assert_eq!(arrives(&lab), [false, true]);
    let output = router.gate(&lab, &["--clear", "no port"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    router.gate_says(&lab, &["--clear"], "br-tsg: no gate, no rules");
    assert_eq!(arrives(&lab), [true, true]);
    router.keep_policy("encrypt proto=udp dest_port=502", Fail::Open);
    router.gate_says(&lab, &["--isolate"], "isolated: lan0, wan");
    router.gate_says(&lab, &[], "`fail` is open");
    assert_eq!(arrives(&lab), [true, true]);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn isolation_that_somebody_else_wants_stays() {
    let (lab, router) = (Lab::new(), Router::new());
    lab.add_second_machine();
    let flag = |port: &str| {
        lab.run(At::GatewayA, &format!("cat /sys/class/net/{port}/brport/isolated")).trim() == "1"
    };
    lab.run(At::GatewayA, "bridge link set dev lan0 isolated on");
    router.gate_says(&lab, &[], "the gate stands on lan0, lan1, wan");
    assert!(flag("lan0"));
    router.gate_says(&lab, &["--isolate"], "isolated: lan0, lan1, wan");
    assert!(flag("lan0") && flag("lan1") && flag("wan"));
    router.gate_says(&lab, &[], "the gate stands");
    assert!(!flag("lan0") && !flag("lan1") && !flag("wan"));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn nothing_matched_leaves_from_the_first_moment_on() {
    for kind in kinds(&Lab::new()) {
        let (lab, router) = (Lab::new(), Router::new());
        router.keep_policy("encrypt proto=tcp,udp dest_port=502", Fail::Closed);
        let a = lab.namespace(At::GatewayA);
        for port in ["lan0", "wan"] {
            sh(&format!("ip -n {a} link set {port} nomaster"));
        }
        let wire = lab.capture(At::GatewayB, "wan", "udp");
        let load = Load::start(&lab);
        router.gate_says(&lab, &[], "the gate stands on lan0, wan");
        for port in ["lan0", "wan"] {
            sh(&format!("ip -n {a} link set {port} master br-tsg"));
        }
        load.crosses(&wire);
        let mut pair = [At::GatewayA, At::GatewayB].map(|at| {
            let mut gateway = Gateway::start(&lab.namespace(at), kind);
            gateway.install(MODBUS);
            gateway
        });
        load.crosses(&wire);
        let server = lab.udp(At::Plc, "10.9.0.1:502");
        let client = lab.udp(At::Hmi, "10.9.0.2:0");
        assert!(poll(&client, &server, 502), "{kind}");
        pair[0].kill();
        load.crosses(&wire);
        flush(&lab, At::GatewayA);
        load.crosses(&wire);
        router.gate_says(&lab, &[], "the gate stands on lan0, wan");
        load.crosses(&wire);
        pair[0] = Gateway::start(&a, kind);
        pair[0].install(MODBUS);
        load.crosses(&wire);
        assert!(poll(&client, &server, 502), "{kind}");
        assert_eq!(wire.in_clear(502), 0, "{kind}");
    }
}

/// A daemon that is killed in the end.
struct Daemon(Child);

impl Daemon {
    fn run(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn gate_stands(lab: &Lab) -> bool {
    lab.run(At::GatewayA, "tc filter show dev wan egress").contains("tsg-gate")
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_daemon_without_an_attach_holds_closed() {
    let (lab, router) = (Lab::new(), Router::new());
    lab.know_each_other();
    router.keep_policy("encrypt proto=udp dest_port=502", Fail::Closed);
    let mut command = router.command(&lab, &["run"]);
    // It finds neither nft nor iptables, so there is no way to get at packets.
    let ip = sh("command -v ip");
    let nowhere: &Path = router.0.path();
    let program = Command::new(ip.trim()).get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new(program);
    command.args(arguments).env("PATH", nowhere);
    let _daemon = Daemon::run(command);
    wait_for("the gate", || gate_stands(&lab));
    wait_for("the other port's gate", || arrives(&lab) == [false, true]);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn who_switches_the_gateway_off_has_a_bridge_again() {
    for kind in kinds(&Lab::new()) {
        for by_daemon in [false, true] {
            let (lab, router) = (Lab::new(), Router::new());
            lab.know_each_other();
            let mut gateway = Gateway::start(&lab.namespace(At::GatewayA), kind);
            gateway.install(MODBUS);
            gateway.kill();
            assert_eq!(arrives(&lab), [false, true], "{kind}");
            router.configure(&CONFIG.replace("\toption server '192.0.2.10'\n", ""));
            if by_daemon {
                let _daemon = Daemon::run(router.command(&lab, &["run"]));
                wait_for("the end of the gate", || !gate_stands(&lab));
            } else {
                router.gate_says(&lab, &[], "no key server is set");
            }
            assert_eq!(arrives(&lab), [true, true], "{kind}");
            let left = lab.run(At::GatewayA, "nft list ruleset; iptables-save -t mangle");
            assert!(!left.contains("TSG") && !left.contains("tsg"), "{kind}: {left}");
        }
    }
}
