//! Values as the pages show them. Templates call these, and pass references.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use tsg_control::group::Mode;
use tsg_control::keys::PublicKey;
use tsg_control::message::PortState;
use tsg_control::policy::{Action, Block, Ports, Rule};
use tsg_control::server::{EpochView, GatewayState, GatewayView, GroupView};
use tsg_control::timeline::Stage;

/// More are not named one by one.
const MOST_NAMES: usize = 6;

/// Seconds: `3 d 4 h`, `17 min`, `12 s`.
pub(super) fn span(seconds: &u64) -> String {
    match *seconds {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5_400 => format!("{} min", s / 60),
        s @ 5_400..172_800 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        s => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

/// Milliseconds since 1970: `2026-11-20 15:04:05`.
pub(super) fn date(milliseconds: &u64) -> String {
    tsg_bundle::utc(milliseconds / 1000)
}

/// Seconds since 1970.
pub(super) fn date_of(seconds: &u64) -> String {
    tsg_bundle::utc(*seconds)
}

/// The first of them, and how many more there are.
pub(super) fn names(all: &[String]) -> String {
    joined(all, ", ")
}

/// The first addresses, and how many more there are.
pub(super) fn addresses(all: &[IpAddr]) -> String {
    joined(all, ", ")
}

/// All of them; `any` for none.
pub(super) fn list<T: Display>(all: &[T]) -> String {
    if all.is_empty() { "any".to_owned() } else { every(all, ", ") }
}

fn joined<T: Display>(all: &[T], between: &str) -> String {
    let mut text = every(&all[..all.len().min(MOST_NAMES)], between);
    if all.len() > MOST_NAMES {
        let _ = write!(text, " and {} more", all.len() - MOST_NAMES);
    }
    text
}

fn every<T: Display>(all: &[T], between: &str) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

pub(super) const fn state(gateway: &GatewayView) -> &'static str {
    match gateway.state {
        GatewayState::Pending => "pending",
        GatewayState::Online => "online",
        GatewayState::Offline => "offline",
        GatewayState::Revoked => "revoked",
    }
}

/// It is there, and has not taken over the newest state of its group.
pub(super) fn is_late(gateway: &GatewayView) -> bool {
    gateway.state == GatewayState::Online && !gateway.current
}

/// The beginning of a fingerprint.
pub(super) fn shortened(fingerprint: &str) -> String {
    let parts: Vec<_> = fingerprint.split('-').take(3).collect();
    format!("{}…", parts.join("-"))
}

/// The beginning of a key's fingerprint.
pub(super) fn short_key(key: &PublicKey) -> String {
    shortened(&key.fingerprint().to_string())
}

/// A counter's name, for people: `drop_policy` is `dropped: a drop rule …`.
pub(super) fn counter(name: &str) -> String {
    if let Some(why) = super::drops::reason(name) {
        return format!("dropped: {why}");
    }
    let text = name.replace('_', " ");
    text.strip_prefix("drop ").map_or_else(|| text.clone(), |why| format!("dropped: {why}"))
}

/// How a port's link is.
pub(super) fn link(port: &PortState) -> String {
    match (port.up, port.mbits) {
        (false, _) => "no link".to_owned(),
        (true, None) => "link".to_owned(),
        (true, Some(speed)) => format!("link, {speed} Mbit/s"),
    }
}

/// What came to a counter lately.
pub(super) fn lately(recent: &BTreeMap<String, u64>, name: &str) -> String {
    recent.get(name).map(ToString::to_string).unwrap_or_default()
}

pub(super) const fn mode(group: &GroupView) -> &'static str {
    match group.settings.mode {
        Mode::Learn => "learn",
        Mode::ReceiveOnly => "receive-only",
        Mode::Migrate => "migrate",
        Mode::Enforce => "enforce",
    }
}

pub(super) const fn done(action: &Action) -> &'static str {
    match action {
        Action::Bypass => "let through in clear",
        Action::Encrypt => "sealed",
        Action::Drop => "dropped",
    }
}

pub(super) const fn stage(epoch: &EpochView) -> &'static str {
    match epoch.stage {
        Stage::Prepared => "being prepared",
        Stage::Active => "in force",
        Stage::Retiring => "still opened",
    }
}

pub(super) fn from(rule: &Rule) -> String {
    end(&rule.src_ip, &rule.src_port)
}

pub(super) fn to(rule: &Rule) -> String {
    end(&rule.dest_ip, &rule.dest_port)
}

fn end(blocks: &[Block], ports: &[Ports]) -> String {
    match (blocks.is_empty(), ports.is_empty()) {
        (true, true) => "any".to_owned(),
        (false, true) => every(blocks, ", "),
        (true, false) => format!("port {}", every(ports, ", ")),
        (false, false) => format!("{} port {}", every(blocks, ", "), every(ports, ", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_say_them() {
        let spans = [0, 89, 90, 5_399, 5_400, 172_799, 172_800].map(|s| span(&s));
        assert_eq!(
            spans,
            ["0 s", "89 s", "1 min", "89 min", "1 h 30 min", "47 h 59 min", "2 d 0 h"]
        );
        assert_eq!(counter("drop_replay"), "dropped: replay");
        assert_eq!(counter("opened"), "opened");
        let names: Vec<_> = (0..8).map(|n| format!("g{n}")).collect();
        assert_eq!(super::names(&names), "g0, g1, g2, g3, g4, g5 and 2 more");
        let rule: Rule =
            "encrypt proto=tcp dest_ip=192.0.2.0/24 dest_port=502,503".parse().unwrap();
        assert_eq!(
            (from(&rule), to(&rule)),
            ("any".to_owned(), "192.0.2.0/24 port 502, 503".to_owned())
        );
    }
}
