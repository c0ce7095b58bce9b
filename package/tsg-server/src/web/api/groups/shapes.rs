//! Groups, their rules and their tokens as the API shows and takes them. Times are seconds since 1970, durations seconds.

use crate::database::PolicyRow;
use crate::operations;
use crate::web::policy::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::policy;
use tsg_control::server::{EpochView, GroupView, TokenView};
use tsg_control::timeline::Stage;
use utoipa::ToSchema;

/// A rule; an empty list is any.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// What people call it.
    #[serde(default)]
    name: String,
    /// What happens to a packet that it matches.
    action: Action,
    /// `tcp`, `udp`, `icmp`, or a number.
    #[serde(default)]
    proto: Vec<String>,
    /// Addresses, or blocks such as `192.0.2.0/24`.
    #[serde(default)]
    src_ip: Vec<String>,
    /// Ports, or ranges such as `44818-44820`.
    #[serde(default)]
    src_port: Vec<String>,
    #[serde(default)]
    dest_ip: Vec<String>,
    #[serde(default)]
    dest_port: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Action {
    Bypass,
    Encrypt,
    Drop,
}

impl From<policy::Action> for Action {
    fn from(action: policy::Action) -> Self {
        match action {
            policy::Action::Bypass => Self::Bypass,
            policy::Action::Encrypt => Self::Encrypt,
            policy::Action::Drop => Self::Drop,
        }
    }
}

impl From<&policy::Rule> for Rule {
    fn from(rule: &policy::Rule) -> Self {
        fn words<T: ToString>(all: &[T]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        Self {
            name: rule.name.clone(),
            action: rule.action.into(),
            proto: words(&rule.proto),
            src_ip: words(&rule.src_ip),
            src_port: words(&rule.src_port),
            dest_ip: words(&rule.dest_ip),
            dest_port: words(&rule.dest_port),
        }
    }
}

impl Rule {
    /// As the policy has it, or what is wrong with it.
    pub(super) fn read(&self) -> Result<policy::Rule, String> {
        let action = match self.action {
            Action::Bypass => "bypass",
            Action::Encrypt => "encrypt",
            Action::Drop => "drop",
        };
        let row = Row {
            action: action.to_owned(),
            name: self.name.clone(),
            proto: self.proto.join(" "),
            src_ip: self.src_ip.join(" "),
            src_port: self.src_port.join(" "),
            dest_ip: self.dest_ip.join(" "),
            dest_port: self.dest_port.join(" "),
            wrong: String::new(),
        };
        row.rule()
    }
}

/// The rules of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    /// Number of the newest version.
    pub(super) version: u64,
    /// Number of the version in force.
    pub(super) in_force: u64,
    /// In order: the first that matches decides.
    pub(super) rules: Vec<Rule>,
}

/// New rules for a group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[schema(max_items = 256)]
    pub(super) rules: Vec<Rule>,
}

/// A version was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    pub(super) version: u64,
}

/// A policy that was accepted once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyVersion {
    version: u64,
    /// When, seconds since 1970.
    at: u64,
    who: String,
    rules: Vec<Rule>,
}

impl From<PolicyRow> for PolicyVersion {
    fn from(row: PolicyRow) -> Self {
        Self {
            version: row.policy.version,
            at: row.at / 1000,
            who: row.who,
            rules: row.policy.policy.rules.iter().map(Rule::from).collect(),
        }
    }
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Group {
    name: String,
    /// Its settings, as operators type them.
    settings: BTreeMap<&'static str, String>,
    members: usize,
    /// Members that were heard lately.
    online: usize,
    /// Members that are online and not in the newest state.
    late: Vec<String>,
    epochs: Vec<Epoch>,
    policy: Policy,
}

impl From<GroupView> for Group {
    fn from(view: GroupView) -> Self {
        Self {
            settings: operations::settings(&view.settings),
            members: view.members,
            online: view.online,
            late: view.late,
            epochs: view.epochs.into_iter().map(Epoch::from).collect(),
            policy: Policy {
                version: view.policy_version,
                in_force: view.policy_in_force,
                rules: view.policy.rules.iter().map(Rule::from).collect(),
            },
            name: view.name,
        }
    }
}

/// An epoch: keys that members share for a while.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Epoch {
    id: u64,
    /// `prepared`, `active` or `retiring`.
    stage: &'static str,
    /// Seconds until its lifetime ends.
    remaining: u64,
    cipher: Option<String>,
}

impl From<EpochView> for Epoch {
    fn from(view: EpochView) -> Self {
        let stage = match view.stage {
            Stage::Prepared => "prepared",
            Stage::Active => "active",
            Stage::Retiring => "retiring",
        };
        Self { id: view.id, stage, remaining: view.remaining, cipher: view.cipher }
    }
}

/// A new group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    pub(super) name: String,
}

/// New keys were ordered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rekeying {
    /// Number of the new epoch.
    pub(super) epoch: u64,
}

/// A one-time enrolment token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    id: u64,
    group: String,
    /// When it stops being good, seconds since 1970.
    expires: u64,
    /// Fingerprint of the gateway that used it.
    used_by: Option<String>,
}

impl From<TokenView> for Token {
    fn from(view: TokenView) -> Self {
        Self {
            id: view.id,
            group: view.group,
            expires: view.expires,
            used_by: view.used_by.map(|key| key.fingerprint().to_string()),
        }
    }
}

/// A new enrolment token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// The group that it lets into.
    pub(super) group: String,
    /// For how many seconds it is good.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub(super) lifetime: u32,
    /// Addresses under which the gateway reaches the server, such as `tcp://192.0.2.10:5555`.
    #[serde(default)]
    pub(super) servers: Vec<String>,
}

/// An enrolment token, with its secret: shown only this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeToken {
    pub(super) id: u64,
    pub(super) token: String,
    pub(super) expires: u64,
}
