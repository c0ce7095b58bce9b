//! What would carry packets past the gateway's hooks: flow offload and vendors' fast paths.

use std::path::Path;

use anyhow::Result;

use super::report::Report;
use crate::machine::Machine;
use crate::uci;

/// Kernel modules that forward established flows by themselves.
const FAST_PATHS: [(&str, &str); 6] = [
    ("shortcut_fe", "Shortcut-FE"),
    ("fast_classifier", "Shortcut-FE"),
    ("ecm", "Qualcomm's ECM"),
    ("mtkhnat", "MediaTek's HNAT"),
    ("ctf", "Broadcom's CTF"),
    ("xt_FLOWOFFLOAD", "OpenWrt's FLOWOFFLOAD"),
];

pub(super) fn check(config: &Path, machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    let flow = flow_offload(&config.join("firewall"), report)?;
    let fast = fast_paths(machine, report)?;
    if !flow && !fast {
        report.good("offload", "no flow offload and no vendor's fast path found")?;
    }
    Ok(())
}

/// True if something was found.
fn flow_offload(firewall: &Path, report: &mut Report<'_>) -> Result<bool> {
    if !firewall.exists() {
        return Ok(false);
    }
    let package = match uci::read(firewall) {
        Ok(package) => package,
        Err(error) => {
            let text = format!("cannot tell whether flow offload is on: {error:#}");
            report.warning("offload", &text)?;
            return Ok(true);
        }
    };
    let mut found = false;
    for option in ["flow_offloading", "flow_offloading_hw"] {
        let is_on = |text| matches!(text, "1" | "on" | "true" | "yes" | "enabled");
        if package.of_kind("defaults").any(|section| section.text(option).is_some_and(is_on)) {
            found = true;
            let text = format!(
                "{option} is on in {}: established flows pass the gateway by, and while that is so \
                 matched traffic is stopped; run `uci set firewall.@defaults[0].{option}=0; uci commit \
                 firewall; /etc/init.d/firewall restart`",
                firewall.display()
            );
            report.problem("offload", &text)?;
        }
    }
    Ok(found)
}

/// True if something was found.
fn fast_paths(machine: &Machine, report: &mut Report<'_>) -> Result<bool> {
    let mut found = false;
    for (module, name) in FAST_PATHS.iter().filter(|(module, _)| machine.has_module(module)) {
        found = true;
        let text = format!(
            "the kernel module {module} ({name}) is loaded: it can forward packets past the gateway; \
             switch it off, or remove its package, and restart"
        );
        report.warning("offload", &text)?;
    }
    Ok(found)
}
