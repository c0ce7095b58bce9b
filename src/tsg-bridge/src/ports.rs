//! The ports of this machine, for the method `ports`: what can be a side of a gateway, and how its offloads stand.

use crate::config::{Bridge, Config};
use crate::folders::Folders;
use crate::machine::Machine;
use crate::offloads::{self, Feature, Settings};
use crate::uci;
use serde_json::{Map, Value, json};
use std::io;
use std::path::Path;

/// Ethernet, as /sys has it.
const ETHERNET: &str = "1";

/// All of them as JSON. Takes a few milliseconds; what is wrong with the configuration is left to others to say.
pub(crate) fn list(folders: &Folders) -> Value {
    let path = folders.config_file();
    let config = uci::read(&path)
        .map_or_else(|_| Config::default(), |package| Config::from_package(&path, &package).0);
    list_of(&config, &Machine::new(Path::new("/")), &offloads::read)
}

fn list_of(
    config: &Config,
    machine: &Machine,
    reader: &dyn Fn(&str) -> io::Result<Settings>,
) -> Value {
    let mut names = machine.interfaces();
    names.retain(|name| is_port(machine, name) && !leads_here(&config.bridges, machine, name));
    let configured = config.bridges.iter().flat_map(Bridge::ports);
    for name in configured.chain(config.ports.iter().map(|port| port.device.as_str())) {
        // What is configured and not there is shown as such.
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let ports: Vec<Value> =
        names.iter().map(|name| port(name, config, machine, reader(name).ok())).collect();
    json!({ "ports": ports })
}

/// An Ethernet device that frames of others can come in at: no bridge, and no TAP, such as the gateway's own.
fn is_port(machine: &Machine, name: &str) -> bool {
    machine.interface_value(name, "type").as_deref() == Some(ETHERNET)
        && !machine.interface_has(name, "bridge")
        && !machine.interface_has(name, "tun_flags")
}

/// One of the two ends that a box with standalone ports is behind.
fn leads_here(bridges: &[Bridge], machine: &Machine, name: &str) -> bool {
    let number = |name: &str, value| machine.interface_value(name, value);
    bridges.iter().filter_map(|bridge| bridge.box_port.as_deref()).any(|end| {
        let peer = number(name, "iflink");
        let is_other = peer.is_some()
            && peer == number(end, "ifindex")
            && number(name, "ifindex") == number(end, "iflink");
        name == end || is_other
    })
}

fn port(name: &str, config: &Config, machine: &Machine, settings: Option<Settings>) -> Value {
    let value = |file| machine.interface_value(name, file).filter(|text| !text.is_empty());
    let section = config.bridges.iter().find(|bridge| bridge.ports().any(|port| port == name));
    let role = match section {
        Some(bridge) if bridge.wan == name => "wan",
        Some(_) => "lan",
        None => "none",
    };
    json!({
        "name": name,
        "section": section.map(|bridge| &bridge.section),
        "role": role,
        "link": value("carrier").as_deref() == Some("1"),
        "mtu": value("mtu").and_then(|mtu| mtu.parse::<u32>().ok()).unwrap_or(0),
        "mac": value("address").unwrap_or_default(),
        "switch": value("phys_switch_id"),
        "bridge": machine.bridge_of(name),
        "offloads": offloads_of(name, config, settings),
    })
}

/// A port that is not there has nothing on, and nothing to change.
fn offloads_of(name: &str, config: &Config, settings: Option<Settings>) -> Map<String, Value> {
    let wanted = config.ports.iter().find(|port| port.device == name);
    let of = |feature: Feature| {
        let setting = settings.as_ref().and_then(|settings| settings.get(&feature));
        let value = json!({
            "on": setting.is_some_and(|setting| setting.on),
            "fixed": setting.is_none_or(|setting| setting.fixed),
            "wanted": wanted.and_then(|port| port.offloads.get(&feature)),
        });
        (feature.name().to_owned(), value)
    };
    Feature::ALL.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offloads::Setting;
    use std::fs;

    #[test]
    fn what_can_be_a_side_is_listed_with_what_is_known_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("sys/class/net").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in ["lan1", "br-lan", "tsg-0", "wan"] {
            write(&format!("{name}/type"), "1\n");
        }
        write("br-lan/bridge/x", "");
        write("tsg-0/tun_flags", "0x1002\n");
        write("ppp0/type", "512\n");
        write("bonding_masters", "");
        for (name, own, peer) in [("box0", "11", "12"), ("box1", "12", "11"), ("lan1", "3", "2")] {
            write(&format!("{name}/type"), "1\n");
            write(&format!("{name}/ifindex"), own);
            write(&format!("{name}/iflink"), peer);
        }
        write("lan1/mtu", "1500\n");
        write("lan1/address", "02:00:00:00:00:01\n");
        write("lan1/carrier", "1\n");
        write("lan1/phys_switch_id", "d0a1\n");
        write("lan1/brport/x", "");
        std::os::unix::fs::symlink(
            "../../br-lan",
            folder.path().join("sys/class/net/lan1/brport/bridge"),
        )
        .unwrap();
        let text = "config tsg main\nconfig bridge plant\n list lan lan1\n option wan wan9\n\
                    option standalone 1\n option box box1\nconfig port\n option device lan1\n option gro 0\n";
        let package = uci::Package::parse(text.as_bytes()).unwrap();
        let config = Config::from_package(Path::new("tsg"), &package).0;
        let reader = |name: &str| match name {
            "lan1" => Ok(Settings::from([(Feature::Gro, Setting { on: true, fixed: false })])),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let list = list_of(&config, &Machine::new(folder.path()), &reader);
        let nothing = json!({ "on": false, "fixed": true, "wanted": null });
        let none = |gro: Value| {
            json!({ "gro": gro, "lro": nothing, "tso": nothing, "gso": nothing,
                    "rx_gro_list": nothing, "rx_udp_gro_forwarding": nothing })
        };
        let gro = json!({ "on": true, "fixed": false, "wanted": false });
        let expected = json!({ "ports": [
            { "name": "lan1", "section": "plant", "role": "lan", "link": true, "mtu": 1500,
              "mac": "02:00:00:00:00:01", "switch": "d0a1", "bridge": "br-lan",
              "offloads": none(gro) },
            { "name": "wan", "section": null, "role": "none", "link": false, "mtu": 0, "mac": "",
              "switch": null, "bridge": null, "offloads": none(nothing.clone()) },
            { "name": "wan9", "section": "plant", "role": "wan", "link": false, "mtu": 0, "mac": "",
              "switch": null, "bridge": null, "offloads": none(nothing.clone()) },
        ] });
        assert_eq!(list, expected);
    }
}
