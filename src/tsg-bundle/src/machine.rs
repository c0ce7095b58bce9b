//! What is asked of every machine, gateway or key server: memory, processes, network, kernel, log.
//!
//! Other people's processes are named without their arguments, in which passwords are.

use super::{Bundle, Topic};
use anyhow::Result;
use nix::ifaddrs::getifaddrs;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// More interfaces than this are not looked at.
const MOST_INTERFACES: usize = 64;

/// More threads than this of one process are not shown.
const MOST_THREADS: usize = 64;

/// What an interface says of itself in /sys.
const OF_AN_INTERFACE: [&str; 16] = [
    "operstate",
    "carrier",
    "carrier_changes",
    "address",
    "mtu",
    "speed",
    "duplex",
    "flags",
    "type",
    "ifindex",
    "iflink",
    "phys_switch_id",
    "phys_port_name",
    "gro_flush_timeout",
    "brport/state",
    "brport/isolated",
];

/// Where other systems than OpenWrt and those with systemd keep the log.
const LOGS: [&str; 3] = ["/var/log/messages", "/var/log/syslog", "/var/log/daemon.log"];

/// Everything below, for a daemon of this name.
///
/// # Errors
/// The bundle cannot be written.
pub fn add_all(bundle: &mut Bundle<'_>, program: &str) -> Result<()> {
    bundle.add("log.txt", "the log of the daemon", &mut |topic| log(topic, program))?;
    bundle.add(
        "processes.txt",
        "the daemon's threads and where they wait; all processes by name",
        &mut |topic| {
            processes(topic, program);
        },
    )?;
    bundle.add("memory.txt", "memory, load, uptime, disks", &mut memory)?;
    bundle.add(
        "network.txt",
        "addresses, routes, neighbours, bridges, connections",
        &mut network,
    )?;
    bundle.add("interfaces.txt", "the interfaces by /sys, and what they count", &mut interfaces)?;
    bundle.add("counters.txt", "what the kernel's network counts", &mut counters)?;
    bundle.add("rules.txt", "rules of netfilter and traffic control", &mut rules)?;
    bundle.add("kernel.txt", "the kernel's last messages, its modules", &mut kernel)
}

/// Kernel and system, in a few lines.
pub fn system(topic: &mut Topic) {
    topic.show("/proc/version");
    for path in
        ["/etc/openwrt_release", "/etc/os-release", "/tmp/sysinfo/model", "/tmp/sysinfo/board_name"]
    {
        topic.show_if_there(path);
    }
}

/// What can be read at once and says most, for a place with little room: name and content.
pub fn brief() -> Vec<(&'static str, String)> {
    let files = [
        ("kernel", "/proc/version"),
        ("system", "/etc/openwrt_release"),
        ("uptime", "/proc/uptime"),
        ("load", "/proc/loadavg"),
        ("memory", "/proc/meminfo"),
        ("interfaces", "/proc/net/dev"),
        ("queues", "/proc/net/netfilter/nfnetlink_queue"),
    ];
    let read = |(name, path)| Some((name, fs::read_to_string(path).ok()?));
    files.into_iter().filter_map(read).collect()
}

fn log(topic: &mut Topic, program: &str) {
    if Path::new("/sbin/logread").exists() {
        topic.tail(&["logread", "-e", program]);
    } else {
        topic.tail(&[
            "journalctl",
            "--quiet",
            "--no-pager",
            "--lines",
            "3000",
            "--identifier",
            program,
        ]);
    }
    for path in LOGS.into_iter().filter(|path| Path::new(path).exists()) {
        match topic.read(path) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                let ours: Vec<&str> = text.lines().filter(|line| line.contains(program)).collect();
                topic.say(&format!("{path}: lines with {program}"), ours.join("\n"));
            }
            Err(why) => topic.miss(path, &why),
        }
    }
}

fn processes(topic: &mut Topic, program: &str) {
    let mut all = String::new();
    for process in numbers("/proc") {
        let value = |name: &str| line(&format!("/proc/{process}/{name}"));
        let Some(name) = value("comm") else { continue };
        let state = value("stat").unwrap_or_default();
        let state =
            state.rsplit(") ").next().and_then(|rest| rest.get(..1)).unwrap_or("?").to_owned();
        let pages = value("statm").unwrap_or_default();
        let resident: u64 =
            pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        let _ = writeln!(all, "{process:>7} {state} {:>8} pages  {name}", resident);
        if name == program {
            own_process(topic, process);
        }
    }
    topic.say("all processes: number, state, memory, name", all);
}

/// One of the daemon's: for one that hangs, what each thread waits for.
fn own_process(topic: &mut Topic, process: u32) {
    for name in ["status", "limits"] {
        topic.show(format!("/proc/{process}/{name}"));
    }
    let mut text = String::new();
    for thread in numbers(&format!("/proc/{process}/task")).into_iter().take(MOST_THREADS) {
        let folder = format!("/proc/{process}/task/{thread}");
        let value = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{thread} {}: waits in {}, system call {}{}",
            value("comm").trim_end(),
            value("wchan"),
            value("syscall").trim_end(),
            value("stack").lines().fold(String::new(), |all, line| all + "\n    " + line),
        );
    }
    topic.say(&format!("threads of {process}"), text);
    let files = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    topic.say(&format!("open files of {process}"), files.to_string());
}

fn memory(topic: &mut Topic) {
    for path in ["/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/stat"] {
        topic.show(path);
    }
    for path in ["/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"] {
        topic.show_if_there(path);
    }
    topic.run(&["df"]);
    topic.run(&["df", "-i"]);
    topic.show("/proc/mounts");
}

fn network(topic: &mut Topic) {
    topic.either(&[
        &["ip", "-details", "-statistics", "link"],
        &["ip", "link"],
        &["ifconfig", "-a"],
    ]);
    topic.say("addresses", addresses());
    topic.either(&[&["ip", "route", "show", "table", "all"], &["ip", "route"], &["route", "-n"]]);
    topic.either(&[
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "-6", "route"],
        &["route", "-A", "inet6"],
    ]);
    topic.run(&["ip", "rule"]);
    topic.either(&[&["ip", "neighbour"], &["ip", "neigh"], &["cat", "/proc/net/arp"]]);
    topic.either(&[&["bridge", "-details", "link"], &["brctl", "show"]]);
    topic.run(&["bridge", "vlan"]);
    topic.run(&["bridge", "fdb"]);
    topic.either(&[
        &["ss", "-tanp"],
        &["netstat", "-tan"],
        &["cat", "/proc/net/tcp", "/proc/net/tcp6"],
    ]);
    topic.show_if_there("/etc/resolv.conf");
}

fn addresses() -> String {
    let Ok(all) = getifaddrs() else { return "cannot be read".to_owned() };
    let mut text = String::new();
    for one in all {
        if let Some(address) =
            one.address.filter(|a| a.as_sockaddr_in().is_some() || a.as_sockaddr_in6().is_some())
        {
            let mask = one.netmask.map_or_else(String::new, |mask| mask.to_string());
            let _ = writeln!(text, "{} {address} mask {mask}", one.interface_name);
        }
    }
    text
}

/// Names of all network interfaces.
pub fn interface_names() -> Vec<String> {
    let mut names = file_names("/sys/class/net");
    names.truncate(MOST_INTERFACES);
    names
}

fn interfaces(topic: &mut Topic) {
    let work = || {
        let mut text = String::new();
        for name in interface_names() {
            let folder = format!("/sys/class/net/{name}");
            let _ = writeln!(text, "== {name}");
            if let Ok(bridge) = fs::read_link(format!("{folder}/brport/bridge")) {
                let _ = writeln!(
                    text,
                    "bridge {}",
                    bridge.file_name().unwrap_or_default().to_string_lossy()
                );
            }
            for value in OF_AN_INTERFACE {
                if let Some(found) = line(&format!("{folder}/{value}")) {
                    let _ = writeln!(text, "{value} {found}");
                }
            }
            for folder in [format!("{folder}/statistics"), format!("{folder}/bridge")] {
                for value in file_names(&folder) {
                    if let Some(found) =
                        line(&format!("{folder}/{value}")).filter(|found| found != "0")
                    {
                        let _ = writeln!(text, "{value} {found}");
                    }
                }
            }
        }
        text
    };
    let text = topic.within("/sys/class/net", Box::new(work));
    topic.put(text);
}

fn counters(topic: &mut Topic) {
    for path in [
        "/proc/net/dev",
        "/proc/net/snmp",
        "/proc/net/netstat",
        "/proc/net/softnet_stat",
        "/proc/interrupts",
    ] {
        topic.show(path);
    }
    for path in ["/proc/net/netfilter/nfnetlink_queue", "/proc/net/stat/nf_conntrack"] {
        topic.show_if_there(path);
    }
    for name in ["nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_buckets"] {
        topic.show_if_there(format!("/proc/sys/net/netfilter/{name}"));
    }
    for name in file_names("/proc/sys/net/bridge") {
        topic.show(format!("/proc/sys/net/bridge/{name}"));
    }
}

fn rules(topic: &mut Topic) {
    topic.run(&["nft", "-a", "list", "ruleset"]);
    topic.run(&["iptables-save", "-c"]);
    topic.run(&["ip6tables-save", "-c"]);
    topic.run(&["tc", "-s", "qdisc", "show"]);
    for name in interface_names().iter().filter(|name| *name != "lo") {
        topic.run(&["tc", "-s", "filter", "show", "dev", name, "egress"]);
        topic.run(&["tc", "-s", "filter", "show", "dev", name, "ingress"]);
    }
}

fn kernel(topic: &mut Topic) {
    topic.tail(&["dmesg"]);
    topic.show("/proc/modules");
}

fn numbers(folder: &str) -> Vec<u32> {
    file_names(folder).iter().filter_map(|name| name.parse().ok()).collect()
}

fn file_names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned()).filter(|text| !text.is_empty())
}
