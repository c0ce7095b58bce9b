//! Roles. Each may do all that those before it may.

use crate::operations::Operation;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Lets gateways in, names them, hands out enrolment tokens, sends commands.
    Operator,
    /// Decides what is sealed and who is thrown out: policies, groups, revocations, new keys.
    SecurityOfficer,
    /// Says who has which role, and makes backups.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::SecurityOfficer, Self::Admin];

    /// As configuration and API spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::SecurityOfficer => "security-officer",
            Self::Admin => "admin",
        }
    }

    /// As the pages show it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::Operator => "Operator",
            Self::SecurityOfficer => "Security officer",
            Self::Admin => "Administrator",
        }
    }

    /// May this role have an operation carried out? `None`: only root on the server's own machine.
    pub fn may(self, operation: &Operation) -> bool {
        needed(operation).is_some_and(|role| self >= role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no role {text:?}: {names}")
        })
    }
}

/// The least role that may have this carried out; `None`: only root, over its socket.
pub(crate) fn needed(operation: &Operation) -> Option<Role> {
    use Operation as Op;
    match operation {
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
        | Op::AuditVerify {} => Some(Role::Viewer),
        Op::GatewayApprove { .. }
        | Op::GatewayApproveListed { .. }
        | Op::GatewayRename { .. }
        | Op::GatewayPin { .. }
        | Op::GatewayTag { .. }
        | Op::GatewayChange { .. }
        | Op::GatewayCommand { .. }
        | Op::TokenCreate { .. }
        | Op::TokenRevoke { .. } => Some(Role::Operator),
        Op::GatewayRevoke { .. }
        | Op::GatewayRemove { .. }
        | Op::GroupAdd { .. }
        | Op::GroupRemove { .. }
        | Op::GroupSet { .. }
        | Op::PolicySet { .. }
        | Op::Rekey { .. } => Some(Role::SecurityOfficer),
        Op::Backup { .. }
        | Op::AlarmTest {}
        | Op::UserList {}
        | Op::UserAdd { .. }
        | Op::UserChange { .. }
        | Op::UserRemove { .. }
        | Op::ApiTokenCreate { .. }
        | Op::ApiTokenList {}
        | Op::ApiTokenRevoke { .. } => Some(Role::Admin),
        Op::GroupKeys { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may() {
        let rekey = Operation::Rekey { group: "plant".to_owned() };
        let keys = Operation::GroupKeys { group: "plant".to_owned(), reveal: true, senders: None };
        let may = |operation: &Operation| Role::ALL.map(|role| role.may(operation));
        assert_eq!(may(&Operation::Status {}), [true; 4]);
        assert_eq!(may(&rekey), [false, false, true, true]);
        assert_eq!(may(&Operation::UserList {}), [false, false, false, true]);
        let backup = Operation::Backup { recipients: Vec::new() };
        assert_eq!(may(&backup), [false, false, false, true], "whoever has it is the key server");
        assert_eq!(may(&keys), [false; 4], "keys are root's alone");
    }

    #[test]
    fn names_come_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().contains("security-officer"));
    }
}
