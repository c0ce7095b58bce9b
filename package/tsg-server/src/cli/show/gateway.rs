//! Gateways as tables.

use super::super::table::Table;
use super::{date, span};
use crate::operations::ApprovedList;
use std::fmt::Write as _;
use tsg_control::message::PortState;
use tsg_control::server::{GatewayState, GatewayView};

const fn state(gateway: &GatewayView) -> &'static str {
    match gateway.state {
        GatewayState::Pending => "pending",
        GatewayState::Online => "online",
        GatewayState::Offline => "offline",
        GatewayState::Revoked => "revoked",
    }
}

fn heard(gateway: &GatewayView) -> String {
    gateway.heard.map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", span(seconds)))
}

fn addresses(list: &[std::net::IpAddr]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn port(port: &PortState) -> String {
    let side = if port.wan { "wan" } else { "lan" };
    let link = match (port.up, port.mbits) {
        (false, _) => "no link".to_owned(),
        (true, None) => "link".to_owned(),
        (true, Some(speed)) => format!("link, {speed} Mbit/s"),
    };
    let on = if port.offloads.is_empty() { "none" } else { &port.offloads.join(" ") };
    format!("{} ({side}): {link}; offloads: {on}", port.name)
}

pub(super) fn list(gateways: &[GatewayView]) -> String {
    let heading = ["NAME", "STATE", "GROUP", "EPOCH", "HEARD", "FINGERPRINT", "ALARMS"];
    let mut table = Table::new(&heading);
    for gateway in gateways {
        let epoch = match gateway.sealing {
            0 => String::new(),
            epoch => epoch.to_string(),
        };
        table.line(vec![
            gateway.name.clone(),
            state(gateway).to_owned(),
            gateway.group.clone(),
            epoch,
            heard(gateway),
            gateway.fingerprint.clone(),
            gateway.alarms.join("; "),
        ]);
    }
    table.text("no gateways: none has asked to join yet")
}

/// What a list came to: all of it, as whoever rolls out goes on with those that are missing.
pub(super) fn approved(list: &ApprovedList) -> String {
    let mut table = Table::new(&["FINGERPRINT", "NAME", "GROUP", "WHAT"]);
    let known = [
        (&list.approved, "let in"),
        (&list.members, "was in before"),
        (&list.revoked, "stays thrown out: approve it by itself"),
    ];
    for (gateways, what) in known {
        for one in gateways {
            let cells = [&one.fingerprint, &one.name, &one.group];
            table.line(cells.into_iter().cloned().chain([what.to_owned()]).collect());
        }
    }
    for fingerprint in &list.absent {
        let none = String::new;
        table.line(vec![fingerprint.clone(), none(), none(), "has not asked yet".to_owned()]);
    }
    format!("{}{}: {}\n", table.text(""), list.group, list.summary())
}

pub(super) fn show(gateway: &GatewayView) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let lines = [
        ("name", gateway.name.clone()),
        ("state", state(gateway).to_owned()),
        ("reason", gateway.reason.clone().unwrap_or_default()),
        ("group", gateway.group.clone()),
        ("fingerprint", gateway.fingerprint.clone()),
        ("public key", gateway.key.to_string()),
        ("version", gateway.version.clone()),
        ("heard", heard(gateway)),
        ("seals in epoch", gateway.sealing.to_string()),
        ("up to date", yes(gateway.current)),
        ("AES in hardware", yes(gateway.aes)),
        ("machines", addresses(&gateway.machines)),
        ("pinned machines", addresses(&gateway.pinned)),
        ("tags", gateway.tags.join(" ")),
        ("alarms", gateway.alarms.join("; ")),
    ];
    let mut text = String::new();
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name:16} {value}");
    }
    for port in &gateway.ports {
        let _ = writeln!(text, "{:16} {}", "port", self::port(port));
    }
    for event in &gateway.events {
        let _ = writeln!(text, "{}  {}", date(event.at), event.text);
    }
    for (name, count) in &gateway.counters {
        let _ = writeln!(text, "  {name:30} {count}");
    }
    text
}
