//! `/etc/config/tsg` as the gateway understands it, and what it says when something in it is wrong.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{collections::BTreeMap, path::Path};

use log::LevelFilter;
use tsg_bridge::{
    config::{Attach, Config, Oversize, Problem, Severity},
    offloads::Feature,
    uci::Package,
};
use tsg_control::group::Fail;

const FILE: &str = "/etc/config/tsg";
const KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

fn read(text: &str) -> (Config, Vec<Problem>) {
    let package = Package::parse(text.as_bytes()).unwrap();
    Config::from_package(Path::new(FILE), &package)
}

fn errors(problems: &[Problem]) -> Vec<String> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

fn whole() -> String {
    format!(
        "
config tsg 'main'
	option enabled 'yes'
	list server 'tcp://192.0.2.10:5555'
	list server '[2001:db8::10]'
	option server_key '{KEY}'
	option name 'Halle 3, Süd'
	option attach 'nfqueue-iptables'
	option oversize 'fragment'
	option path_mtu '1400'
	option cache_keys '1'
	option log_level 'debug'
	option fail 'open'

config bridge
	list lan 'lan1'
	list lan 'lan2'
	option wan 'wan'
	option device 'br-plant'

config rule
	option name 'modbus'
	option action 'encrypt'
	option proto 'tcp udp'
	list src_ip '192.0.2.0/24'
	list src_ip '2001:db8::/64'
	option dest_ip '192.0.2.7'
	option src_port '1024-65535'
	list dest_port '502'
	list dest_port '44818-44820'

config rule 'off'
	option enabled '0'
	option action 'drop'
"
    )
}

#[test]
fn every_option_is_taken() {
    let (config, problems) = read(&whole());
    assert_eq!(problems, []);
    assert!(config.enabled && config.cache_keys && !config.is_idle());
    let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["tcp://192.0.2.10:5555", "tcp://[2001:db8::10]:5555"]);
    assert_eq!(config.server_key, Some(KEY.parse().unwrap()));
    assert_eq!(config.name.as_deref(), Some("Halle 3, Süd"));
    assert_eq!(config.attach, Attach::NfqueueIptables);
    assert_eq!(config.oversize, Oversize::Fragment);
    assert_eq!(config.path_mtu, Some(1400));
    assert_eq!(config.log_level, LevelFilter::Debug);
    assert_eq!(config.fail, Fail::Open);
    assert_eq!(config.bridges[0].lan, ["lan1", "lan2"]);
    assert_eq!(config.bridges[0].wan, "wan");
    assert_eq!(config.bridges[0].device.as_deref(), Some("br-plant"));
    let rule = "encrypt name=modbus proto=tcp,udp src_ip=192.0.2.0/24,2001:db8::/64 dest_ip=192.0.2.7 \
                src_port=1024-65535 dest_port=502,44818-44820";
    assert_eq!(config.rules, [rule.parse().unwrap()]);
}

#[test]
fn standalone_ports_go_with_ingress_and_without_a_bridge() {
    let text = |attach: &str, bridge: &str| {
        format!(
            "config tsg main\n option attach {attach}\nconfig bridge\n list lan lan1\n option wan wan\n{bridge}"
        )
    };
    let (config, problems) = read(&text("auto", " option standalone 1\n option box box1\n"));
    assert_eq!(problems, []);
    assert!(config.bridges[0].standalone);
    assert_eq!(config.bridges[0].box_port.as_deref(), Some("box1"));
    let cases = [
        ("nfqueue", "option standalone 1", "option standalone: "),
        ("ingress", "option standalone 1\n option device br-lan", "option device: "),
        ("ingress", "option box box1", "option box: "),
        ("ingress", "option standalone 1\n option box wan", "option box: "),
    ];
    for (attach, bridge, expected) in cases {
        let (_, problems) = read(&text(attach, bridge));
        let errors = errors(&problems);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{bridge}: {errors:?}");
    }
}

#[test]
fn a_fresh_router_is_idle() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../files/etc/config/tsg");
    let (config, warnings) = Config::load(Path::new(shipped)).unwrap();
    assert_eq!(warnings, []);
    assert!(config.enabled && config.is_idle());
    assert_eq!(config.fail, Fail::Closed);
}

/// Each option set to something wrong, in turn: the error names the file, the section and the option, shows the
/// value, and is the only one.
#[test]
fn every_wrong_value_is_named() {
    let cases = [
        ("main", "enabled", "maybe"),
        ("main", "server", "udp://192.0.2.1:1"),
        ("main", "server", "tcp://192.0.2.1:70000"),
        ("main", "server_key", "AAAA"),
        ("main", "server_key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("main", "name", " "),
        ("main", "name", "a\nb"),
        ("main", "attach", "tap"),
        ("main", "oversize", "drop"),
        ("main", "path_mtu", "100"),
        ("main", "path_mtu", "+1500"),
        ("main", "path_mtu", "99999"),
        ("main", "cache_keys", "2"),
        ("main", "log_level", "loud"),
        ("main", "fail", "Open"),
        ("@bridge[0]", "lan", "two/ports"),
        ("@bridge[0]", "wan", "averyveryverylongname"),
        ("@bridge[0]", "wan", "lan1"),
        ("@bridge[0]", "device", "$(reboot)"),
        ("@bridge[0]", "standalone", "yes, please"),
        ("@bridge[0]", "box", "two ports"),
        ("@rule[0]", "action", "seal"),
        ("@rule[0]", "proto", "modbus"),
        ("@rule[0]", "src_ip", "192.0.2.0/33"),
        ("@rule[0]", "dest_ip", "plc"),
        ("@rule[0]", "src_port", "70000"),
        ("@rule[0]", "dest_port", "9-5"),
        ("@rule[0]", "enabled", "perhaps"),
    ];
    for (section, option, value) in cases {
        let mut package = Package::parse(whole().as_bytes()).unwrap();
        let kind = section.trim_matches(|c: char| !c.is_alphabetic());
        let kind = if kind == "main" { "tsg" } else { kind };
        let target = package.sections.iter_mut().find(|s| s.kind == kind).unwrap();
        target.options.retain(|opt| opt.name != option);
        target.options.push(tsg_bridge::uci::Opt { name: option.to_owned(), value: value.into() });
        let (_, problems) = Config::from_package(Path::new(FILE), &package);
        let errors = errors(&problems);
        assert_eq!(errors.len(), 1, "{option}={value}: {errors:?}");
        let start = format!("{FILE}: section {section}: option {option}: ");
        assert!(errors[0].starts_with(&start), "{}", errors[0]);
        assert!(errors[0].contains(&format!("{:?}", value.trim())), "{}", errors[0]);
    }
    println!("{} wrong values named", cases.len());
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let (_, problems) = read(
        "
config tsg 'main'
	option server 'nonsense::'
	option attach 'x'
	option colour 'red'
config bridge
	option wan 'wan'
config rule
	option proto 'tcp'
config bride
",
    );
    let errors = errors(&problems);
    let expected = [
        "section main: option server:",
        "section main: option attach:",
        "section @bridge[0]: option lan: not set",
        "section @rule[0]: option action: not set",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
    let warnings: Vec<String> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Warning)
        .map(ToString::to_string)
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0].contains("section main: option colour:"), "{}", warnings[0]);
    assert!(warnings[1].contains("`config bride` is not known"), "{}", warnings[1]);
}

#[test]
fn what_must_go_together_is_checked_together() {
    let cases = [
        (
            "config tsg main\n option server 192.0.2.1\nconfig bridge\n option lan a\n option wan b",
            "option server_key: not set",
        ),
        (
            "config tsg main\n option server 192.0.2.1\nconfig bridge\n option lan a\n option wan b",
            "`tsg enrol`",
        ),
        ("config tsg other", "`config tsg 'main'` is missing"),
        (
            "config tsg main\nconfig rule\n option action encrypt\n option dest_port 502",
            "section @rule[0]: a rule with ports needs",
        ),
        (
            "config tsg main\nconfig bridge x\n list lan a\n option wan b\nconfig bridge y\n list lan b\n option wan c",
            "section y: option lan",
        ),
        (
            "config tsg main\nconfig rule\n option action drop\n list proto any\n list proto tcp",
            "option proto: \"any\" is not allowed; allowed: this word alone",
        ),
        (
            "config tsg main\nconfig rule\n option action drop\n option dest_ip '::1,fe80::/129'",
            "option dest_ip: \"fe80::/129\" is not allowed; allowed: a block: its length goes",
        ),
        ("config tsg main\n list fail open\n list fail closed", "option fail: \"open closed\""),
    ];
    for (text, expected) in cases {
        let (_, problems) = read(text);
        let errors = errors(&problems);
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
        assert!(errors[0].contains(expected), "{text}: {}", errors[0]);
    }
    let (_, problems) =
        read(&format!("config tsg main\n option server 192.0.2.1\n option server_key '{KEY}'"));
    let errors = errors(&problems);
    assert!(errors.len() == 1 && errors[0].contains("`config bridge`"), "{errors:?}");
}

#[test]
fn a_file_of_nonsense_is_read_in_bounded_room() {
    let text = "config tsg main\n".to_owned() + &"config x\n option y z\n".repeat(5_000);
    let (_, problems) = read(&text);
    assert_eq!(problems.len(), 100);
    let text = format!("{text} config rule\n option action nonsense\n");
    let (_, problems) = read(&text);
    assert_eq!(errors(&problems).len(), 1, "warnings must not hide an error");
}

#[test]
fn offloads_are_taken_and_what_is_wrong_with_them_is_named() {
    let port = |options: &str| {
        format!(
            "config tsg main\nconfig bridge b\n list lan lan1\n option wan wan\nconfig port 'x'\n{options}"
        )
    };
    let (config, problems) =
        read(&port(" option device lan1\n option gro 0\n option rx_gro_list off\n option tso 1\n"));
    assert_eq!(problems, []);
    let offloads = [(Feature::Gro, false), (Feature::Tso, true), (Feature::RxGroList, false)];
    assert_eq!(config.ports.len(), 1);
    assert_eq!((config.ports[0].section.as_str(), config.ports[0].device.as_str()), ("x", "lan1"));
    assert_eq!(config.ports[0].offloads, BTreeMap::from(offloads));

    let place = "/etc/config/tsg: section x: option";
    let cases = [
        (
            " option device lan1\n option grow 0\n",
            "grow: this option is not known; known are device, gro",
        ),
        (" option gro 0\n", "device: not set"),
        (" option device 'a b'\n", "device: \"a b\" is not allowed"),
        (
            " option device lan1\n option gso maybe\n",
            "gso: \"maybe\" is not allowed; allowed: 0 or 1",
        ),
        (
            " option device wan\n option lro 1\n",
            "lro: \"1\" is not allowed; allowed: 0: what LRO has joined",
        ),
        (
            " option device lan1\nconfig port y\n option device lan1\n",
            "device: \"lan1\" is not allowed; allowed: each port once, and section x has this one",
        ),
    ];
    for (options, expected) in cases {
        let errors = errors(&read(&port(options)).1);
        let place = if options.contains("port y") {
            place.replace("section x", "section y")
        } else {
            place.to_owned()
        };
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{place} {expected}")), "{options}: {errors:?}");
    }
    let (_, problems) = read(&port(" option device eth9\n option lro 1\n"));
    assert_eq!(problems, [], "a port that is not the gateway's");
}
