//! Offloads of real veth devices, in a network namespace of the test's own thread.

use super::*;
use crate::config::{Attach, Bridge, Config, Port};
use crate::folders::Folders;
use std::process::Command;

fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// `near` and `far`, and folders.
fn pair() -> (tempfile::TempDir, Folders) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    sh("ip link add near type veth peer name far; ip link set near up; ip link set far up");
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    (folder, Folders { run, ..Folders::default() })
}

/// `ethtool -k`: the word behind a feature's name.
fn ethtool(port: &str, feature: &str) -> String {
    let all = sh(&format!("ethtool -k {port}"));
    let line = all.lines().find_map(|line| line.trim().strip_prefix(&format!("{feature}: ")));
    line.unwrap_or_else(|| panic!("no {feature} in {all}")).to_owned()
}

fn wanted(port: &str, features: &[(Feature, bool)]) -> Wanted {
    let wishes = features.iter().map(|&(feature, on)| (feature, Wish::Must(on)));
    Wanted(BTreeMap::from([(port.to_owned(), wishes.collect())]))
}

#[test]
fn a_feature_of_several_bits_is_on_if_one_is_and_fixed_if_all_are() {
    let bit = |name: &str, changeable, active| sys::Bit {
        name: name.to_owned(),
        changeable,
        requested: active,
        active,
    };
    let bits = [
        bit("rx-gro", true, true),
        bit("tx-tcp-segmentation", false, false),
        bit("tx-tcp6-segmentation", true, true),
        bit("rx-lro", false, false),
        bit("tx-generic-segmentation", false, true),
    ];
    let now = settings(&bits);
    let expected = [
        (Feature::Gro, true, false),
        (Feature::Tso, true, false),
        (Feature::Lro, false, true),
        (Feature::Gso, true, true),
        (Feature::RxGroList, false, true),
        (Feature::RxUdpGroForwarding, false, true),
    ];
    for (feature, on, fixed) in expected {
        assert_eq!(now[&feature], Setting { on, fixed }, "{feature:?}");
    }
}

#[test]
fn a_gateway_wants_no_lro_where_it_works_and_speed_with_ingress() {
    let bridge = |standalone| Bridge {
        lan: vec!["lan1".to_owned()],
        wan: "wan".to_owned(),
        standalone,
        ..Bridge::default()
    };
    let port = Port {
        section: "lan1".to_owned(),
        device: "lan1".to_owned(),
        offloads: BTreeMap::from([(Feature::Gro, false)]),
    };
    let server = vec!["192.0.2.1".parse().unwrap()];
    let config = |servers: &Vec<_>, standalone, enabled| Config {
        enabled,
        servers: servers.clone(),
        bridges: vec![bridge(standalone)],
        ports: vec![port.clone()],
        ..Config::default()
    };
    let no_lro = (Feature::Lro, Wish::Must(false));
    let no_gro = (Feature::Gro, Wish::Must(false));
    let of = |lan1: &[_], wan: &[_]| {
        let port = |name: &str, wishes: &[_]| (name.to_owned(), wishes.iter().copied().collect());
        BTreeMap::from([port("lan1", lan1), port("wan", wan)])
    };
    let both = of(&[no_gro, no_lro], &[no_lro]);
    let lro_alone = of(&[no_lro], &[no_lro]);
    assert_eq!(Wanted::of(&config(&server, false, true)).0, both);
    assert_eq!(Wanted::of(&config(&Vec::new(), true, true)).0, both, "idle, but connected");
    let no_lists = (Feature::RxGroList, Wish::Rather(false));
    let trains = (Feature::RxUdpGroForwarding, Wish::Rather(true));
    let quick = of(&[no_gro, no_lro, no_lists], &[no_lro, no_lists, trains]);
    assert_eq!(Wanted::of(&config(&server, true, true)).0, quick);
    let mut ingress = config(&server, false, true);
    ingress.attach = Attach::Ingress;
    assert_eq!(Wanted::of(&ingress).0, quick);
    ingress.ports[0].offloads = BTreeMap::from([(Feature::RxGroList, true)]);
    let asked = of(
        &[no_lro, (Feature::RxGroList, Wish::Must(true))],
        &quick["wan"].clone().into_iter().collect::<Vec<_>>(),
    );
    assert_eq!(Wanted::of(&ingress).0, asked, "who asks for it gets it");
    let idle = Wanted::of(&config(&Vec::new(), false, true));
    assert_eq!(idle, wanted("lan1", &[(Feature::Gro, false)]), "a router's ports are not ours");
    assert_eq!(Wanted::of(&config(&server, true, false)).0, lro_alone);
    assert_eq!(Wanted::of(&config(&server, false, false)), Wanted::default());
    assert_eq!(Wanted::after(&config(&server, true, true)).0, lro_alone);
    assert_eq!(Wanted::after(&config(&server, false, true)), Wanted::default());
}

#[test]
#[ignore = "needs root, ip and ethtool"]
fn what_the_kernel_says_is_what_ethtool_says() {
    let _lab = pair();
    let now = read("near").unwrap();
    let names = [
        (Feature::Gro, "generic-receive-offload"),
        (Feature::Lro, "large-receive-offload"),
        (Feature::Tso, "tcp-segmentation-offload"),
        (Feature::Gso, "generic-segmentation-offload"),
        (Feature::RxGroList, "rx-gro-list"),
        (Feature::RxUdpGroForwarding, "rx-udp-gro-forwarding"),
    ];
    for (feature, name) in names {
        let says = ethtool("near", name);
        let setting = now[&feature];
        assert_eq!(setting.on, says.starts_with("on"), "{feature:?}: {says}");
        assert_eq!(setting.fixed, says.ends_with("[fixed]"), "{feature:?}: {says}");
    }
    assert!(now[&Feature::Lro].fixed && now[&Feature::Tso].on && !now[&Feature::Gro].fixed);
    assert!(read("nobody").is_err());
}

#[test]
#[ignore = "needs root, ip and ethtool"]
fn what_was_there_comes_back() {
    let (_folder, folders) = pair();
    sh("ethtool -K near gro on rx-gro-list off tso on");
    sh("ethtool -K near tx-tcp-mangleid-segmentation off");
    let off = [(Feature::Gro, false), (Feature::Tso, false), (Feature::RxGroList, true)];
    assert_eq!(apply(&folders, &wanted("near", &off)).unwrap(), [""; 0]);
    let now = |feature| ethtool("near", feature);
    assert_eq!(now("generic-receive-offload"), "off");
    assert_eq!(now("tcp-segmentation-offload"), "off");
    assert_eq!(now("rx-gro-list"), "on");
    // Again, as the daemon and the hotplug script do: what is kept is still what was first.
    apply(&folders, &wanted("near", &off)).unwrap();

    // One option is removed.
    apply(&folders, &wanted("near", &[(Feature::Tso, false)])).unwrap();
    assert_eq!(now("generic-receive-offload"), "on");
    assert_eq!(now("rx-gro-list"), "off");
    assert_eq!(now("tcp-segmentation-offload"), "off");
    assert_eq!(restore(&folders).unwrap(), [""; 0]);
    assert_eq!(now("tcp-segmentation-offload"), "on");
    assert_eq!(now("tx-tcp-mangleid-segmentation"), "off");
    assert!(!folders.run.join("offloads.json").exists());

    // What was off before, and is switched on, goes off again.
    sh("ethtool -K near gro off tso off tx-tcp-mangleid-segmentation off");
    let on = [(Feature::Gro, true), (Feature::Tso, true)];
    apply(&folders, &wanted("near", &on)).unwrap();
    assert_eq!(now("generic-receive-offload"), "on");
    assert_eq!(now("tx-tcp6-segmentation"), "on");
    assert_eq!(now("tx-tcp-mangleid-segmentation"), "off", "identifications stay as they are");
    restore(&folders).unwrap();
    assert_eq!(now("generic-receive-offload"), "off");
    assert_eq!(now("tx-tcp6-segmentation"), "off");
}

#[test]
#[ignore = "needs root, ip and ethtool"]
fn a_port_that_comes_back_is_a_new_one() {
    let (_folder, folders) = pair();
    let off = wanted("near", &[(Feature::Gro, false)]);
    sh("ethtool -K near gro on");
    apply(&folders, &off).unwrap();
    sh("ip link del near");
    assert_eq!(apply(&folders, &off).unwrap(), [""; 0], "a port that is not there is no trouble");
    sh("ip link add near type veth peer name far; ethtool -K near gro off");
    restore(&folders).unwrap();
    assert_eq!(ethtool("near", "generic-receive-offload"), "off", "this one was never changed");
    sh("ethtool -K near gro on");
    apply(&folders, &off).unwrap();
    assert_eq!(ethtool("near", "generic-receive-offload"), "off");
    restore(&folders).unwrap();
    assert_eq!(ethtool("near", "generic-receive-offload"), "on");
}

#[test]
#[ignore = "needs root, ip and ethtool"]
fn what_is_fixed_is_said_and_what_another_boot_kept_is_not_believed() {
    let (_folder, folders) = pair();
    let troubles = apply(&folders, &wanted("near", &[(Feature::Lro, true)])).unwrap();
    assert_eq!(troubles, ["near: lro is off, and its driver lets nobody change that"]);

    sh("ethtool -K near gro on");
    apply(&folders, &wanted("near", &[(Feature::Gro, false)])).unwrap();
    let file = folders.run.join("offloads.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&file, kept.replace(boot.trim(), "an-earlier-boot")).unwrap();
    restore(&folders).unwrap();
    assert_eq!(ethtool("near", "generic-receive-offload"), "off");

    // What would only be faster is no trouble.
    let rather = BTreeMap::from([(Feature::Lro, Wish::Rather(true))]);
    let wanted = Wanted(BTreeMap::from([("near".to_owned(), rather)]));
    assert_eq!(apply(&folders, &wanted).unwrap(), [""; 0]);

    // Damaged: nothing is known, and nothing breaks.
    std::fs::write(&file, "{\"boot\":").unwrap();
    restore(&folders).unwrap();
    assert_eq!(ethtool("near", "generic-receive-offload"), "off");
}
