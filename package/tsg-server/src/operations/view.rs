//! Answers to questions, and the forms of those that have no view in the state machine.

use super::{Answer, Desk, GatewayName, Operation, Refusal, RefusalKind};
use crate::backup;
use crate::database::{AuditFilter, Reader};
use crate::identity::Identity;
use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use tsg_control::group::Mode;
use tsg_control::keys::PublicKey;
use tsg_control::policy::Policy;
use tsg_control::server::{FlowView, GroupView};
use zeroize::Zeroizing;

/// More policies of one group are not shown.
const MOST_HISTORY: u32 = 200;

/// More lines of the audit trail are not shown at once.
const MOST_AUDIT: u32 = 10_000;

/// The server's public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKey {
    /// What gateways are given.
    pub public_key: PublicKey,
    /// To compare.
    pub fingerprint: String,
}

impl ServerKey {
    pub(super) fn of(identity: &Identity) -> Self {
        let key = identity.public();
        Self { public_key: key, fingerprint: key.fingerprint().to_string() }
    }
}

/// A gateway was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The name that it has here.
    pub name: String,
    /// Its fingerprint, to compare once more.
    pub fingerprint: String,
    /// Its group.
    pub group: String,
}

/// The rules of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Name of the group.
    pub group: String,
    /// Number of the newest version.
    pub version: u64,
    /// Number of the version in force.
    pub in_force: u64,
    /// Rules and default action.
    #[serde(flatten)]
    pub policy: Policy,
}

/// Who uses which service in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsView {
    /// Name of the group.
    pub group: String,
    /// Its mode: gateways report in `learn` and in `migrate`.
    pub mode: Mode,
    /// The policy version that the flows are judged by, the newest.
    pub policy: u64,
    /// Those that no rule matches first, then by how much there was of them.
    pub flows: Vec<FlowView>,
}

/// A new token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedToken {
    /// Its number.
    pub id: u64,
    /// The text that is handed to the gateway; shown only this once.
    pub token: Zeroizing<String>,
    /// The group that it lets into.
    pub group: String,
    /// When it stops being good, seconds since 1970.
    pub expires: u64,
    /// Where the gateway will look for the server.
    pub servers: Vec<String>,
}

pub(super) fn gateway(desk: &Desk<'_>, name: &GatewayName) -> Result<Answer, Refusal> {
    let key = name.find(&desk.server.lines(desk.now))?.key;
    let gone = || Refusal::new(RefusalKind::NotFound, format!("there is no gateway {name}"));
    let found = desk.server.gateway(&key, desk.now).ok_or_else(gone)?;
    Ok(Answer::Gateway(Box::new(found)))
}

pub(super) fn group(desk: &Desk<'_>, name: &str) -> Result<GroupView, Refusal> {
    let groups = desk.server.groups(desk.now);
    groups.into_iter().find(|group| group.name == name).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        Refusal::new(
            RefusalKind::NotFound,
            format!("there is no group {shown:?}: see `group list`"),
        )
    })
}

pub(super) fn policy(desk: &Desk<'_>, name: &str) -> Result<Answer, Refusal> {
    let group = group(desk, name)?;
    Ok(Answer::Policy(PolicyView {
        group: group.name,
        version: group.policy_version,
        in_force: group.policy_in_force,
        policy: group.policy,
    }))
}

/// Is this a question about what was long ago?
pub fn looks_back(operation: &Operation) -> bool {
    use Operation as Op;
    matches!(operation, Op::AuditList(_) | Op::AuditVerify {} | Op::PolicyHistory { .. })
}

pub(super) fn flows(desk: &Desk<'_>, name: &str) -> Result<Answer, Refusal> {
    let group = group(desk, name)?;
    let flows = desk.server.flows(name, desk.now)?;
    let (mode, policy) = (group.settings.mode, group.policy_version);
    Ok(Answer::Flows(FlowsView { group: group.name, mode, policy, flows }))
}

/// Answers one that [`looks_back`].
///
/// # Errors
/// The database cannot be read, or it is another question.
pub fn look_back(reader: Reader<'_>, operation: &Operation) -> Result<Answer, Refusal> {
    let answer = if let Operation::AuditList(filter) = operation {
        let filter = AuditFilter { most: filter.most.min(MOST_AUDIT), ..filter.clone() };
        reader.audit_trail(&filter).map(Answer::Audit)
    } else if let Operation::PolicyHistory { group } = operation {
        reader.policy_history(group, MOST_HISTORY).map(Answer::History)
    } else if let Operation::AuditVerify {} = operation {
        reader.verify_audit().map(Answer::AuditVerdict)
    } else {
        Err(anyhow!("this is no question about what was long ago"))
    };
    answer.map_err(|error| Refusal::new(RefusalKind::Unavailable, format!("{error:#}")))
}

/// The backup itself is made by the door that asks for it, when the order is in the audit trail.
pub(super) fn backup(desk: &Desk<'_>, texts: &[String]) -> Result<Answer, Refusal> {
    let recipients = backup::recipients(texts)?;
    Ok(Answer::Backup(backup::Ordered {
        recipients: recipients.iter().map(ToString::to_string).collect(),
        made: desk.now / 1000,
        server: desk.identity.public().fingerprint().to_string(),
    }))
}
