//! The gateway's ports: what is on them, and what could carry packets past them.

use super::FLOW_OFFLOAD;
use crate::{config::Config, gate};
use tsg_bundle::{Topic, machine};

/// Questions to ethtool, for each port.
const ETHTOOL: [&[&str]; 5] =
    [&[], &["--show-features"], &["--driver"], &["--statistics"], &["--show-coalesce"]];

pub(super) fn collect(topic: &mut Topic, config: &Config) {
    let ports = names(config);
    let asked = ports.clone();
    let look = move || asked.iter().map(|port| format!("{port}: {}\n", gate_on(port))).collect();
    let gates = topic.within("gate", Box::new(look));
    topic.say("gate", gates);
    for port in &ports {
        for question in ETHTOOL {
            let argv: Vec<&str> = [&["ethtool"], question, &[port]].concat();
            topic.run(&argv);
        }
    }
    flow_offload(topic);
}

fn gate_on(port: &str) -> String {
    match gate::filter_on(port) {
        Ok(Some(number)) => format!("stands, program {number}"),
        Ok(None) => "none".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// The ports of the configuration and their bridges; if there are none, every interface.
fn names(config: &Config) -> Vec<String> {
    let bridges = config.bridges.iter();
    let mut names: Vec<String> = bridges
        .flat_map(|bridge| bridge.lan.iter().chain([&bridge.wan]).chain(&bridge.device).cloned())
        .collect();
    if names.is_empty() {
        names = machine::interface_names();
        names.retain(|name| name != "lo");
    }
    names.dedup();
    names
}

fn flow_offload(topic: &mut Topic) {
    topic.run(&["nft", "list", "flowtables"]);
    let firewall = "/etc/config/firewall";
    if let Ok(text) = topic.read(firewall) {
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(FLOW_OFFLOAD)).collect();
        topic.say(&format!("{firewall}: lines with {FLOW_OFFLOAD}"), lines.join("\n"));
    }
}
