//! `config port`: the offloads that an operator wants on a port.

use std::collections::BTreeMap;

use super::{
    bridge::{Bridge, port_name},
    options::{Findings, Wrong, boolean, single},
};
use crate::{
    offloads::Feature,
    uci::{Opt, Section},
};

/// What is wanted on one port; what is not named stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The section as `uci show` names it.
    pub section: String,
    /// The port.
    pub device: String,
    /// On or off.
    pub offloads: BTreeMap<Feature, bool>,
}

/// None without a device; that is then among the findings.
pub(super) fn read(section: &Section, label: String, found: &mut Findings<'_>) -> Option<Port> {
    let mut port = Port { section: label, ..Port::default() };
    let before = found.problems.len();
    let options = [&["device"][..], &Feature::ALL.map(Feature::name)].concat();
    found.only_options(section, &options, |opt| set(opt, &mut port));
    if port.device.is_empty() && !found.failed_option(before, "device") {
        let advice = "Add `option device 'lan1'`, with the port's name from `ip link`";
        found.missing("device", "the port that these offloads are for", advice);
    }
    Some(port).filter(|port| !port.device.is_empty())
}

/// What contradicts another section.
pub(super) fn check(ports: &[Port], bridges: &[Bridge], found: &mut Findings<'_>) {
    for (at, port) in ports.iter().enumerate() {
        found.about(Some(&port.section));
        if let Some(other) = ports[..at].iter().find(|other| other.device == port.device) {
            let allowed = format!("each port once, and section {} has this one", other.section);
            found.wrong("device", Wrong::new(&port.device, allowed, "Join the two sections"));
        }
        let is_ours = bridges.iter().any(|bridge| bridge.ports().any(|name| name == port.device));
        if is_ours && port.offloads.get(&Feature::Lro) == Some(&true) {
            let allowed = "0: what LRO has joined cannot be passed on as it was";
            found.wrong("lro", Wrong::new("1", allowed, "Remove it"));
        }
    }
    found.about(None);
}

fn set(opt: &Opt, port: &mut Port) -> Result<(), Wrong> {
    match Feature::named(&opt.name) {
        Some(feature) => {
            port.offloads.insert(feature, boolean(opt)?);
        }
        None => port.device = port_name(single(opt)?)?,
    }
    Ok(())
}
