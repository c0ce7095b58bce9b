//! Programs, devices and kernel settings that the chosen attach needs.

use anyhow::Result;

use super::report::Report;
use crate::{
    attach::Kind,
    config::{Attach, Config},
    machine::Machine,
};

/// Kernel settings of br_netfilter that the iptables side needs, and what happens without.
const BR_NETFILTER: [(&str, &str); 3] = [
    ("bridge-nf-call-iptables", "bridged IPv4 is not seen"),
    ("bridge-nf-call-ip6tables", "bridged IPv6 is not seen"),
    ("bridge-nf-filter-vlan-tagged", "frames with a VLAN tag slip by"),
];

pub(super) fn check(attach: Attach, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    match attach {
        Attach::Auto => either(machine, report),
        Attach::Nfqueue => either(machine, report),
        Attach::NfqueueNft => nft(machine, report),
        Attach::NfqueueIptables => iptables(machine, report),
        Attach::Ingress => {
            nft(machine, report)?;
            tap(machine, report)
        }
    }
}

fn either(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    if machine.has_program("nft") {
        return report.good("nftables", "nft is there");
    }
    if machine.has_program("iptables") {
        return iptables(machine, report);
    }
    report.problem("netfilter", "neither nft nor iptables is there; install nftables")
}

fn nft(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    match machine.has_program("nft") {
        true => report.good("nftables", "nft is there"),
        false => {
            report.problem("nftables", "nft is not there; install nftables, or set attach to auto")
        }
    }
}

fn iptables(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    for program in ["iptables", "ip6tables"] {
        match machine.has_program(program) {
            true => report.good("iptables", &format!("{program} is there"))?,
            false => {
                let text = format!("{program} is not there; install it, or set attach to auto");
                report.problem("iptables", &text)?;
            }
        }
    }
    br_netfilter(machine, report)
}

fn br_netfilter(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    let values = BR_NETFILTER.map(|(name, _)| machine.sysctl(&format!("net/bridge/{name}")));
    if values.iter().all(Option::is_none) {
        let text = "br_netfilter is not loaded; install kmod-br-netfilter and run `modprobe \
                    br_netfilter`";
        return report.problem("br_netfilter", text);
    }
    let mut all_on = true;
    for ((name, without), value) in BR_NETFILTER.iter().zip(values) {
        if value.as_deref() != Some("1") {
            all_on = false;
            let text = format!(
                "net.bridge.{name} is not 1, so {without}; the gateway sets it when it starts"
            );
            report.warning("br_netfilter", &text)?;
        }
    }
    if all_on {
        report.good("br_netfilter", "sees bridged packets, tagged ones too")
    } else {
        Ok(())
    }
}

/// What crosses a bridge is to be seen by the firewall of the router only where the queue is in it. Others switch that on
/// for themselves, and then the firewall drops, tracks and reassembles what is none of its business.
pub(super) fn firewall(
    config: &Config,
    kind: Option<Kind>,
    machine: &Machine,
    report: &mut Report<'_>,
) -> Result<()> {
    let bridged = config.bridges.iter().any(|bridge| !bridge.standalone);
    if !bridged || matches!(kind, None | Some(Kind::NfqueueIptables)) {
        return Ok(());
    }
    for (name, _) in BR_NETFILTER.iter().filter(|(name, _)| name.starts_with("bridge-nf-call-")) {
        if machine.sysctl(&format!("net/bridge/{name}")).as_deref() == Some("1") {
            let text = format!(
                "net.bridge.{name} is 1, so the router's firewall sees what crosses the bridge and may drop it; run \
                 `sysctl -w net.bridge.{name}=0` and put that into /etc/sysctl.d, unless other software needs it"
            );
            report.warning("br_netfilter", &text)?;
        }
    }
    Ok(())
}

fn tap(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    match machine.has_file("dev/net/tun") {
        true => report.good("tun", "/dev/net/tun is there"),
        false => report.problem("tun", "/dev/net/tun is not there; install kmod-tun"),
    }
}
