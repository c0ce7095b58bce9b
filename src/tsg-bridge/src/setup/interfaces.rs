//! /etc/config/network as it concerns a set-up: bridges, and the interfaces that stand on ports.

use super::{Layout, Request};
use crate::uci::{Package, Section};
use anyhow::{Result, bail};

/// Interfaces that have to do with the ports, as numbers of their sections.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// They stand already where the box's address will be.
    placed: Vec<usize>,
    /// They were on a bridge that has no ports any more: usually `lan`, which the firewall lets in.
    lan: Vec<usize>,
    /// They were on one of the ports: usually `wan`.
    ports: Vec<usize>,
}

impl Interfaces {
    /// Sorts them out.
    ///
    /// # Errors
    /// One of them cannot be moved.
    pub(super) fn find(network: &Package, request: &Request, layout: &Layout) -> Result<Self> {
        let mut found = Self::default();
        for (at, section) in enabled(network) {
            let Some(device) = device(section) else { continue };
            let name = section.name.as_deref().unwrap_or_default();
            let (base, vlan) = device.split_once('.').map_or((device, None), |(b, v)| (b, Some(v)));
            // A port may have a dot in its name: those of an older switch have.
            let is_port = |device: &str| request.ports().any(|port| port == device);
            let is_emptied = |device: &str| layout.emptied.iter().any(|bridge| bridge == device);
            if device == layout.device || (base == layout.device && vlan.is_some()) {
                found.placed.push(at);
            } else if is_port(device) && section.text("proto") != Some("none") {
                found.ports.push(at);
            } else if is_emptied(device) {
                found.lan.push(at);
            } else if let Some(vlan) = vlan.filter(|_| is_port(base) || is_emptied(base)) {
                bail!(
                    "interface {name} uses VLAN {vlan} of {base}, which is to be the gateway's: remove that interface \
                     first, or give the box an address in that VLAN with `--vlan {vlan}` after that"
                );
            }
        }
        Ok(found)
    }

    /// The best to take over first.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> + use<> {
        [&self.placed[..], &self.lan, &self.ports].concat().into_iter()
    }
}

/// Interfaces that have an address on something else than these ports, by name.
pub(super) fn others(network: &Package, request: &Request, layout: &Layout) -> Vec<String> {
    let gone = |device: &str| {
        request.ports().any(|port| port == device) || layout.emptied.iter().any(|b| b == device)
    };
    enabled(network)
        .filter(|(_, section)| {
            let proto = section.text("proto").unwrap_or("none");
            proto != "none" && device(section).is_some_and(|device| device != "lo" && !gone(device))
        })
        .filter_map(|(_, section)| section.name.clone())
        .collect()
}

/// The bridges that are made by `config device`, as numbers of their sections.
pub(super) fn bridges(network: &Package) -> Vec<usize> {
    let is_bridge =
        |section: &Section| section.kind == "device" && section.text("type") == Some("bridge");
    (0..network.sections.len()).filter(|&at| is_bridge(&network.sections[at])).collect()
}

/// The ports of a bridge.
pub(super) fn ports_of(network: &Package, at: usize) -> Vec<String> {
    let value = network.sections[at].value("ports");
    let texts = value.into_iter().flat_map(|value| value.texts());
    texts.flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// Interfaces that are not switched off, with the numbers of their sections.
pub(super) fn enabled(network: &Package) -> impl Iterator<Item = (usize, &Section)> {
    let all = network.sections.iter().enumerate();
    all.filter(|(_, section)| section.kind == "interface" && section.text("disabled") != Some("1"))
}

/// What an interface stands on.
pub(super) fn device(section: &Section) -> Option<&str> {
    section.text("device").or_else(|| section.text("ifname"))
}
