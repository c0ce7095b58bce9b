//! The operation that each command is.

use super::super::{input, password, policy_file};
use super::{ApiToken, Command, Gateway, Group, Policy, Token, User};
use crate::accounts::{Totp, UserChange};
use crate::database::AuditFilter;
use crate::operations::{GatewayName, Operation};
use anyhow::{Result, bail};
use std::time::Duration;

impl Command {
    /// For how long to wait until what was ordered is so.
    pub(in super::super) fn waits(&self) -> Option<Duration> {
        match self {
            // The longest activation delay, and some.
            Self::Rekey { wait, .. } => wait.then(|| Duration::from_secs(960)),
            Self::Gateway(Gateway::Command { wait, .. }) => {
                Some(Duration::from_secs((*wait).into()))
            }
            Self::Run(_)
            | Self::Bundle(_)
            | Self::Backup(_)
            | Self::BackupKey { .. }
            | Self::Restore(_)
            | Self::SealKey { .. }
            | Self::Reseal(_)
            | Self::Health
            | Self::Key
            | Self::Status
            | Self::Gateway(_)
            | Self::Group(_)
            | Self::Policy(_)
            | Self::Token(_)
            | Self::Audit { .. }
            | Self::Traffic
            | Self::Alarms { .. }
            | Self::User(_)
            | Self::ApiToken(_) => None,
        }
    }

    /// The operation that it is.
    pub(in super::super) fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        Ok(match self {
            Self::Run(_)
            | Self::Bundle(_)
            | Self::Health
            | Self::BackupKey { .. }
            | Self::Restore(_)
            | Self::SealKey { .. }
            | Self::Reseal(_) => bail!("this is no question to the server"),
            Self::Backup(wanted) => Op::Backup { recipients: wanted.recipients.clone() },
            Self::Key => Op::Key {},
            Self::Status => Op::Status {},
            Self::Gateway(command) => command.operation()?,
            Self::Group(command) => command.operation(),
            Self::Policy(command) => command.operation()?,
            Self::Token(command) => command.operation(),
            Self::Rekey { group, .. } => Op::Rekey { group: group.clone() },
            Self::Audit { verify: true, .. } => Op::AuditVerify {},
            Self::Audit { last, text, .. } => Op::AuditList(AuditFilter {
                most: *last,
                text: text.clone(),
                ..AuditFilter::default()
            }),
            Self::Traffic => Op::Traffic {},
            Self::Alarms { test: true } => Op::AlarmTest {},
            Self::Alarms { test: false } => Op::AlarmList {},
            Self::User(command) => command.operation()?,
            Self::ApiToken(command) => command.operation(),
        })
    }
}

impl Gateway {
    fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        let named = |gateway: &String| GatewayName(gateway.clone());
        Ok(match self {
            Self::List => Op::GatewayList {},
            Self::Show { gateway } => Op::GatewayShow { gateway: named(gateway) },
            Self::Approve { gateway, group, fingerprint } => Op::GatewayApprove {
                gateway: named(gateway),
                group: group.clone(),
                fingerprint: fingerprint.clone(),
            },
            Self::ApproveList { file, group } => {
                Op::GatewayApproveListed { group: group.clone(), fingerprints: input::list(file)? }
            }
            Self::Revoke { gateway, reason } => {
                Op::GatewayRevoke { gateway: named(gateway), reason: reason.clone() }
            }
            Self::Rename { gateway, name } => {
                Op::GatewayRename { gateway: named(gateway), name: name.clone() }
            }
            Self::Remove { gateway } => Op::GatewayRemove { gateway: named(gateway) },
            Self::Pin { gateway, machines } => {
                Op::GatewayPin { gateway: named(gateway), machines: machines.clone() }
            }
            Self::Tag { gateway, tags } => {
                Op::GatewayTag { gateway: named(gateway), tags: tags.clone() }
            }
            Self::Command { gateway, kind, .. } => {
                Op::GatewayCommand { gateway: named(gateway), kind: kind.clone() }
            }
        })
    }
}

impl Group {
    fn operation(&self) -> Operation {
        use Operation as Op;
        match self {
            Self::List => Op::GroupList {},
            Self::Add { group } => Op::GroupAdd { group: group.clone() },
            Self::Show { group } => Op::GroupShow { group: group.clone() },
            Self::Set { group, settings } => {
                Op::GroupSet { group: group.clone(), settings: settings.clone(), base: None }
            }
            Self::Remove { group } => Op::GroupRemove { group: group.clone() },
            Self::Flows { group } => Op::FlowList { group: group.clone() },
            Self::Keys { group, reveal, senders } => {
                Op::GroupKeys { group: group.clone(), reveal: *reveal, senders: *senders }
            }
        }
    }
}

impl Policy {
    fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        Ok(match self {
            Self::Show { group } => Op::PolicyShow { group: group.clone() },
            Self::Set { group, file: Some(file), .. } => {
                let policy = policy_file::read(file)?;
                Op::PolicySet {
                    group: group.clone(),
                    rules: policy.rules,
                    default_action: policy.default_action,
                    base: None,
                }
            }
            Self::Set { group, file: None, rule } => Op::PolicySet {
                group: group.clone(),
                rules: policy_file::rules(rule)?,
                default_action: None,
                base: None,
            },
            Self::Check { file } => Op::PolicyCheck { rules: policy_file::read(file)?.rules },
            Self::History { group } => Op::PolicyHistory { group: group.clone() },
        })
    }
}

impl Token {
    fn operation(&self) -> Operation {
        use Operation as Op;
        match self {
            Self::Create { group, expires, server } => Op::TokenCreate {
                group: group.clone(),
                lifetime: *expires,
                servers: server.clone(),
            },
            Self::List => Op::TokenList {},
            Self::Revoke { id } => Op::TokenRevoke { id: *id },
        }
    }
}

impl User {
    fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        Ok(match self {
            Self::List => Op::UserList {},
            Self::Add { name, role } => Op::UserAdd {
                name: name.clone(),
                role: *role,
                password: password::ask()?,
                first: false,
            },
            Self::SetRole { name, role } => {
                let change = UserChange { role: Some(*role), ..UserChange::default() };
                Op::UserChange { name: name.clone(), change }
            }
            Self::SetPassword { name } => {
                let password = Some(password::ask()?);
                let change = UserChange { password, ..UserChange::default() };
                Op::UserChange { name: name.clone(), change }
            }
            Self::NoSecondFactor { name } => {
                let change = UserChange { totp: Some(Totp::Off), ..UserChange::default() };
                Op::UserChange { name: name.clone(), change }
            }
            Self::Remove { name } => Op::UserRemove { name: name.clone() },
        })
    }
}

impl ApiToken {
    fn operation(&self) -> Operation {
        use Operation as Op;
        match self {
            Self::List => Op::ApiTokenList {},
            Self::Create { name, role, expires } => {
                Op::ApiTokenCreate { name: name.clone(), role: *role, lifetime: *expires }
            }
            Self::Revoke { id } => Op::ApiTokenRevoke { id: *id },
        }
    }
}
