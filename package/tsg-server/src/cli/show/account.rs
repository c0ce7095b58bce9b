//! Users, tokens of programs, the audit trail's verdict and traffic, for people.

use super::date;
use crate::cli::table::Table;
use crate::database::AuditVerdict;
use crate::operations::{ApiTokenView, Sample, TrafficView, UserView};

pub(super) fn users(users: &[UserView]) -> String {
    let mut table = Table::new(&["USER", "ROLE", "SINCE", "SECOND FACTOR"]);
    for user in users {
        let second = if user.second_factor { "yes" } else { "no" };
        let since = date(user.since * 1000);
        table.line(vec![user.name.clone(), user.role.to_string(), since, second.to_owned()]);
    }
    table.text("no users: the first one is made on the set-up page, or by `user add`")
}

pub(super) fn api_tokens(tokens: &[ApiTokenView]) -> String {
    let mut table = Table::new(&["TOKEN", "NAME", "ROLE", "EXPIRES", "MADE BY"]);
    for token in tokens {
        table.line(vec![
            token.id.to_string(),
            token.name.clone(),
            token.role.to_string(),
            date(token.expires * 1000),
            token.made_by.clone(),
        ]);
    }
    table.text("no API tokens")
}

pub(super) fn verdict(verdict: &AuditVerdict) -> String {
    let AuditVerdict { lines, unchained, head, broken } = verdict;
    if !broken.is_empty() {
        return format!("NOT as it was written: {broken}\n");
    }
    let older = match unchained {
        0 => String::new(),
        older => format!(", the first {older} by a server that made no hashes yet"),
    };
    format!("{lines} lines, as they were written{older}\nnewest hash  {head}\n")
}

pub(super) fn traffic(traffic: &TrafficView) -> String {
    let mut table =
        Table::new(&["GROUP", "SEALED", "OPENED", "DROPPED", "IN CLEAR", "IN THE LAST"]);
    for (group, samples) in &traffic.groups {
        let sum = |count: fn(&Sample) -> u64| samples.iter().map(count).sum::<u64>().to_string();
        table.line(vec![
            group.clone(),
            sum(|sample| sample.sealed),
            sum(|sample| sample.opened),
            sum(|sample| sample.dropped),
            sum(|sample| sample.bypassed),
            super::span(traffic.every * samples.len() as u64),
        ]);
    }
    let mut text = table.text("nothing was counted yet");
    let mut drops = Table::new(&["GROUP", "DROPPED", "IN THE LAST MINUTES", "SINCE THE START"]);
    for (group, counts) in &traffic.drops {
        for (name, count) in counts {
            let why = name.trim_start_matches("drop_").to_owned();
            drops.line(vec![group.clone(), why, count.recent.to_string(), count.total.to_string()]);
        }
    }
    if !traffic.drops.is_empty() {
        text.push('\n');
        text.push_str(&drops.text(""));
    }
    text
}
