//! What cannot work, with the reason and what to do.

use super::{Files, Layout, Request, interfaces};
use crate::machine::Machine;
use crate::uci::{Package, Section};
use anyhow::{Result, bail, ensure};
use interfaces::Interfaces;

/// What an interface can speak on a port that becomes a side of the gateway.
const PLAIN: [&str; 4] = ["static", "dhcp", "dhcpv6", "none"];

/// Are these ports that can be sides of a gateway?
pub(super) fn ports(network: &Package, machine: &Machine, request: &Request) -> Result<()> {
    for section in network.of_kind("interface") {
        let name = section.name.as_deref().unwrap_or_default();
        ensure!(
            section.text("type") != Some("bridge"),
            "/etc/config/network is written as for OpenWrt 19.07 (interface {name} has `option type 'bridge'`): let LuCI \
             migrate it, or write the bridge as a `config device`, and try again"
        );
    }
    for port in request.ports() {
        kind(machine, port)?;
        pair(network, port)?;
        bond(network, machine, port)?;
        vlans(network, port)?;
    }
    Ok(())
}

fn kind(machine: &Machine, port: &str) -> Result<()> {
    let there = || {
        let mut names = machine.interfaces();
        names.retain(|name| machine.interface_value(name, "type").as_deref() == Some("1"));
        names.join(", ")
    };
    ensure!(machine.has_interface(port), "there is no port {port}; there are {}", there());
    let has = |entry| machine.interface_has(port, entry);
    ensure!(
        !has("wireless") && !has("phy80211"),
        "{port} is a radio: a gateway works between cables, since a radio passes on only what it knows"
    );
    ensure!(!has("bridge"), "{port} is a bridge itself: name its ports");
    ensure!(!has("tun_flags"), "{port} is a program's (TUN or TAP), and no port");
    ensure!(
        !has("dsa"),
        "{port} is the processor's port of a switch: name the switch's own ports, such as lan1 and wan"
    );
    ensure!(
        machine.interface_value(port, "type").as_deref() == Some("1"),
        "{port} is no Ethernet; there are {}",
        there()
    );
    Ok(())
}

/// What the box itself is behind, with standalone ports.
fn pair(network: &Package, port: &str) -> Result<()> {
    let is_end = |section: &Section| {
        section.text("type") == Some("veth")
            && ["name", "peer_name"].iter().any(|option| section.text(option) == Some(port))
    };
    ensure!(
        !network.of_kind("device").any(is_end),
        "{port} is one end of a pair of veth devices, which leads to this box itself: name a port that takes a cable"
    );
    Ok(())
}

fn bond(network: &Package, machine: &Machine, port: &str) -> Result<()> {
    let is_bond = |section: &&Section| {
        let named = |option| section.value(option).into_iter().flat_map(|value| value.texts());
        let bonds =
            section.text("type") == Some("bonding") || section.text("proto") == Some("bonding");
        bonds
            && named("ports")
                .chain(named("slaves"))
                .any(|text| text.split_whitespace().any(|p| p == port))
    };
    ensure!(
        !machine.interface_has(port, "bonding_slave")
            && !network.sections.iter().any(|s| is_bond(&s)),
        "{port} is a port of a bond: name the bond, or take the port out of it"
    );
    Ok(())
}

/// A bridge that filters VLANs names its ports once more.
fn vlans(network: &Package, port: &str) -> Result<()> {
    for section in network.of_kind("bridge-vlan") {
        let ports = section.value("ports").into_iter().flat_map(|value| value.texts());
        let mut ports = ports.flat_map(|text| text.split_whitespace());
        if ports.any(|entry| entry.split(':').next() == Some(port)) {
            bail!(
                "{} filters VLANs, and {port} is one of its ports in VLAN {} (`config bridge-vlan`): take the port out \
                 there first",
                section.text("device").unwrap_or("a bridge"),
                section.text("vlan").unwrap_or("?")
            );
        }
    }
    Ok(())
}

/// A queue needs a bridge.
pub(super) fn attach(tsg: &Package, standalone: bool) -> Result<()> {
    let attach = tsg.named("tsg", "main").and_then(|main| main.text("attach")).unwrap_or("auto");
    ensure!(
        !standalone || matches!(attach, "auto" | "ingress"),
        "these ports must not share a bridge, since their switch would forward between them past the gateway, and \
         `attach` {attach} needs one: run `uci set tsg.main.attach=auto; uci commit tsg`, and try again"
    );
    Ok(())
}

/// Can the interfaces on these ports be moved or switched off?
pub(super) fn interfaces(
    files: &Files,
    request: &Request,
    found: &Interfaces,
    layout: &Layout,
) -> Result<()> {
    for at in found.all() {
        let Some(section) = files.network.sections.get(at) else { continue };
        let name = section.name.as_deref().unwrap_or_default();
        let proto = section.text("proto").unwrap_or("none");
        ensure!(
            PLAIN.contains(&proto),
            "interface {name} speaks {proto} on {}: that leads to a provider, and not to a plant network whose other \
             gateways could be reached; take another port, or remove the interface",
            interfaces::device(section).unwrap_or_default()
        );
        radios(&files.wireless, name, request, layout)?;
    }
    Ok(())
}

/// netifd puts a radio into the bridge of its interface; what comes from there would be neither side's.
fn radios(wireless: &Package, interface: &str, request: &Request, layout: &Layout) -> Result<()> {
    for (at, section) in wireless.of_kind("wifi-iface").enumerate() {
        let networks = section.value("network").into_iter().flat_map(|value| value.texts());
        let mut networks = networks.flat_map(|text| text.split_whitespace());
        if section.text("disabled") == Some("1") || networks.all(|network| network != interface) {
            continue;
        }
        let label = section.name.clone().unwrap_or_else(|| format!("@wifi-iface[{at}]"));
        bail!(
            "the radio {label} belongs to interface {interface}, and would come into {} beside {}, where nothing of it \
             is sealed: run `uci set wireless.{label}.disabled=1; uci commit wireless; wifi reload`, or give it \
             another network, and try again",
            layout.device,
            request.wan
        );
    }
    Ok(())
}
