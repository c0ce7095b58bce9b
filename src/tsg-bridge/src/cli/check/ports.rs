//! Are the ports there, and do they stand so that packets between the sides can be had?

use anyhow::Result;

use super::report::Report;
use crate::config::{Bridge, Config};
use crate::machine::Machine;

pub(super) fn check(config: &Config, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    for bridge in &config.bridges {
        let missing: Vec<&str> =
            ports(bridge).filter(|port| !machine.has_interface(port)).collect();
        for port in &missing {
            let there = machine.interfaces().join(", ");
            report.problem(
                "port",
                &format!(
                    "there is no port {port} (section {}); there are {there}; correct `config bridge`",
                    bridge.section
                ),
            )?;
        }
        if missing.is_empty() {
            membership(bridge, machine, report)?;
            switch_chip(bridge, machine, report)?;
            links(bridge, machine, report)?;
            path_mtu(bridge, config.path_mtu, machine, report)?;
        }
    }
    Ok(())
}

fn ports(bridge: &Bridge) -> impl Iterator<Item = &str> {
    bridge.lan.iter().chain([&bridge.wan]).map(String::as_str)
}

fn membership(bridge: &Bridge, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    let of = |port| machine.bridge_of(port);
    if bridge.standalone {
        return standalone(bridge, machine, report);
    }
    let wan = of(&bridge.wan);
    let advice = "put all of them, and nothing else, into one `config device` of type bridge in \
                  /etc/config/network (`tsg setup` does it)";
    if let Some(stray) = bridge.lan.iter().find(|port| of(port) != wan) {
        let place = |name: Option<String>| name.unwrap_or_else(|| "no bridge".to_owned());
        let (here, there) = (place(of(stray)), place(wan));
        let text = format!("{stray} is in {here}, but {} in {there}; {advice}", bridge.wan);
        return report.problem("bridge", &text);
    }
    let Some(device) = wan else {
        let text = format!(
            "{} are in no bridge; {advice}; or let the gateway connect them: `option standalone '1'`",
            names(bridge)
        );
        return report.problem("bridge", &text);
    };
    if let Some(wanted) = bridge.device.as_ref().filter(|wanted| **wanted != device) {
        let text =
            format!("the ports are in {device}, but `option device` says {wanted}; correct it");
        return report.problem("bridge", &text);
    }
    let others = machine.ports_of(&device);
    let others: Vec<&String> = others.iter().filter(|o| ports(bridge).all(|p| p != *o)).collect();
    for other in &others {
        let text = format!(
            "{other} is in {device} too, but neither in `lan` nor in `wan`: nothing to and from it is \
             sealed; name it or take it out"
        );
        report.problem("bridge", &text)?;
    }
    if others.is_empty() {
        report.good("bridge", &format!("{} are in {device}", names(bridge)))?;
    }
    Ok(())
}

fn standalone(bridge: &Bridge, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    let bridged = ports(bridge).find_map(|port| Some((port, machine.bridge_of(port)?)));
    if let Some((port, device)) = bridged {
        let text = format!(
            "{port} is in {device}, but `standalone` is 1; take it out in /etc/config/network, or set \
             `standalone` to 0"
        );
        return report.problem("bridge", &text);
    }
    match bridge.box_port.as_ref().filter(|port| !machine.has_interface(port)) {
        Some(missing) => {
            let text = format!(
                "there is no port {missing} (`option box`); make it in /etc/config/network: a `config \
                 device` of type veth"
            );
            report.problem("bridge", &text)
        }
        None => {
            let text = format!("{} are in no bridge; the gateway connects them", names(bridge));
            report.good("bridge", &text)
        }
    }
}

fn names(bridge: &Bridge) -> String {
    let names: Vec<&str> = ports(bridge).collect();
    names.join(", ")
}

/// Ports of one switch chip have the same `phys_switch_id`; in a bridge the chip itself would forward.
fn switch_chip(bridge: &Bridge, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    if machine.bridge_of(&bridge.wan).is_none() {
        return Ok(());
    }
    let chip =
        |port: &str| machine.interface_value(port, "phys_switch_id").filter(|id| !id.is_empty());
    let Some(wan_chip) = chip(&bridge.wan) else { return Ok(()) };
    for port in bridge.lan.iter().filter(|port| chip(port).as_ref() == Some(&wan_chip)) {
        let text = format!(
            "{port} and {} belong to one switch chip, which would forward between them past the \
             gateway; take them out of the bridge in /etc/config/network and set `standalone` to 1 (`tsg setup` does \
             both)",
            bridge.wan
        );
        report.problem("switch", &text)?;
    }
    Ok(())
}

fn links(bridge: &Bridge, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    for port in ports(bridge) {
        let state = machine.interface_value(port, "operstate").unwrap_or_default();
        if matches!(state.as_str(), "down" | "lowerlayerdown" | "notpresent" | "dormant") {
            let text = format!("{port} has no link ({state}); is its cable in, is it switched on?");
            report.warning("port", &text)?;
        }
    }
    Ok(())
}

fn path_mtu(
    bridge: &Bridge,
    path_mtu: Option<u16>,
    machine: &Machine,
    report: &mut Report<'_>,
) -> Result<()> {
    let mtu = machine.interface_value(&bridge.wan, "mtu").and_then(|mtu| mtu.parse::<u32>().ok());
    let (Some(mtu), Some(path_mtu)) = (mtu, path_mtu) else { return Ok(()) };
    if u32::from(path_mtu) <= mtu {
        return Ok(());
    }
    let text = format!(
        "path_mtu is {path_mtu}, but {} carries only {mtu}; set path_mtu to {mtu} or less, or remove it",
        bridge.wan
    );
    report.problem("path_mtu", &text)
}
