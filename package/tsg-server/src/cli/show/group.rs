//! Groups and their policies as tables.

use super::super::table::Table;
use super::{date, span};
use crate::database::PolicyRow;
use crate::operations::PolicyView;
use std::fmt::Write as _;
use tsg_control::policy::Rule;
use tsg_control::server::{EpochView, GroupView};
use tsg_control::timeline::Stage;

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepared => "prepared",
        Stage::Active => "in force",
        Stage::Retiring => "retiring",
    }
}

fn in_force(group: &GroupView) -> Option<&EpochView> {
    group.epochs.iter().rev().find(|epoch| epoch.stage == Stage::Active)
}

pub(super) fn list(groups: &[GroupView]) -> String {
    let mut table = Table::new(&["GROUP", "GATEWAYS", "ONLINE", "EPOCH", "ENDS IN", "POLICY"]);
    for group in groups {
        let epoch = in_force(group);
        table.line(vec![
            group.name.clone(),
            group.members.to_string(),
            group.online.to_string(),
            epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.id.to_string()),
            epoch.map_or_else(String::new, |epoch| span(epoch.remaining)),
            group.policy_in_force.to_string(),
        ]);
    }
    table.text("no groups: make one with `group add NAME`")
}

pub(super) fn show(group: &GroupView) -> String {
    let mut text = format!(
        "group      {}\ngateways   {}, {} online\npolicy     {} in force",
        group.name, group.members, group.online, group.policy_in_force
    );
    if group.policy_version != group.policy_in_force {
        let _ = write!(text, ", {} on its way", group.policy_version);
    }
    text.push('\n');
    if !group.late.is_empty() {
        let _ = writeln!(text, "late       {}", group.late.join(" "));
    }
    let mut table = Table::new(&["EPOCH", "STAGE", "ENDS IN", "SENDERS", "CIPHER"]);
    for epoch in &group.epochs {
        table.line(vec![
            epoch.id.to_string(),
            stage(epoch.stage).to_owned(),
            span(epoch.remaining),
            epoch.senders.map_or_else(String::new, |senders| senders.to_string()),
            epoch.cipher.clone().unwrap_or_else(|| "made before a restart".to_owned()),
        ]);
    }
    let _ = write!(text, "\n{}\n", table.text("no epoch: nobody is in this group yet"));
    text.push_str(&settings(group));
    text
}

fn settings(group: &GroupView) -> String {
    let mut table = Table::new(&["SETTING", "VALUE"]);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&group.settings) {
        for (name, value) in fields {
            let shown = match (name.as_str(), value) {
                ("island_time", value) if value == tsg_control::group::FOREVER => {
                    "infinite".to_owned()
                }
                (_, serde_json::Value::String(text)) => text,
                (_, other) => other.to_string(),
            };
            table.line(vec![name, shown]);
        }
    }
    table.text("")
}

pub(super) fn policy(policy: &PolicyView) -> String {
    let mut text = match policy.version == policy.in_force {
        true => format!("{}: policy {}, in force\n", policy.group, policy.version),
        false => format!(
            "{}: policy {}, on its way; {} is in force\n",
            policy.group, policy.version, policy.in_force
        ),
    };
    text.push_str(&rules(&policy.policy.rules));
    let _ = writeln!(text, "what no rule matches: {}", policy.policy.default_action);
    text
}

fn rules(rules: &[Rule]) -> String {
    fn words<T: ToString>(list: &[T]) -> String {
        match list {
            [] => "any".to_owned(),
            _ => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    }
    let heading = ["RULE", "NAME", "ACTION", "PROTO", "SRC_IP", "SRC_PORT", "DEST_IP", "DEST_PORT"];
    let mut table = Table::new(&heading);
    for (at, rule) in rules.iter().enumerate() {
        table.line(vec![
            (at + 1).to_string(),
            rule.name.clone(),
            rule.action.to_string(),
            words(&rule.proto),
            words(&rule.src_ip),
            words(&rule.src_port),
            words(&rule.dest_ip),
            words(&rule.dest_port),
        ]);
    }
    table.text("no rules")
}

pub(super) fn history(rows: &[PolicyRow]) -> String {
    let mut table = Table::new(&["VERSION", "TIME", "WHO", "RULES", "DEFAULT"]);
    for row in rows {
        table.line(vec![
            row.policy.version.to_string(),
            date(row.at),
            row.who.clone(),
            row.policy.policy.rules.len().to_string(),
            row.policy.policy.default_action.to_string(),
        ]);
    }
    table.text("no policy was ever accepted for this group")
}
