//! Set-ups on files as OpenWrt makes them.

use super::*;
use crate::arguments::Unchecked;
use crate::uci::{Document, Value as Uci};
use std::fs;
use std::os::unix::fs::symlink;

/// A router whose ports are those of one switch chip, as OpenWrt 23.05 makes its file.
const DSA: &str = "
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	option ipaddr '127.0.0.1'
	option netmask '255.0.0.0'

config globals 'globals'
	option ula_prefix 'fd12:3456:789a::/48'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'
	list ports 'lan3'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
	option ip6assign '60'

config interface 'wan'
	option device 'wan'
	option proto 'dhcp'

config interface 'wan6'
	option device 'wan'
	option proto 'dhcpv6'
";

/// A PC with two network cards.
const TWO_NICS: &str = "
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'eth0'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	list ipaddr '192.168.1.1/24'

config interface 'wan'
	option device 'eth1'
	option proto 'dhcp'
";

/// A router with a switch of the older kind.
const SWCONFIG: &str = "
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	option ipaddr '127.0.0.1'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'eth0.1'
	list ports 'eth1'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'

config device
	option name 'eth0.2'
	option macaddr '02:00:00:00:00:02'

config interface 'wan'
	option device 'eth0.2'
	option proto 'dhcp'

config switch
	option name 'switch0'
	option reset '1'
	option enable_vlan '1'

config switch_vlan
	option device 'switch0'
	option vlan '1'
	option ports '1 2 3 4 0t'
";

const PACKAGE: &str = include_str!("../../../../files/etc/config/tsg");

/// A box with ports and files.
struct Sample {
    folder: tempfile::TempDir,
    files: Files,
}

impl Sample {
    /// `ports`: names, each with the chip it belongs to, or nothing.
    fn new(network: &str, ports: &[(&str, &str)]) -> Self {
        let files = Files { network: parse(network), tsg: parse(PACKAGE), ..Files::default() };
        let this = Self { folder: tempfile::tempdir().unwrap(), files };
        for (port, chip) in ports {
            this.write(&format!("sys/class/net/{port}/type"), "1\n");
            this.write(&format!("sys/class/net/{port}/phys_switch_id"), chip);
        }
        this
    }

    fn dsa() -> Self {
        Self::new(
            DSA,
            &[("lan1", "d0a1"), ("lan2", "d0a1"), ("lan3", "d0a1"), ("wan", "d0a1"), ("eth0", "")],
        )
    }

    fn two_nics() -> Self {
        Self::new(TWO_NICS, &[("eth0", ""), ("eth1", "")])
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn plan(&self, lan: &[&str], wan: &str, address: &str) -> Result<Plan> {
        self.plan_for(&json!({ "lan": lan, "wan": wan, "address": address }))
    }

    fn plan_for(&self, arguments: &Json) -> Result<Plan> {
        plan(&self.files, &Machine::new(self.folder.path()), &asked(arguments)?)
    }

    fn refuses(&self, lan: &[&str], wan: &str, why: &str) {
        let error = format!("{:#}", self.plan(lan, wan, "keep").unwrap_err());
        assert!(error.contains(why), "{why:?} is not in {error:?}");
    }
}

type Json = serde_json::Value;

/// As it comes through a door of the daemon.
fn asked(arguments: &Json) -> Result<Request> {
    let given: Unchecked = serde_json::from_value(arguments.clone())?;
    Request::from_arguments(&given.check(&Request::PARAMETERS)?)
}

fn parse(text: &str) -> Package {
    Package::parse(text.as_bytes()).unwrap()
}

/// The changes as commands, without `uci`.
fn commands(plan: &Plan) -> Vec<String> {
    let commands = plan.draft.changes().iter().map(|change| command(change));
    commands.map(|line| line.strip_prefix("uci ").unwrap().to_owned()).collect()
}

fn has_note(plan: &Plan, expected: &str) {
    assert!(
        plan.notes.iter().any(|note| note.contains(expected)),
        "{expected:?}: {:#?}",
        plan.notes
    );
}

#[test]
fn ports_of_one_chip_stand_alone_and_the_box_is_behind_a_veth() {
    let plan = Sample::dsa().plan(&["lan1"], "wan", "keep").unwrap();
    let expected = [
        "delete 'network.@device[0].ports'",
        "add_list 'network.@device[0].ports'='lan2'",
        "add_list 'network.@device[0].ports'='lan3'",
        "set network.tsg_box='device'",
        "set network.tsg_box.name='box0'",
        "set network.tsg_box.type='veth'",
        "set network.tsg_box.peer_name='box1'",
        "set network.tsg_box_port='interface'",
        "set network.tsg_box_port.device='box1'",
        "set network.tsg_box_port.proto='none'",
        "set network.wan.device='box0'",
        "set network.wan6.device='box0'",
        "set tsg.bridge.standalone='1'",
        "set tsg.bridge.box='box1'",
    ];
    assert_eq!(commands(&plan), expected);
    has_note(&plan, "left in br-lan as before: lan2, lan3");
    has_note(&plan, "stay out of every bridge");
    has_note(&plan, "until the boot loader or the driver keeps them apart");
}

#[test]
fn a_port_that_belongs_nowhere_any_more_is_named() {
    let network = "config device 'br_tsg'\n option name 'br-tsg'\n option type 'bridge'\n \
                   list ports 'eth0'\n list ports 'eth1'\n list ports 'eth2'\n\
                   config interface 'lan'\n option device 'br-tsg'\n option proto 'dhcp'\n";
    let mut three = Sample::new(network, &[("eth0", ""), ("eth1", ""), ("eth2", "")]);
    three.files.tsg = parse(
        "config tsg 'main'\nconfig bridge 'bridge'\n list lan 'eth0'\n list lan 'eth2'\n option wan 'eth1'\n",
    );
    let plan = three.plan(&["eth0"], "eth1", "keep").unwrap();
    has_note(&plan, "in no bridge any more, and cut off from everything: eth2");
    let plan = three.plan(&["eth0", "eth2"], "eth1", "keep").unwrap();
    assert!(!plan.notes.iter().any(|note| note.contains("cut off")), "{:?}", plan.notes);
}

#[test]
fn what_leads_to_the_box_itself_is_no_port() {
    let network = format!(
        "{DSA}\nconfig device 'tsg_box'\n option name 'box0'\n option type 'veth'\n option peer_name 'box1'\n"
    );
    let ports = [("lan1", ""), ("wan", ""), ("box0", ""), ("box1", "")];
    let sample = Sample::new(&network, &ports);
    sample.refuses(&["box0"], "wan", "box0 is one end of a pair of veth devices");
    sample.refuses(&["lan1", "box1"], "wan", "box1 is one end of a pair of veth devices");
}

#[test]
fn two_cards_share_a_bridge_and_the_box_keeps_its_addresses() {
    let mut two = Sample::two_nics();
    two.files.dhcp = parse("config dhcp 'lan'\n option interface 'lan'\n option start '100'\n");
    let plan = two.plan(&["eth0"], "eth1", "keep").unwrap();
    let expected = [
        "delete 'network.@device[0].ports'",
        "set network.br_tsg='device'",
        "set network.br_tsg.name='br-tsg'",
        "set network.br_tsg.type='bridge'",
        "add_list network.br_tsg.ports='eth0'",
        "add_list network.br_tsg.ports='eth1'",
        "set network.lan.device='br-tsg'",
        "set network.wan.device='br-tsg'",
        "delete tsg.bridge.lan",
        "add_list tsg.bridge.lan='eth0'",
        "set tsg.bridge.wan='eth1'",
        "set tsg.bridge.device='br-tsg'",
    ];
    assert_eq!(commands(&plan), expected);
    has_note(&plan, "BEFORE YOU APPLY THIS: the box's DHCP server answers on interface lan");
    two.files.dhcp = parse("config dhcp 'lan'\n option interface 'lan'\n option ignore '1'\n");
    let plan = two.plan(&["eth0"], "eth1", "keep").unwrap();
    let needless = |note: &String| note.contains("DHCP") || note.contains("switch chip");
    assert!(!plan.notes.iter().any(needless), "{:?}", plan.notes);
}

#[test]
fn an_address_goes_to_the_interface_that_the_firewall_lets_in() {
    let two = Sample::two_nics();
    let plan = two.plan(&["eth0"], "eth1", "10.1.2.3/16").unwrap();
    let commands = commands(&plan);
    let about: Vec<&String> =
        commands.iter().filter(|line| line.contains(".lan.") || line.contains(".wan.")).collect();
    let expected = [
        "set network.lan.device='br-tsg'",
        "set network.lan.ipaddr='10.1.2.3/16'",
        "set network.wan.disabled='1'",
    ];
    assert_eq!(about, expected);
    has_note(&plan, "interface lan had the address 192.168.1.1/24");
    has_note(&plan, "no default gateway");
    has_note(&plan, "interface wan is switched off");

    let plan = two.plan(&["eth0"], "eth1", "2001:db8::5/64").unwrap();
    let lan = plan.draft.network.named("interface", "lan").unwrap();
    assert_eq!((lan.text("ip6addr"), lan.text("ipaddr")), (Some("2001:db8::5/64"), None));

    let plan = two
        .plan_for(&json!({ "lan": ["eth0"], "wan": "eth1", "address": "dhcp", "vlan": 10 }))
        .unwrap();
    let lan = plan.draft.network.named("interface", "lan").unwrap();
    assert_eq!((lan.text("device"), lan.text("proto")), (Some("br-tsg.10"), Some("dhcp")));
    assert_eq!(lan.text("ipaddr"), None);
}

#[test]
fn a_box_without_any_address_is_refused() {
    Sample::two_nics().plan(&["eth0"], "eth1", "none").map_or_else(
        |error| assert!(error.to_string().contains("no address at all"), "{error}"),
        |plan| panic!("{:?}", plan.draft.changes()),
    );
    // The other ports of the router still have one.
    let plan = Sample::dsa().plan(&["lan1"], "wan", "none").unwrap();
    has_note(&plan, "reached through lan");
    let commands = commands(&plan);
    assert!(
        commands.iter().all(|line| !line.contains("box0") && !line.contains("tsg.bridge.box")),
        "{commands:?}"
    );
    assert!(commands.contains(&"set network.wan.disabled='1'".to_owned()), "{commands:?}");
    // Ports that nobody uses yet.
    let bare = "config interface 'loopback'\n option device 'lo'\n option proto 'static'\n";
    let bare = Sample::new(bare, &[("eth0", ""), ("eth1", "")]);
    bare.refuses(&["eth0"], "eth1", "no address at all");
    let plan = bare.plan(&["eth0"], "eth1", "dhcp").unwrap();
    has_note(&plan, "uci add_list firewall.@zone[0].network=tsg");
    assert_eq!(
        plan.draft.network.named("interface", "tsg").unwrap().text("device"),
        Some("br-tsg")
    );
}

#[test]
fn an_older_switch_has_its_sides_as_vlans() {
    let old = Sample::new(SWCONFIG, &[("eth0", ""), ("eth0.1", ""), ("eth0.2", ""), ("eth1", "")]);
    let plan = old.plan(&["eth0.1"], "eth0.2", "keep").unwrap();
    has_note(&plan, "left in br-lan as before: eth1");
    has_note(&plan, "swconfig");
    let network = &plan.draft.network;
    let bridge = network.named("device", "br_tsg").unwrap();
    let ports = Uci::List(vec!["eth0.1".to_owned(), "eth0.2".to_owned()]);
    assert_eq!(bridge.value("ports"), Some(&ports));
    assert_eq!(network.named("interface", "wan").unwrap().text("device"), Some("br-tsg"));
    assert_eq!(network.named("interface", "lan").unwrap().text("device"), Some("br-lan"));
}

#[test]
fn a_set_up_can_turn_into_the_other() {
    let mut two = Sample::two_nics();
    let apart = json!({ "lan": ["eth0"], "wan": "eth1", "standalone": true });
    let bridged = json!({ "lan": ["eth0"], "wan": "eth1" });
    for (request, device) in [(&apart, "box0"), (&bridged, "br-tsg"), (&apart, "box0")] {
        let plan = two.plan_for(request).unwrap();
        for name in ["lan", "wan"] {
            let interface = plan.draft.network.named("interface", name).unwrap();
            assert_eq!(interface.text("device"), Some(device), "{name}");
        }
        let bridge = plan.draft.tsg.named("bridge", "bridge").unwrap();
        assert_eq!(bridge.text("standalone").is_some(), device == "box0");
        let path = Path::new("tsg");
        let (_, problems) = crate::config::Config::from_package(path, &plan.draft.tsg);
        assert_eq!(problems, [], "the gateway takes it");
        two.files.network = plan.draft.network.clone();
        two.files.tsg = plan.draft.tsg.clone();
    }
}

#[test]
fn what_is_so_already_is_not_changed() {
    let boxes: [(Sample, &[&str], &str); 2] =
        [(Sample::dsa(), &["lan1", "lan2"], "wan"), (Sample::two_nics(), &["eth0"], "eth1")];
    for (mut this, lan, wan) in boxes {
        for address in ["keep", "dhcp", "10.1.2.3/24"] {
            let plan = this.plan(lan, wan, address).unwrap();
            this.files.network = plan.draft.network.clone();
            this.files.tsg = plan.draft.tsg.clone();
            let again = this.plan(lan, wan, address).unwrap();
            assert_eq!(again.draft.changes(), [[""; 0]; 0], "{wan} {address}");
            has_note(&again, "all of this is so already");
        }
    }
    // All in one bridge, and nothing else: that one is taken.
    let network =
        TWO_NICS.replace("	list ports 'eth0'\n", "	list ports 'eth0'\n	list ports 'eth1'\n");
    let network = network.replace("option device 'eth1'", "option device 'eth2'");
    let plan = Sample::new(&network, &[("eth0", ""), ("eth1", "")])
        .plan(&["eth0"], "eth1", "keep")
        .unwrap();
    assert_eq!(plan.draft.network, parse(&network));
    let bridge = plan.draft.tsg.named("bridge", "bridge").unwrap();
    assert_eq!(bridge.text("device"), Some("br-lan"));
}

#[test]
fn what_cannot_work_is_refused() {
    let dsa = Sample::dsa();
    dsa.refuses(&["lan1", "lan1"], "wan", "lan1 is named twice");
    dsa.refuses(&["wan"], "wan", "wan is named twice");
    dsa.refuses(&[], "wan", "no LAN port is named");
    dsa.refuses(&["../lo"], "wan", "is not the name of a port");
    dsa.refuses(&["lan9"], "wan", "there is no port lan9; there are eth0, lan1, lan2, lan3, wan");
    dsa.write("sys/class/net/eth0/dsa/tagging", "mtk");
    dsa.refuses(&["lan1"], "eth0", "the processor's port of a switch");
    dsa.write("sys/class/net/wlan0/type", "1\n");
    dsa.write("sys/class/net/wlan0/phy80211/x", "");
    dsa.refuses(&["wlan0"], "wan", "wlan0 is a radio");
    dsa.write("sys/class/net/br-lan/type", "1\n");
    dsa.write("sys/class/net/br-lan/bridge/x", "");
    dsa.refuses(&["br-lan"], "wan", "br-lan is a bridge itself");
    dsa.write("sys/class/net/lan2/bonding_slave/x", "");
    dsa.refuses(&["lan2"], "wan", "lan2 is a port of a bond");
    dsa.write("sys/class/net/wg0/type", "65534\n");
    dsa.refuses(&["wg0"], "wan", "wg0 is no Ethernet");
    symlink("x", dsa.folder.path().join("sys/class/net/dangling")).unwrap();
    dsa.refuses(&["dangling"], "wan", "there is no port dangling");
}

#[test]
fn what_else_is_set_up_can_stand_in_the_way() {
    let with = |network: &str| {
        Sample::new(
            network,
            &[("lan1", "d0a1"), ("lan2", "d0a1"), ("lan3", "d0a1"), ("wan", "d0a1")],
        )
    };
    let pppoe =
        DSA.replace("option proto 'dhcp'\n", "option proto 'pppoe'\n	option username 'x'\n");
    with(&pppoe).refuses(&["lan1"], "wan", "interface wan speaks pppoe on wan");
    with(&DSA.replace("option device 'wan'", "option device 'wan.7'")).refuses(
        &["lan1"],
        "wan",
        "uses VLAN 7 of wan",
    );
    let vlans = format!(
        "{DSA}\nconfig bridge-vlan\n option device 'br-lan'\n option vlan '5'\n list ports 'lan1:t'\n"
    );
    with(&vlans).refuses(
        &["lan1"],
        "wan",
        "br-lan filters VLANs, and lan1 is one of its ports in VLAN 5",
    );
    assert!(with(&vlans).plan(&["lan2"], "wan", "keep").is_ok());
    let bond = format!(
        "{DSA}\nconfig device\n option type 'bonding'\n option name 'bond0'\n list ports 'lan1'\n"
    );
    with(&bond).refuses(&["lan1"], "wan", "is a port of a bond");
    let old = "config interface 'lan'\n option type 'bridge'\n option ifname 'lan1'\n option proto 'static'\n";
    with(old).refuses(&["lan1"], "wan", "OpenWrt 19.07");
    let taken = format!("{DSA}\nconfig interface 'tsg_box'\n option proto 'none'\n");
    with(&taken).refuses(
        &["lan1"],
        "wan",
        "section tsg_box of /etc/config/network is a `config interface`",
    );

    let mut radio = Sample::two_nics();
    let wifi = "config wifi-iface 'default_radio0'\n option network 'lan guest'\n";
    radio.files.wireless = parse(wifi);
    radio.refuses(&["eth0"], "eth1", "the radio default_radio0 belongs to interface lan");
    radio.files.wireless = parse(&format!("{wifi} option disabled '1'\n"));
    assert!(radio.plan(&["eth0"], "eth1", "keep").is_ok());

    let mut queue = Sample::dsa();
    queue.files.tsg = parse("config tsg main\n option attach nfqueue-nft\n");
    queue.refuses(&["lan1"], "wan", "`attach` nfqueue-nft needs one");
    let mut two = Sample::dsa();
    two.files.tsg = parse("config bridge a\n list lan lan1\nconfig bridge b\n option wan wan\n");
    two.refuses(&["lan1"], "wan", "stand in 2 sections");
}

#[test]
fn arguments_that_are_none_are_refused() {
    let cases = [
        (json!({ "wan": "wan" }), "argument lan is missing"),
        (json!({ "lan": ["lan1"] }), "argument wan is missing"),
        (json!({ "lan": [1], "wan": "wan" }), "lan must be a list of texts"),
        (json!({ "lan": {}, "wan": "wan" }), "lan must be a list of texts"),
        (json!({ "lan": ["lan1"], "wan": ["wan"] }), "wan must be a text"),
        (json!({ "lan": ["lan1"], "wan": "wan", "address": 4 }), "address must be a text"),
        (
            json!({ "lan": ["lan1"], "wan": "wan", "address": "192.0.2.1" }),
            "allowed are keep, dhcp",
        ),
        (json!({ "lan": ["lan1"], "wan": "wan", "address": "192.0.2.0/24" }), "allowed are"),
        (json!({ "lan": ["lan1"], "wan": "wan", "address": "192.0.2.255/24" }), "allowed are"),
        (json!({ "lan": ["lan1"], "wan": "wan", "address": "192.0.2.1/33" }), "allowed are"),
        (json!({ "lan": ["lan1"], "wan": "wan", "address": "127.0.0.1/8" }), "allowed are"),
        (json!({ "lan": [], "wan": "wan" }), "no LAN port is named"),
        (json!({ "lan": ["lan1"], "wan": "wan", "vlan": 4095 }), "there are 1 to 4094"),
        (json!({ "lan": ["lan1"], "wan": "wan", "vlan": -1 }), "VLANs are 1 to 4094"),
        (json!({ "lan": ["lan1"], "wan": "wan", "vlan": "5" }), "vlan must be a whole number"),
        (json!({ "lan": ["lan1"], "wan": "wan", "standalone": 1 }), "must be true or false"),
        (
            json!({ "lan": ["lan1"], "wan": "wan", "vlan": 5, "address": "none" }),
            "should have none",
        ),
        (json!({ "lan": vec!["x"; 17], "wan": "wan" }), "more than 16"),
    ];
    for (arguments, why) in cases {
        let error = format!("{:#}", asked(&arguments).unwrap_err());
        assert!(error.contains(why), "{arguments}: {error}");
    }
    let known = json!({ "lan": ["lan1"], "wan": "wan", "ubus_rpc_session": "0000" });
    assert_eq!(asked(&known).unwrap().address, Address::Keep);
}

/// Files on disk.
fn on_disk() -> (tempfile::TempDir, Folders) {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders {
        config: folder.path().join("config"),
        state: folder.path().join("state"),
        run: folder.path().join("run"),
    };
    fs::create_dir(&folders.config).unwrap();
    fs::write(folders.config.join("network"), DSA).unwrap();
    fs::write(folders.config.join("tsg"), PACKAGE).unwrap();
    (folder, folders)
}

fn read(folders: &Folders, name: &str) -> String {
    fs::read_to_string(folders.config.join(name)).unwrap()
}

fn deadline(boot: &str, at_ms: u64) -> apply::Deadline {
    apply::Deadline { boot: boot.to_owned(), at_ms }
}

#[test]
fn what_is_applied_is_what_was_planned_and_comes_back_byte_for_byte() {
    let (_folder, folders) = on_disk();
    let plan = Sample::dsa().plan(&["lan1"], "wan", "keep").unwrap();
    apply::apply(&folders, &plan.draft, None).unwrap();
    let network = read(&folders, "network");
    let sorted = |package: &Package| {
        let mut package = package.clone();
        for section in &mut package.sections {
            section.options.sort_by(|a, b| a.name.cmp(&b.name));
        }
        package
    };
    assert_eq!(sorted(&parse(&network)), sorted(&plan.draft.network));
    assert!(network.starts_with(&DSA[..DSA.find("config device").unwrap()]), "{network}");
    let tsg = read(&folders, "tsg");
    assert_eq!(sorted(&parse(&tsg)), sorted(&plan.draft.tsg));
    assert!(tsg.contains("# Too big once sealed"), "comments stay");

    apply::undo(&folders).unwrap();
    assert_eq!(
        (read(&folders, "network").as_str(), read(&folders, "tsg").as_str()),
        (DSA, PACKAGE)
    );
    let error = apply::undo(&folders).unwrap_err().to_string();
    assert!(error.contains("no set-up to undo"), "{error}");
}

#[test]
fn what_nobody_confirms_is_undone_in_time_or_with_the_next_boot() {
    let (_folder, folders) = on_disk();
    let plan = Sample::dsa().plan(&["lan1"], "wan", "keep").unwrap();
    for (now, undone) in [(("a", 999), false), (("a", 1_000), true), (("b", 1), true)] {
        apply::apply(&folders, &plan.draft, Some(deadline("a", 1_000))).unwrap();
        assert_eq!(apply::expire(&folders, &deadline(now.0, now.1)).unwrap(), undone, "{now:?}");
        assert_eq!(read(&folders, "network") == DSA, undone);
        if !undone {
            let error = apply::apply(&folders, &plan.draft, None).unwrap_err().to_string();
            assert!(error.contains("waits to be confirmed"), "{error}");
            apply::undo(&folders).unwrap();
        }
    }
    apply::apply(&folders, &plan.draft, Some(deadline("a", 1_000))).unwrap();
    apply::confirm(&folders).unwrap();
    assert!(!apply::expire(&folders, &deadline("b", 5_000)).unwrap());
    assert_ne!(read(&folders, "network"), DSA);
    assert!(apply::confirm(&folders).is_err(), "nothing waits any more");
    apply::undo(&folders).unwrap();
    assert_eq!(read(&folders, "network"), DSA);
}

#[test]
fn changes_of_others_are_not_lost() {
    let (folder, folders) = on_disk();
    let plan = Sample::dsa().plan(&["lan1"], "wan", "keep").unwrap();
    fs::write(folders.config.join("network"), format!("{DSA}\nconfig route\n")).unwrap();
    let error = apply::apply(&folders, &plan.draft, None).unwrap_err().to_string();
    assert!(error.contains("was changed meanwhile"), "{error}");
    assert_eq!(read(&folders, "tsg"), PACKAGE);

    fs::write(folders.config.join("network"), DSA).unwrap();
    apply::apply(&folders, &plan.draft, None).unwrap();
    let after = read(&folders, "network");
    fs::write(folders.config.join("tsg"), "config tsg main\n").unwrap();
    let error = apply::undo(&folders).unwrap_err().to_string();
    assert!(error.contains("tsg was changed since"), "{error}");
    assert_eq!(read(&folders, "network"), after, "all or none");

    let staged = folder.path().join("staged");
    apply::nothing_staged(&staged).unwrap();
    fs::create_dir(&staged).unwrap();
    fs::write(staged.join("network"), "").unwrap();
    apply::nothing_staged(&staged).unwrap();
    fs::write(staged.join("network"), "network.lan.proto='dhcp'\n").unwrap();
    assert!(
        apply::nothing_staged(&staged).unwrap_err().to_string().contains("uci changes network")
    );
}

/// As after `tsg enrol`, which comes between a set-up and the wish to undo it.
#[test]
fn a_server_that_came_since_stays() {
    let (_folder, folders) = on_disk();
    let plan = Sample::dsa().plan(&["lan1", "lan2"], "wan", "keep").unwrap();
    apply::apply(&folders, &plan.draft, None).unwrap();
    let server = "option server 'tcp://192.0.2.10:5555'";
    let enrol = |text: &str| {
        text.replacen("\n\toption enabled", &format!("\n\t{server}\n\toption enabled"), 1)
    };
    fs::write(folders.config.join("tsg"), enrol(&read(&folders, "tsg"))).unwrap();
    apply::undo(&folders).unwrap();
    assert_eq!(read(&folders, "network"), DSA);
    let tsg = read(&folders, "tsg");
    assert!(tsg.contains(server) && tsg.contains("# Too big once sealed"), "{tsg}");
    assert_eq!(parse(&tsg).named("bridge", "bridge"), parse(PACKAGE).named("bridge", "bridge"));
}

#[test]
fn an_anonymous_section_is_changed_in_place() {
    let text = "config device\n\toption name 'a' # one\nconfig device 'named'\n\toption name 'b'\n\
                config device\n\toption name 'c'\n\nconfig device 'named'\n\toption mtu '9'\n";
    let mut document = Document::parse(text.as_bytes()).unwrap();
    document.set_in(2, "device", None, "name", Some("d".into()));
    document.set_in(1, "device", Some("named"), "mtu", None);
    document.set_in(0, "device", None, "mtu", Some("1500".into()));
    document.set_in(3, "device", None, "name", Some("e".into()));
    let expected = "config device\n\toption name 'a' # one\n\toption mtu '1500'\nconfig device 'named'\n\
                    \toption name 'b'\nconfig device\n\toption name 'd'\n\nconfig device 'named'\n\
                    \nconfig device\n\toption name 'e'\n";
    assert_eq!(document.text(), expected);
}
