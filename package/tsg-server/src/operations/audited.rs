//! The lines that an operation leaves in the audit trail.

use super::{Answer, Operation, Operator, Refusal};
use crate::accounts::{Totp, UserChange};
use crate::age::Recipient;
use crate::database::AuditEntry;
use tsg_control::message::CommandKind;

/// Longer texts are cut.
const MOST_TEXT: usize = 1_000;

/// The lines for an operation and what came of it: none for one that only looks. One for the operation itself, or for each
/// part of it, and one for each gateway that was let in by a list, so that the trail says of each who did it.
pub fn entries(
    operator: &Operator,
    operation: &Operation,
    outcome: &Result<Answer, Refusal>,
) -> Vec<AuditEntry> {
    let mut entries: Vec<_> = match parts(operation) {
        Some(parts) => parts.iter().filter_map(|part| entry(operator, part, outcome)).collect(),
        None => entry(operator, operation, outcome).into_iter().collect(),
    };
    if let Ok(Answer::ApprovedList(list)) = outcome {
        entries.extend(list.approved.iter().map(|approval| AuditEntry {
            who: operator.0.clone(),
            action: "gateway approve".to_owned(),
            object: shown(&format!("{} into {}, by a list", approval.name, approval.group)),
            outcome: format!("done: {}", approval.fingerprint),
        }));
    }
    entries
}

/// The operations that one consists of, if it is such a one.
fn parts(operation: &Operation) -> Option<Vec<Operation>> {
    let Operation::GatewayChange { gateway, name, machines, tags } = operation else { return None };
    let gateway = || gateway.clone();
    let pin =
        machines.clone().map(|machines| Operation::GatewayPin { gateway: gateway(), machines });
    let tag = tags.clone().map(|tags| Operation::GatewayTag { gateway: gateway(), tags });
    let rename = name.clone().map(|name| Operation::GatewayRename { gateway: gateway(), name });
    Some([pin, tag, rename].into_iter().flatten().collect())
}

fn entry(
    operator: &Operator,
    operation: &Operation,
    outcome: &Result<Answer, Refusal>,
) -> Option<AuditEntry> {
    let (action, object) = described(operation)?;
    let outcome = match outcome {
        Ok(Answer::Approved(approval)) => format!("done: {}", approval.fingerprint),
        Ok(Answer::ApprovedList(list)) => format!("done: {}", list.summary()),
        Ok(Answer::Accepted { version }) => format!("done: version {version}"),
        Ok(Answer::Token(token)) => format!("done: token {}", token.id),
        Ok(Answer::ApiToken(token)) => format!("done: API token {}", token.id),
        Ok(Answer::Rekeying { epoch, .. }) => format!("done: epoch {epoch}"),
        Ok(Answer::Commanded { command }) => format!("sent: command {command}"),
        // What comes of it is the door's: it is made when this is stored.
        Ok(Answer::Backup(_)) => "begun".to_owned(),
        Ok(_) => "done".to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
    };
    Some(AuditEntry {
        who: operator.0.clone(),
        action: action.to_owned(),
        object: shown(&object),
        outcome: shown(&outcome),
    })
}

/// Does an operation change something, or leave a line in the audit trail?
pub fn changes(operation: &Operation) -> bool {
    described(operation).is_some()
}

fn described(operation: &Operation) -> Option<(&'static str, String)> {
    use Operation as Op;
    Some(match operation {
        Op::Key {}
        | Op::Status {}
        | Op::Traffic {}
        | Op::AlarmList {}
        | Op::GatewayList {}
        | Op::GatewayFind(_)
        | Op::GatewayShow { .. }
        | Op::GatewayOutcome { .. }
        | Op::GroupList {}
        | Op::GroupShow { .. }
        | Op::FlowList { .. }
        | Op::PolicyShow { .. }
        | Op::PolicyCheck { .. }
        | Op::PolicyHistory { .. }
        | Op::TokenList {}
        | Op::AuditList(_)
        | Op::AuditVerify {}
        | Op::UserList {}
        | Op::ApiTokenList {} => return None,
        Op::AlarmTest {} => ("alarm test", "all channels".to_owned()),
        Op::GatewayApprove { gateway, group, .. } => {
            ("gateway approve", format!("{gateway} into {group}"))
        }
        Op::GatewayApproveListed { group, fingerprints } => {
            ("gateway approve-list", listed(group, fingerprints))
        }
        Op::GatewayRevoke { gateway, reason } => ("gateway revoke", format!("{gateway}: {reason}")),
        Op::GatewayRename { gateway, name } => ("gateway rename", format!("{gateway} to {name}")),
        Op::GatewayRemove { gateway } => ("gateway remove", gateway.to_string()),
        Op::GatewayPin { gateway, machines } => {
            let list: Vec<_> = machines.iter().map(ToString::to_string).collect();
            ("gateway pin", format!("{gateway}: {}", list.join(" ")))
        }
        Op::GatewayTag { gateway, tags } => {
            ("gateway tag", format!("{gateway}: {}", tags.join(" ")))
        }
        Op::GatewayChange { gateway, .. } => ("gateway change", gateway.to_string()),
        Op::GatewayCommand { gateway, kind } => {
            ("gateway command", format!("{gateway}: {}", command_name(kind)))
        }
        Op::GroupAdd { group } => ("group add", group.clone()),
        Op::GroupRemove { group } => ("group remove", group.clone()),
        Op::GroupSet { group, settings, .. } => {
            let list: Vec<_> =
                settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            ("group set", format!("{group}: {}", list.join(" ")))
        }
        Op::GroupKeys { group, .. } => ("group keys", group.clone()),
        Op::PolicySet { group, rules, .. } => {
            ("policy set", format!("{group}: {} rules", rules.len()))
        }
        Op::TokenCreate { group, lifetime, .. } => {
            ("token create", format!("{group}, {lifetime} seconds"))
        }
        Op::TokenRevoke { id } => ("token revoke", id.to_string()),
        Op::Rekey { group } => ("rekey", group.clone()),
        Op::Backup { recipients } => ("backup", named(recipients)),
        Op::UserAdd { name, role, .. } => ("user add", format!("{name} as {role}")),
        Op::UserChange { name, change } => ("user change", format!("{name}: {}", what(change))),
        Op::UserRemove { name } => ("user remove", name.clone()),
        Op::ApiTokenCreate { name, role, lifetime } => {
            ("api-token create", format!("{name} as {role}, {lifetime} seconds"))
        }
        Op::ApiTokenRevoke { id } => ("api-token revoke", id.to_string()),
    })
}

/// How many, and the first of them.
fn listed(group: &str, fingerprints: &[String]) -> String {
    let first = fingerprints.iter().take(3).map(|text| text.chars().take(60).collect::<String>());
    let first = first.collect::<Vec<_>>().join(" ");
    let more = if fingerprints.len() > 3 { " …" } else { "" };
    format!("{} fingerprints into {group}: {first}{more}", fingerprints.len())
}

fn what(change: &UserChange) -> String {
    let role = change.role.map(|role| format!("role {role}"));
    let password = change.password.as_ref().map(|_| "another password".to_owned());
    let totp = change.totp.as_ref().map(|totp| match totp {
        Totp::Off => "no second factor".to_owned(),
        Totp::On(_) => "a second factor".to_owned(),
    });
    role.into_iter().chain(password).chain(totp).collect::<Vec<_>>().join(", ")
}

/// What is no recipient may be an identity, which is secret.
fn named(recipients: &[String]) -> String {
    let named = recipients.iter().map(|text| match text.trim().parse::<Recipient>() {
        Ok(recipient) => recipient.to_string(),
        Err(_) => "(no recipient)".to_owned(),
    });
    named.collect::<Vec<_>>().join(" ")
}

const fn command_name(kind: &CommandKind) -> &'static str {
    match kind {
        CommandKind::Rekey => "rekey",
        CommandKind::Reload => "reload",
        CommandKind::Reregister => "reregister",
        CommandKind::LogLevel(_) => "log-level",
        CommandKind::Diagnostics => "diagnostics",
        CommandKind::Reboot => "reboot",
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect()
}
