//! The status page: what waits for the operator comes first.

use super::super::table::Table;
use super::{date, span};
use crate::operations::Status;
use std::fmt::Write as _;

pub(super) fn status(status: &Status) -> String {
    let mut text = String::new();
    wanting(&mut text, status);
    let mut table =
        Table::new(&["GROUP", "GATEWAYS", "ONLINE", "LATE", "EPOCH", "ENDS IN", "POLICY"]);
    for group in &status.groups {
        let arrow = |now: u64, next: Option<u64>| match (now, next) {
            (0, None) => "none".to_owned(),
            (now, None) => now.to_string(),
            (now, Some(next)) => format!("{now} -> {next}"),
        };
        table.line(vec![
            group.name.clone(),
            group.members.to_string(),
            group.online.to_string(),
            group.late.len().to_string(),
            arrow(group.epoch, group.preparing),
            group.remaining.map_or_else(String::new, span),
            arrow(group.policy, group.policy_preparing),
        ]);
    }
    text.push_str(&table.text("no groups: make one with `group add NAME`"));
    let _ = writeln!(
        text,
        "\ngateways     {} online, {} offline, {} pending, {} revoked\n\
         listens on   {}\nannounces on {}\nup for       {}\nclock        {} UTC, {} jumps\n\
         database     {}, {} kB\nsecrets      {}",
        status.online,
        status.offline.len(),
        status.pending.len(),
        status.revoked,
        status.listen,
        status.publish,
        span(status.uptime),
        date(status.now),
        status.clock_jumps,
        status.database,
        status.database_bytes.div_ceil(1024),
        status.secrets,
    );
    if !status.dropped.is_empty() {
        let list: Vec<_> = status.dropped.iter().map(|(why, n)| format!("{why} {n}")).collect();
        let _ = writeln!(text, "dropped      {}", list.join(", "));
    }
    text
}

/// What somebody should do something about.
fn wanting(text: &mut String, status: &Status) {
    for gateway in &status.pending {
        let _ = writeln!(
            text,
            "PENDING  {} {}: `gateway approve {} --group GROUP`",
            gateway.name, gateway.fingerprint, gateway.fingerprint
        );
    }
    for alarm in &status.alarms {
        let _ = writeln!(text, "ALARM    {}: {}", alarm.gateway, alarm.alarm);
    }
    for group in &status.groups {
        if let Some((shown, more)) = some(&group.late) {
            let _ = writeln!(text, "LATE     {}: {shown}{more}", group.name);
        }
    }
    if let Some((shown, more)) = some(&status.offline) {
        let _ = writeln!(text, "OFFLINE  {shown}{more}");
    }
    if !text.is_empty() {
        text.push('\n');
    }
}

/// The first names, and how many more there are; `None` when there is none.
fn some(names: &[String]) -> Option<(String, String)> {
    const MOST: usize = 12;
    let more = match names.len() {
        0 => return None,
        1..=MOST => String::new(),
        all => format!(" and {} more", all - MOST),
    };
    Some((names.iter().take(MOST).cloned().collect::<Vec<_>>().join(" "), more))
}
