//! The rules as input of `nft -f`: `table bridge tsg-WAN` for the queue, `table netdev tsg-WAN` for the
//! ingress hooks, where WAN is the port's name. One text is one transaction.

mod alive;
mod cross;

use super::always;
use super::passes::{Class, Condition, Pass, Then, Version, passes};
use super::{Plan, Queues, iptables::may_bypass};
use crate::attach::Ports;
use core::fmt::{Display, Write as _};
use core::net::IpAddr;
use cross::Cross;
use tsg_control::group::{Mode, NonIp};
use tsg_control::policy::{Action, Block, Ports as Range};

/// The table of the queue: what is forwarded between the sides and matched goes into the queues.
pub fn bridge_text(plan: &Plan, ports: &Ports, queues: Queues) -> String {
    let lan = quoted(&ports.lan);
    let wan = &ports.wan;
    let flags = if may_bypass(plan) { " flags bypass" } else { "" };
    let mut text = opened("bridge", ports);
    chain(&mut text, "forward", |lines| {
        lines.add("type filter hook forward priority 0; policy accept;");
        lines.add(format!("iifname {lan} oifname \"{wan}\" goto out"));
        lines.add(format!("iifname \"{wan}\" oifname {lan} goto in"));
    });
    chain(&mut text, "daemon", |lines| {
        let numbers = match queues.count {
            0 | 1 => queues.first.to_string(),
            _ => format!("{}-{}", queues.first, queues.last()),
        };
        lines.add(format!("queue{flags} to {numbers}"));
    });
    chain(&mut text, "refuse", |lines| lines.add("drop"));
    chain(&mut text, "pass", |lines| lines.add("accept"));
    directions(&mut text, plan);
    shared(&mut text, plan);
    text.push_str("}\n");
    text
}

/// What the rules of the ingress attach need to know of the interfaces.
#[derive(Debug, Default)]
pub struct Hooks<'a> {
    /// The ports that are there, each with the TAP that the daemon reads.
    pub ports: Vec<(&'a str, Option<&'a str>)>,
    /// All TAPs, also those of ports that are not there.
    pub taps: Vec<&'a str>,
    /// The Ethernet addresses that the box itself has on them and on their bridge; that traffic stays with it.
    pub own: Vec<[u8; 6]>,
    /// Standalone ports: the port behind which the box itself is, if it has one and that is there.
    pub box_port: Option<BoxPort<'a>>,
}

/// One end of a pair of veth devices.
#[derive(Debug)]
pub struct BoxPort<'a> {
    /// Its name.
    pub name: &'a str,
    /// The Ethernet address of the other end, which has the box's addresses.
    pub peer: Option<[u8; 6]>,
    /// All IP addresses that the box has.
    pub addresses: Vec<IpAddr>,
}

/// The table of the ingress attach: an ingress hook on each port that is there.
pub fn netdev_text(plan: &Plan, ports: &Ports, hooks: &Hooks<'_>) -> String {
    let mut text = opened("netdev", ports);
    let cross = ports.standalone.then(|| Cross::new(hooks));
    if let Some(cross) = &cross {
        cross.sets(&mut text);
    }
    for (port, _) in &hooks.ports {
        let direction = if *port == ports.wan { "in" } else { "out" };
        hook(&mut text, "port", port, |lines| {
            if let Some(cross) = &cross {
                cross.learn(lines, port);
            }
            if let Some(own) = ether_set(&hooks.own) {
                lines.add(format!("ether daddr {own} accept"));
            }
            if let Some(cross) = &cross {
                cross.to_box(lines);
            }
            lines.add(format!("goto {direction}"));
        });
    }
    if may_bypass(plan) {
        alive::beats(&mut text, hooks);
    }
    chain(&mut text, "tap", |lines| {
        for (port, tap) in &hooks.ports {
            if let Some(tap) = tap {
                lines.add(format!("iifname \"{port}\" fwd to \"{tap}\""));
            }
        }
        lines.add("drop");
    });
    chain(&mut text, "daemon", |lines| {
        if may_bypass(plan) {
            alive::or_pass(lines);
        }
        lines.add("goto tap");
    });
    chain(&mut text, "refuse", |lines| {
        // The hook cannot tell where a frame of a LAN port goes: to another one it may.
        if let [_, _, ..] = ports.lan.as_slice() {
            lines.add(format!("iifname {} goto tap", quoted(&ports.lan)));
        }
        lines.add("drop");
    });
    match &cross {
        Some(cross) => cross.chains(&mut text),
        None => chain(&mut text, "pass", |lines| lines.add("accept")),
    }
    directions(&mut text, plan);
    shared(&mut text, plan);
    text.push_str("}\n");
    if may_bypass(plan) && !hooks.taps.is_empty() {
        alive::first_beat(&mut text, &table_name(ports));
    }
    text
}

/// The name of the table of the gateway on these ports; each gateway of a machine has its own.
pub fn table_name(ports: &Ports) -> String {
    format!("tsg-{}", ports.wan)
}

/// The text that takes a gateway's table away, whether it is there or not.
pub fn withdraw_table(family: &str, ports: &Ports) -> String {
    let table = table_name(ports);
    format!("add table {family} {table}\ndelete table {family} {table}\n")
}

/// A table that is empty from here on. Its hooks stay: when one goes the kernel drops what waits in queues.
fn opened(family: &str, ports: &Ports) -> String {
    let table = table_name(ports);
    format!("add table {family} {table}\nflush table {family} {table}\ntable {family} {table} {{\n")
}

/// The lines of one chain.
struct Lines<'t>(&'t mut String);

impl Lines<'_> {
    fn add(&mut self, line: impl Display) {
        let _ = writeln!(self.0, "    {line}");
    }
}

fn chain(text: &mut String, name: &str, fill: impl FnOnce(&mut Lines<'_>)) {
    let _ = writeln!(text, "  chain {name} {{");
    fill(&mut Lines(text));
    text.push_str("  }\n");
}

/// A chain at the ingress hook of an interface.
fn hook(text: &mut String, kind: &str, device: &str, fill: impl FnOnce(&mut Lines<'_>)) {
    chain(text, &format!("{kind}-{device}"), |lines| {
        lines.add(format!(
            "type filter hook ingress device \"{device}\" priority 0; policy accept;"
        ));
        fill(lines);
    });
}

fn quoted(names: &[String]) -> String {
    set(names.iter().map(|name| format!("\"{name}\"")))
}

fn set(values: impl Iterator<Item = impl Display>) -> String {
    let list: Vec<String> = values.map(|value| value.to_string()).collect();
    match list.as_slice() {
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    }
}

fn ether_set(addresses: &[[u8; 6]]) -> Option<String> {
    let text = |mac: &[u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    (!addresses.is_empty()).then(|| set(addresses.iter().map(text)))
}

/// Chains `out` and `in`: where sealed packets go, then what both share.
fn directions(text: &mut String, plan: &Plan) {
    for (name, sealed) in [("out", "goto pass"), ("in", "goto daemon")] {
        chain(text, name, |lines| {
            if !plan.protocols().is_empty() {
                let protocols = set(plan.protocols().iter());
                lines.add(format!("meta protocol ip ip protocol {protocols} {sealed}"));
                lines.add(format!("meta protocol ip6 meta l4proto {protocols} {sealed}"));
            }
            for port in plan.udp_ports() {
                let ports = format!("udp sport {port} udp dport {port}");
                lines.add(format!("meta protocol {{ ip, ip6 }} {ports} {sealed}"));
            }
            lines.add("meta protocol ip goto v4");
            lines.add("meta protocol ip6 goto v6");
            lines.add("goto other");
        });
    }
}

/// The chains that do not ask for the direction, the last ones first: a chain is named after it is there.
fn shared(text: &mut String, plan: &Plan) {
    chain(text, "other", |lines| other(lines, plan));
    for (version, name) in [(Version::V4, "v4"), (Version::V6, "v6")] {
        if plan.mode == Mode::Learn || !plan.acts() {
            chain(text, name, |lines| {
                if plan.mode != Mode::Learn {
                    return lines.add("goto pass");
                }
                for condition in always_pass(plan, version).concat() {
                    lines.add(format!("{condition} goto pass"));
                }
                lines.add("goto daemon");
            });
            continue;
        }
        for (class, word) in CLASSES {
            write_passes(
                text,
                &format!("{name}_{word}"),
                &passes(&plan.effective(), version, class),
                version,
            );
        }
        by_protocol(text, name, plan, version);
    }
}

/// A packet's way to the passes, by its protocol: so each meets few rules.
fn by_protocol(text: &mut String, name: &str, plan: &Plan, version: Version) {
    // True for every packet whose ports lie in front of the reader.
    const SHOWN: &str = "@th,0,32 & 0 == 0";
    chain(text, &format!("{name}_ports"), |lines| {
        lines.add(match version {
            Version::V4 => "ip frag-off & 0x1fff != 0 goto v4_no_ports",
            Version::V6 => "meta protocol ip6 frag frag-off != 0 goto v6_no_ports",
        });
        lines.add(format!("{SHOWN} goto {name}_known"));
        lines.add(format!("goto {name}_no_ports"));
    });
    let [control, udp, tcp] = always_pass(plan, version);
    for (word, always, rest) in
        [("control", control, "known"), ("udp", udp, "ports"), ("tcp", tcp, "ports")]
    {
        chain(text, &format!("{name}_{word}"), |lines| {
            for condition in always {
                lines.add(format!("{condition} goto pass"));
            }
            if word == "control" {
                lines.add(format!("{} goto daemon", icmp_errors(version)));
            }
            lines.add(format!("goto {name}_{rest}"));
        });
    }
    chain(text, name, |lines| {
        // What is not what its EtherType says the daemon refuses, and counts.
        lines.add(match version {
            Version::V4 => "ip version != 4 goto daemon",
            Version::V6 => "ip6 version != 6 goto daemon",
        });
        let (protocol, control) = match version {
            Version::V4 => ("ip protocol", set([1, always::IGMP].iter())),
            // An authentication header ends our walk, and the kernel walks on.
            Version::V6 => {
                lines.add("ip6 nexthdr ah goto v6_unknown");
                ("meta l4proto", "58".to_owned())
            }
        };
        lines.add(format!(
            "{protocol} vmap {{ 6 : goto {name}_tcp, 17 : goto {name}_udp, 132 : goto {name}_ports }}"
        ));
        lines.add(format!("{protocol} {control} goto {name}_control"));
        lines.add(format!("{protocol} != {{ 6, 17, 132 }} goto {name}_known"));
        // Its protocol does not show.
        lines.add(format!("goto {name}_unknown"));
    });
}

/// With the protocol said: what nft would add of its own asks for the EtherType in the frame, which is the tag's
/// where there is one.
const ICMPV6: &str = "meta l4proto icmpv6 icmpv6 type";

const CLASSES: [(Class, &str); 3] =
    [(Class::Known, "known"), (Class::NoPorts, "no_ports"), (Class::Unknown, "unknown")];

/// What is not IP: the list that always passes, then `non_ip`. A second VLAN tag hides what is inside, so
/// the daemon looks.
fn other(lines: &mut Lines<'_>, plan: &Plan) {
    lines.add(format!("meta protocol {} goto pass", hex_set(&always::ETHER_TYPES)));
    if plan.acts() || plan.non_ip != NonIp::Pass {
        lines.add("meta protocol { 0x8100, 0x88a8 } goto daemon");
    }
    match &plan.non_ip {
        NonIp::Pass => lines.add("goto pass"),
        NonIp::Drop => {
            lines.add(format!("ether daddr {} goto pass", always::LINK_GROUPS));
            lines.add("goto refuse");
        }
        NonIp::Only(types) => {
            lines.add(format!("ether daddr {} goto pass", always::LINK_GROUPS));
            if !types.is_empty() {
                lines.add(format!("meta protocol {} goto pass", hex_set(types)));
            }
            lines.add("goto refuse");
        }
    }
}

fn hex_set(types: &[u16]) -> String {
    set(types.iter().map(|number| format!("0x{number:04x}")))
}

/// What passes whatever the policy says: of control protocols, of UDP, of TCP.
fn always_pass(plan: &Plan, version: Version) -> [Vec<String>; 3] {
    let (address, control, [low, high]) = match version {
        Version::V4 => {
            ("ip", format!("ip frag-off & 0x3fff == 0 ip protocol {}", always::IGMP), always::DHCP)
        }
        Version::V6 => {
            let (first, last) = always::ND;
            let mld = set(always::MLD.iter()).replace(" }", &format!(", {first}-{last} }}"));
            ("ip6", format!("{ICMPV6} {mld}"), always::DHCPV6)
        }
    };
    let servers = plan.servers_of(version == Version::V4).into_iter().flat_map(|server| {
        let (ip, port) = (server.ip(), server.port());
        [
            format!("{address} daddr {ip} tcp dport {port}"),
            format!("{address} saddr {ip} tcp sport {port}"),
        ]
    });
    let dhcp = format!("udp sport {low}-{high} udp dport {low}-{high}");
    [vec![control], vec![dhcp], servers.collect()]
}

/// The daemon judges them by the packet that they quote.
fn icmp_errors(version: Version) -> String {
    match version {
        Version::V4 => format!("ip protocol icmp icmp type {}", set(always::ICMP_ERRORS.iter())),
        Version::V6 => {
            let last = always::ICMPV6_FIRST_INFORMATION - 1;
            format!("{ICMPV6} {{ 0-{last}, {} }}", always::ICMPV6_REDIRECT)
        }
    }
}

fn write_passes(text: &mut String, name: &str, passes: &[Pass], version: Version) {
    let chain_of = |at: usize| match at {
        0 => name.to_owned(),
        at => format!("{name}_{at}"),
    };
    for at in (0..=passes.len()).rev() {
        chain(text, &chain_of(at), |lines| {
            let Some(pass) = passes.get(at) else { return lines.add("goto pass") };
            let act = match pass.action {
                Action::Drop => "goto refuse",
                Action::Encrypt => "goto daemon",
                Action::Bypass => "goto pass",
            };
            let next = format!("goto {}", chain_of(at + 1));
            let verdict = |then| if then == Then::Act { act } else { next.as_str() };
            for (condition, then) in &pass.lines {
                lines.add(format!("{}{}", words(condition, version), verdict(*then)));
            }
            lines.add(verdict(pass.end));
        });
    }
}

/// The condition as nft's words, with a blank behind it.
fn words(condition: &Condition, version: Version) -> String {
    let (address, proto) = match version {
        Version::V4 => ("ip", "ip protocol"),
        Version::V6 => ("ip6", "meta l4proto"),
    };
    let mut text = String::new();
    let mut add = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            let _ = write!(text, "{what} {} ", set(values.iter()));
        }
    };
    add(&format!("{address} saddr"), disjoint(&condition.src));
    add(&format!("{address} daddr"), disjoint(&condition.dest));
    add(proto, condition.proto.iter().map(|proto| proto.0.to_string()).collect());
    add("@th,0,16", merged(&condition.src_port));
    add("@th,16,16", merged(&condition.dest_port));
    text
}

/// The blocks without those that lie inside another: nft takes no overlaps in a set.
fn disjoint(blocks: &[Block]) -> Vec<String> {
    let inside = |at: usize| {
        let block = blocks[at];
        blocks.iter().enumerate().any(|(other_at, other)| {
            let wider = other.prefix < block.prefix || (other == &block && other_at < at);
            wider && other.contains(block.address)
        })
    };
    (0..blocks.len()).filter(|&at| !inside(at)).map(|at| blocks[at].to_string()).collect()
}

/// The ranges as a set of ranges that do not touch.
fn merged(ranges: &[Range]) -> Vec<String> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.first);
    let mut apart: Vec<Range> = Vec::new();
    for range in ranges {
        match apart.last_mut().filter(|last| range.first <= last.last.saturating_add(1)) {
            Some(last) => last.last = last.last.max(range.last),
            None => apart.push(range),
        }
    }
    apart.iter().map(ToString::to_string).collect()
}
