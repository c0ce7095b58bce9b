//! From "which port is LAN, which is WAN, what address for the box" to changes of /etc/config/network and
//! /etc/config/tsg. Pure: nothing is applied here.
//!
//! Ports of one switch chip stay out of every bridge, since the chip would forward between them past the gateway
//! (decision 12); others share one. What else the operator has set up stays; what cannot work is refused.

pub(crate) mod apply;
mod back;
mod draft;
mod interfaces;
mod place;
mod refuse;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use draft::{Draft, command};
pub(crate) use request::{Address, Request};

use crate::folders::Folders;
use crate::machine::Machine;
use crate::uci::{self, Package, Section};
use anyhow::{Context as _, Result, ensure};
use draft::Place;
use serde_json::{Value, json};
use std::path::Path;

/// The bridge that is made if the ports have none of their own.
const BRIDGE: &str = "br-tsg";
const BRIDGE_SECTION: &str = "br_tsg";

/// Of standalone ports: the end with the box's address, and the one that the gateway connects.
const BOX: &str = "box0";
const BOX_PORT: &str = "box1";
const BOX_SECTION: &str = "tsg_box";
const BOX_PORT_SECTION: &str = "tsg_box_port";

/// What the files say. A file that is not there says nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) network: Package,
    pub(crate) tsg: Package,
    pub(crate) wireless: Package,
    pub(crate) dhcp: Package,
}

impl Files {
    pub(crate) fn read(folders: &Folders) -> Result<Self> {
        let optional = |name: &str| match folders.config.join(name) {
            path if path.exists() => uci::read(&path),
            _ => Ok(Package::default()),
        };
        let network = folders.config.join("network");
        ensure!(network.exists(), "there is no {}: is this OpenWrt?", network.display());
        Ok(Self {
            network: uci::read(&network)?,
            tsg: optional("tsg")?,
            wireless: optional("wireless")?,
            dhcp: optional("dhcp")?,
        })
    }
}

/// What is to be done, and what the operator should know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) draft: Draft,
    pub(crate) notes: Vec<String>,
}

/// For the method `setup`: the changes. Takes a few milliseconds.
///
/// # Errors
/// As [`plan`]; a file cannot be read.
pub(crate) fn answer(folders: &Folders, request: &Request) -> Result<Value> {
    let plan = plan(&Files::read(folders)?, &Machine::new(Path::new("/")), request)?;
    Ok(json!({ "ok": true, "changes": plan.draft.changes(), "notes": plan.notes }))
}

/// Makes the plan.
///
/// # Errors
/// Why it cannot work, for people.
pub(crate) fn plan(files: &Files, machine: &Machine, request: &Request) -> Result<Plan> {
    refuse::ports(&files.network, machine, request)?;
    let standalone = request.standalone || shares_chip(machine, request);
    refuse::attach(&files.tsg, standalone)?;
    let mut plan = Plan { draft: Draft::new(files), notes: Vec::new() };
    let layout = if standalone { plan.apart(request)? } else { plan.bridged(request)? };
    plan.address(files, request, &layout)?;
    plan.gateway(request, &layout)?;
    plan.explain(files, request, &layout);
    plan.name_left_over(files, machine);
    plan.warn_of_chip(machine, request);
    Ok(plan)
}

/// Where the ports stand, and what else that moves.
struct Layout {
    /// The device that the box's address is on, before a VLAN.
    device: String,
    standalone: bool,
    /// Devices that lead nowhere any more: mostly bridges without ports.
    emptied: Vec<String>,
}

/// The chip would forward between them in a bridge.
fn shares_chip(machine: &Machine, request: &Request) -> bool {
    let chip =
        |port: &str| machine.interface_value(port, "phys_switch_id").filter(|id| !id.is_empty());
    let wan = chip(&request.wan);
    wan.is_some() && request.lan.iter().any(|port| chip(port) == wan)
}

/// The ports that a `config bridge` names.
fn sides(bridge: &Section) -> Vec<String> {
    let values = ["lan", "wan"].map(|option| bridge.value(option));
    let texts = values.into_iter().flatten().flat_map(|value| value.texts());
    texts.flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

fn all_sides(tsg: &Package) -> Vec<String> {
    tsg.of_kind("bridge").flat_map(sides).collect()
}

impl Plan {
    /// All ports in one bridge, and nothing else in it.
    fn bridged(&mut self, request: &Request) -> Result<Layout> {
        let network = &self.draft.network;
        let is_home = |at: &&usize| {
            let ports = interfaces::ports_of(network, **at);
            ports.len() == request.ports().count()
                && request.ports().all(|port| ports.iter().any(|p| p == port))
        };
        let home = interfaces::bridges(network).iter().find(is_home).copied();
        if let Some(name) = home.and_then(|at| network.sections[at].text("name")) {
            let device = name.to_owned();
            return Ok(Layout { device, standalone: false, emptied: vec![BOX.to_owned()] });
        }
        let mut emptied = self.take_out(request);
        // The box's own port of an earlier set-up without a bridge.
        emptied.push(BOX.to_owned());
        let at = self.draft.section(Place::Network, "device", BRIDGE_SECTION)?;
        self.draft.set(Place::Network, at, "name", BRIDGE);
        self.draft.set(Place::Network, at, "type", "bridge");
        let ports: Vec<String> = request.ports().map(str::to_owned).collect();
        self.draft.set_list(Place::Network, at, "ports", &ports);
        Ok(Layout { device: BRIDGE.to_owned(), standalone: false, emptied })
    }

    /// No bridge; the gateway connects the ports, and the box is behind one of its own.
    fn apart(&mut self, request: &Request) -> Result<Layout> {
        let emptied = self.take_out(request);
        if request.address != Address::None {
            let at = self.draft.section(Place::Network, "device", BOX_SECTION)?;
            self.draft.set(Place::Network, at, "name", BOX);
            self.draft.set(Place::Network, at, "type", "veth");
            self.draft.set(Place::Network, at, "peer_name", BOX_PORT);
            // Without an interface nobody would set the gateway's end up.
            let at = self.draft.section(Place::Network, "interface", BOX_PORT_SECTION)?;
            self.draft.set(Place::Network, at, "device", BOX_PORT);
            self.draft.set(Place::Network, at, "proto", "none");
        }
        Ok(Layout { device: BOX.to_owned(), standalone: true, emptied })
    }

    /// Takes the ports out of the bridges that they are in. Others stay there.
    fn take_out(&mut self, request: &Request) -> Vec<String> {
        let mut emptied = Vec::new();
        for at in interfaces::bridges(&self.draft.network) {
            let section = &self.draft.network.sections[at];
            if section.name.as_deref() == Some(BRIDGE_SECTION) && !request.standalone {
                // Ours, and about to get its ports.
                continue;
            }
            let name = section.text("name").unwrap_or_default().to_owned();
            let before = interfaces::ports_of(&self.draft.network, at);
            let rest: Vec<String> = before
                .iter()
                .filter(|port| request.ports().all(|ours| ours != *port))
                .cloned()
                .collect();
            if rest.len() == before.len() {
                continue;
            }
            if rest.is_empty() {
                self.draft.delete(Place::Network, at, "ports");
                emptied.push(name);
            } else {
                self.notes.push(format!("left in {name} as before: {}", rest.join(", ")));
                self.draft.set_list(Place::Network, at, "ports", &rest);
            }
        }
        emptied
    }

    /// The gateway's own section.
    fn gateway(&mut self, request: &Request, layout: &Layout) -> Result<()> {
        let at = self.gateway_section(request)?;
        let draft = &mut self.draft;
        draft.set_list(Place::Tsg, at, "lan", &request.lan);
        draft.set(Place::Tsg, at, "wan", &request.wan);
        if layout.standalone {
            draft.delete(Place::Tsg, at, "device");
            draft.set(Place::Tsg, at, "standalone", "1");
            match request.address {
                Address::None => draft.delete(Place::Tsg, at, "box"),
                Address::Keep | Address::Dhcp | Address::Fixed(_) => {
                    draft.set(Place::Tsg, at, "box", BOX_PORT);
                }
            }
        } else {
            draft.set(Place::Tsg, at, "device", &layout.device);
            draft.delete(Place::Tsg, at, "standalone");
            draft.delete(Place::Tsg, at, "box");
        }
        Ok(())
    }

    /// The section that has one of the ports, or the only one, or a new one.
    fn gateway_section(&mut self, request: &Request) -> Result<usize> {
        let sections = &self.draft.tsg.sections;
        let all: Vec<usize> =
            (0..sections.len()).filter(|&at| sections[at].kind == "bridge").collect();
        let names = |at: &&usize| {
            sides(&sections[**at]).iter().any(|name| request.ports().any(|port| port == name))
        };
        let ours: Vec<usize> = all.iter().filter(names).copied().collect();
        ensure!(
            ours.len() <= 1,
            "these ports stand in {} sections `config bridge` of /etc/config/tsg; remove all but one of them first",
            ours.len()
        );
        match (ours.first(), all.as_slice()) {
            (Some(&at), _) | (None, &[at]) => Ok(at),
            (None, []) => self.draft.section(Place::Tsg, "bridge", "bridge"),
            (None, all) => {
                let name = format!("bridge{}", all.len() + 1);
                self.draft
                    .section(Place::Tsg, "bridge", &name)
                    .context("a further section `config bridge`")
            }
        }
    }

    /// Ports that were a side of a gateway, and belong nowhere from now on.
    fn name_left_over(&mut self, files: &Files, machine: &Machine) {
        let network = &self.draft.network;
        let bridged: Vec<String> = interfaces::bridges(network)
            .into_iter()
            .flat_map(|at| interfaces::ports_of(network, at))
            .collect();
        let (now, mut left) = (all_sides(&self.draft.tsg), all_sides(&files.tsg));
        left.retain(|port| {
            !now.contains(port) && !bridged.contains(port) && machine.has_interface(port)
        });
        if !left.is_empty() {
            let left = left.join(", ");
            self.notes.push(format!("in no bridge any more, and cut off from everything: {left}"));
        }
    }

    /// What no program on the box can prevent.
    fn warn_of_chip(&mut self, machine: &Machine, request: &Request) {
        if shares_chip(machine, request) {
            self.notes.push(
                "the ports are of one switch chip: many of those connect all their ports from power-on until the boot \
                 loader or the driver keeps them apart, and for these seconds of each boot everything crosses in clear; \
                 two network controllers do not (docs/security.md)"
                    .to_owned(),
            );
        }
    }

    fn explain(&mut self, files: &Files, request: &Request, layout: &Layout) {
        if self.draft.changes().is_empty() {
            self.notes.push("all of this is so already".to_owned());
        }
        let how = match layout.standalone {
            true => "stay out of every bridge, and the gateway connects them",
            false => "share a bridge",
        };
        let ports: Vec<&str> = request.ports().collect();
        self.notes.insert(0, format!("{} {how}", ports.join(", ")));
        if files.network.of_kind("switch").next().is_some() {
            self.notes.push(
                "this box has a switch of the older kind (swconfig): the two sides have to be VLANs of their own \
                 there, as they are for a router's LAN and WAN; a switch that learns addresses for all VLANs together \
                 loses packets, and then two boxes or ports of the processor are the way"
                    .to_owned(),
            );
        }
    }
}
