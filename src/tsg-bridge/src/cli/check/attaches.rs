//! Which attach would be taken here, found by trying as the daemon does.

use anyhow::Result;
use nix::unistd::geteuid;

use super::report::Report;
use crate::machine::Machine;
use crate::{
    attach::{Finding, Kind, Ports, probe},
    config::{Attach, Bridge, Config},
};

/// Tries every kind of attach on a bridge; none if it may not. A parameter, so that a test's machine
/// answers for itself.
pub(super) type Prober<'a> = &'a dyn Fn(&Ports) -> Option<Vec<Finding>>;

/// Tries them on this machine, which only root can, and takes away what that needed.
pub(super) fn try_here(ports: &Ports) -> Option<Vec<Finding>> {
    geteuid().is_root().then(|| probe(ports).findings)
}

pub(super) fn check(
    config: &Config,
    machine: &Machine,
    prober: Prober<'_>,
    report: &mut Report<'_>,
) -> Result<()> {
    for bridge in &config.bridges {
        let is_there = |port: &String| machine.has_interface(port);
        if !bridge.lan.iter().chain([&bridge.wan]).all(is_there) {
            continue;
        }
        match prober(&ports(bridge, machine)) {
            Some(findings) => judge(config.attach, &findings, report)?,
            None => {
                report.warning("attach", "not tried: only root can; run `tsg check` as root")?
            }
        }
    }
    Ok(())
}

fn judge(attach: Attach, findings: &[Finding], report: &mut Report<'_>) -> Result<()> {
    let allowed = allowed(attach);
    let mut refusals = Vec::new();
    for finding in findings.iter().filter(|finding| allowed.contains(&finding.kind)) {
        match &finding.refusal {
            None if refusals.is_empty() => {
                return report.good("attach", &format!("{} works here", finding.kind));
            }
            None => {
                let text = format!("{} works here ({})", finding.kind, refusals.join("; "));
                return report.good("attach", &text);
            }
            Some(refusal) => refusals.push(format!("{} does not: {refusal}", finding.kind)),
        }
    }
    let advice = match attach {
        Attach::Auto => "install the kernel modules that are named",
        Attach::Nfqueue | Attach::NfqueueNft | Attach::NfqueueIptables | Attach::Ingress => {
            "install the kernel modules that are named, or set attach to auto"
        }
    };
    report.problem("attach", &format!("{}; {advice}", refusals.join("; ")))
}

fn allowed(attach: Attach) -> &'static [Kind] {
    match attach {
        Attach::Auto => &Kind::ALL,
        Attach::Nfqueue => &[Kind::NfqueueNft, Kind::NfqueueIptables],
        Attach::NfqueueNft => &[Kind::NfqueueNft],
        Attach::NfqueueIptables => &[Kind::NfqueueIptables],
        Attach::Ingress => &[Kind::Ingress],
    }
}

fn ports(bridge: &Bridge, machine: &Machine) -> Ports {
    let device = bridge.device.clone().or_else(|| machine.bridge_of(&bridge.wan));
    Ports {
        bridge: device.unwrap_or_else(|| "br-tsg".to_owned()),
        lan: bridge.lan.clone(),
        wan: bridge.wan.clone(),
        standalone: bridge.standalone,
        box_port: bridge.box_port.clone(),
    }
}
