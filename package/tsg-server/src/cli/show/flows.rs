//! Who uses which service, as a table.

use super::super::table::Table;
use super::span;
use crate::operations::FlowsView;
use tsg_control::group::Mode;
use tsg_control::server::FlowView;

pub(super) fn flows(flows: &FlowsView) -> String {
    let heading = [
        "CLIENT",
        "SERVER",
        "PROTO",
        "PORT",
        "PACKETS",
        "FIRST",
        "LAST",
        "THE RULES",
        "GATEWAYS",
        "IN CLEAR",
    ];
    let mut table = Table::new(&heading);
    for flow in &flows.flows {
        table.line(vec![
            flow.client.to_string(),
            flow.server.to_string(),
            flow.proto.clone().unwrap_or_default(),
            flow.port.map(|port| port.to_string()).unwrap_or_default(),
            flow.packets.to_string(),
            format!("{} ago", span(flow.first)),
            format!("{} ago", span(flow.last)),
            judged(flow),
            flow.gateways.join(" "),
            in_clear(flow).to_owned(),
        ]);
    }
    table.text(match flows.mode {
        Mode::Learn | Mode::Migrate => "no gateway of this group has reported any flow yet",
        Mode::ReceiveOnly | Mode::Enforce => {
            "nothing is known: gateways report flows in the modes learn and migrate"
        }
    })
}

fn judged(flow: &FlowView) -> String {
    match flow.rule {
        Some(number) => format!("{} (rule {number})", flow.action),
        None => format!("{} (no rule)", flow.action),
    }
}

const fn in_clear(flow: &FlowView) -> &'static str {
    match (flow.in_clear, flow.unreached) {
        (true, _) => "comes in clear",
        (false, true) => "no gateway in front",
        (false, false) => "",
    }
}
