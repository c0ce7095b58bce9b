//! What comes of an operation, as programs and the command line read it.

use super::{
    AlarmsView, ApiTokenView, Approval, ApprovedList, CreatedApiToken, CreatedToken, FlowsView,
    Outcome, PolicyView, RevealedGroup,
};
use super::{ServerKey, Status, TrafficView, UserView};
use crate::backup::Ordered;
use crate::database::{AuditRow, AuditVerdict, PolicyRow};
use crate::notify::Tested;
use serde::{Deserialize, Serialize};
use std::fmt;
use tsg_control::server::{GatewayPage, GatewayView, GroupView, TokenView};

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Answer {
    /// It is done, and that is all there is to say.
    Done(Done),
    /// To [`super::Operation::Key`].
    Key(ServerKey),
    /// To [`super::Operation::Status`].
    Status(Box<Status>),
    /// To [`super::Operation::GatewayList`].
    Gateways(Vec<GatewayView>),
    /// To [`super::Operation::GatewayShow`].
    Gateway(Box<GatewayView>),
    /// To [`super::Operation::GatewayApprove`].
    Approved(Approval),
    /// To [`super::Operation::GatewayApproveListed`].
    ApprovedList(ApprovedList),
    /// To [`super::Operation::GatewayCommand`].
    Commanded {
        /// Number of the command, as the log names it.
        command: u64,
    },
    /// To [`super::Operation::GatewayOutcome`].
    Outcome(Outcome),
    /// To [`super::Operation::GroupList`].
    Groups(Vec<GroupView>),
    /// To [`super::Operation::GroupShow`].
    Group(Box<GroupView>),
    /// To [`super::Operation::FlowList`].
    Flows(FlowsView),
    /// To [`super::Operation::GroupKeys`].
    Keys(RevealedGroup),
    /// To [`super::Operation::PolicyShow`].
    Policy(PolicyView),
    /// To [`super::Operation::PolicySet`].
    Accepted {
        /// Number of the version.
        version: u64,
    },
    /// To [`super::Operation::PolicyHistory`].
    History(Vec<PolicyRow>),
    /// To [`super::Operation::TokenCreate`].
    Token(CreatedToken),
    /// To [`super::Operation::TokenList`].
    Tokens(Vec<TokenView>),
    /// To [`super::Operation::Rekey`].
    Rekeying {
        /// Number of the new epoch.
        epoch: u64,
        /// Members seal in it already.
        #[serde(default)]
        in_force: bool,
    },
    /// To [`super::Operation::AuditList`].
    Audit(Vec<AuditRow>),
    /// To [`super::Operation::AuditVerify`].
    AuditVerdict(AuditVerdict),
    /// To [`super::Operation::Traffic`].
    Traffic(TrafficView),
    /// To [`super::Operation::AlarmList`].
    Alarms(AlarmsView),
    /// To [`super::Operation::AlarmTest`].
    AlarmTest(Vec<Tested>),
    /// To [`super::Operation::GatewayFind`].
    Found(GatewayPage),
    /// To [`super::Operation::Backup`]: it is allowed, and whoever asks can be given it.
    Backup(Ordered),
    /// To [`super::Operation::UserList`].
    Users(Vec<UserView>),
    /// To [`super::Operation::ApiTokenCreate`].
    ApiToken(CreatedApiToken),
    /// To [`super::Operation::ApiTokenList`].
    ApiTokens(Vec<ApiTokenView>),
}

/// Done, with what changed in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What is so now.
    pub done: String,
}

/// Why an operation was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// The reason, for the operator.
    pub message: String,
}

/// The kinds of reasons, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It does not fit to what there is.
    Conflict,
    /// What it began with is not so any more.
    Changed,
    /// The operation itself is wrong.
    Invalid,
    /// This operator may not.
    Forbidden,
    /// The server cannot now.
    Unavailable,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
