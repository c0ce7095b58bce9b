//! `config bridge`: which ports lead to the protected machines and which to the plant network.

use std::collections::HashMap;

use super::Attach;
use super::options::{Findings, Wrong, boolean, several, single};
use crate::uci::{Opt, Section};

/// One pair of sides between which packets are sealed and opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The section as `uci show` names it.
    pub section: String,
    /// Ports to the protected machines; at least one.
    pub lan: Vec<String>,
    /// The port to the plant network.
    pub wan: String,
    /// The Linux bridge that they are in; found through the ports if not set.
    pub device: Option<String>,
    /// The ports are in no bridge, and the gateway connects them: for those of one switch chip, which would forward
    /// between them past the gateway.
    pub standalone: bool,
    /// Standalone ports: one end of a pair of veth devices; the box's own address is on the other.
    pub box_port: Option<String>,
}

impl Bridge {
    /// The ports of both sides.
    pub fn ports(&self) -> impl Iterator<Item = &str> {
        self.lan.iter().chain([&self.wan]).map(String::as_str)
    }
}

const OPTIONS: [&str; 5] = ["lan", "wan", "device", "standalone", "box"];

/// Linux' IFNAMSIZ, without the byte 0.
const MAX_PORT_NAME_BYTES: usize = 15;

const MAX_LAN_PORTS: usize = 16;

/// None if a side is missing; that is then among the findings.
pub(super) fn read(section: &Section, label: String, found: &mut Findings<'_>) -> Option<Bridge> {
    let mut bridge = Bridge { section: label, ..Bridge::default() };
    let before = found.problems.len();
    found.each_option(section, &OPTIONS, |opt| set(opt, &mut bridge));
    if bridge.lan.is_empty() && !found.failed_option(before, "lan") {
        found.missing(
            "lan",
            "the port to the protected machine",
            "Add `list lan 'lan1'`, with the port's name from `ip link`",
        );
    }
    if bridge.wan.is_empty() && !found.failed_option(before, "wan") {
        found.missing(
            "wan",
            "the port to the plant network",
            "Add `option wan 'wan'`, with the port's name from `ip link`",
        );
    }
    Some(bridge).filter(|bridge| !bridge.lan.is_empty() && !bridge.wan.is_empty())
}

/// What does not go with `standalone`.
pub(super) fn check_standalone(bridges: &[Bridge], attach: Attach, found: &mut Findings<'_>) {
    for bridge in bridges {
        found.about(Some(&bridge.section));
        if let (true, Some(device)) = (bridge.standalone, &bridge.device) {
            let allowed = "not set: standalone ports are in no bridge";
            let advice = "Remove it, or set `standalone` to 0";
            found.wrong("device", Wrong::new(device, allowed, advice));
        }
        if let (false, Some(port)) = (bridge.standalone, &bridge.box_port) {
            let allowed = "for standalone ports only; else the bridge has the box's address";
            let advice = "Remove it, or set `standalone` to 1";
            found.wrong("box", Wrong::new(port, allowed, advice));
        }
        if bridge.standalone && !matches!(attach, Attach::Auto | Attach::Ingress) {
            let advice = "Set `attach` to ingress or auto, or put the ports into a bridge";
            found.wrong("standalone", Wrong::new("1", "0: a queue needs a bridge", advice));
        }
    }
    found.about(None);
}

/// A port belongs to one side of one bridge.
pub(super) fn check_ports_once(bridges: &[Bridge], found: &mut Findings<'_>) {
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for bridge in bridges {
        found.about(Some(&bridge.section));
        let lan = bridge.lan.iter().map(|port| ("lan", port));
        let own = bridge.box_port.iter().map(|port| ("box", port));
        for (option, port) in lan.chain([("wan", &bridge.wan)]).chain(own) {
            if let Some(other) = taken.insert(port, &bridge.section) {
                let allowed =
                    format!("a port stands in one place, and section {other} has this one");
                let advice = "Name each port once, in `lan`, `wan` or `box`";
                found.wrong(option, Wrong::new(port, allowed, advice));
            }
        }
    }
    found.about(None);
}

fn set(opt: &Opt, bridge: &mut Bridge) -> Result<(), Wrong> {
    match opt.name.as_str() {
        "lan" => bridge.lan = lan(opt)?,
        "wan" => bridge.wan = port_name(single(opt)?)?,
        "device" => bridge.device = Some(port_name(single(opt)?)?),
        "standalone" => bridge.standalone = boolean(opt)?,
        "box" => bridge.box_port = Some(port_name(single(opt)?)?),
        _ => {}
    }
    Ok(())
}

fn lan(opt: &Opt) -> Result<Vec<String>, Wrong> {
    let ports = several(opt).map(port_name).collect::<Result<Vec<_>, _>>()?;
    if ports.len() > MAX_LAN_PORTS {
        let allowed = format!("at most {MAX_LAN_PORTS} ports");
        return Err(Wrong::new(&opt.value.texts().join(" "), allowed, "Remove some"));
    }
    Ok(ports)
}

/// What the kernel takes as the name of a network device, without what could be read as nft or shell text, or as a path.
pub(crate) fn is_port_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= MAX_PORT_NAME_BYTES
        && text.bytes().all(plain)
}

pub(super) fn port_name(text: &str) -> Result<String, Wrong> {
    if is_port_name(text) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        text,
        format!("a port's name: up to {MAX_PORT_NAME_BYTES} letters, digits, `.`, `_`, `-`"),
        "Look up the names with `ip link`",
    ))
}
