//! The rules as a switch, for ports that are in no bridge: what passes goes to the port behind which its destination was
//! heard last, and to all others if that is not known. They stay when the daemon goes, and what is not matched with them.

use super::{Hooks, Lines, chain, ether_set, hook, set};
use core::fmt::Write as _;
use core::net::IpAddr;

/// How long a station is remembered without a word from it, and how many are: as a bridge does.
const LIFETIME: &str = "5m";
const MOST: usize = 4_096;

pub(super) struct Cross<'a> {
    /// All ports, that of the box included.
    ports: Vec<&'a str>,
    hooks: &'a Hooks<'a>,
}

impl<'a> Cross<'a> {
    pub(super) fn new(hooks: &'a Hooks<'a>) -> Self {
        let ports = hooks.ports.iter().map(|(port, _)| *port);
        let ports = ports.chain(hooks.box_port.as_ref().map(|port| port.name)).collect();
        Self { ports, hooks }
    }

    /// A set for each port: the stations behind it.
    pub(super) fn sets(&self, text: &mut String) {
        for port in &self.ports {
            let _ = writeln!(
                text,
                "  set at-{port} {{ type ether_addr; size {MOST}; flags dynamic,timeout; timeout {LIFETIME}; }}"
            );
        }
    }

    /// The sender is behind this port now.
    pub(super) fn learn(&self, lines: &mut Lines<'_>, port: &str) {
        lines.add(format!("update @at-{port} {{ ether saddr }}"));
        for other in self.others(port) {
            lines.add(format!("delete @at-{other} {{ ether saddr }}"));
        }
    }

    /// What is for the box is no affair of the policy.
    pub(super) fn to_box(&self, lines: &mut Lines<'_>) {
        if let Some(port) = &self.hooks.box_port
            && let Some(peer) = ether_set(port.peer.as_slice())
        {
            lines.add(format!("ether daddr {peer} fwd to \"{}\"", port.name));
        }
    }

    /// Chain `pass`, and what it needs; and what the box sends.
    pub(super) fn chains(&self, text: &mut String) {
        for port in &self.ports {
            chain(text, &format!("flood-{port}"), |lines| {
                for other in self.others(port) {
                    lines.add(format!("dup to \"{other}\""));
                }
                // With a port of its own the box hears everything there, and must not answer twice.
                lines.add(if self.hooks.box_port.is_some() { "drop" } else { "accept" });
            });
            chain(text, &format!("cross-{port}"), |lines| {
                let group = "01:00:00:00:00:00";
                lines.add(format!("ether daddr & {group} == {group} goto flood-{port}"));
                lines.add(format!("ether daddr @at-{port} drop"));
                for other in self.others(port) {
                    lines.add(format!("ether daddr @at-{other} fwd to \"{other}\""));
                }
                lines.add(format!("goto flood-{port}"));
            });
        }
        if let Some(port) = &self.hooks.box_port {
            hook(text, "port", port.name, |lines| {
                self.learn(lines, port.name);
                own_only(lines, &port.addresses);
                lines.add(format!("goto cross-{}", port.name));
            });
        }
        chain(text, "pass", |lines| {
            for (port, _) in &self.hooks.ports {
                lines.add(format!("iifname \"{port}\" goto cross-{port}"));
            }
            lines.add("drop");
        });
    }

    fn others(&self, port: &str) -> impl Iterator<Item = &&'a str> {
        self.ports.iter().filter(move |other| **other != port)
    }
}

/// A box that routes would carry past the policy what others send to it. So only what it says itself passes.
fn own_only(lines: &mut Lines<'_>, addresses: &[IpAddr]) {
    let own = |v4: bool, always: &[&str]| {
        let own = addresses.iter().filter(|address| address.is_ipv4() == v4);
        set(always.iter().map(ToString::to_string).chain(own.map(ToString::to_string)))
    };
    lines.add(format!("meta protocol ip ip saddr != {} drop", own(true, &["0.0.0.0"])));
    lines.add(format!("meta protocol ip6 ip6 saddr != {} drop", own(false, &["::", "fe80::/10"])));
    lines.add("meta protocol { 0x8100, 0x88a8 } drop");
}
