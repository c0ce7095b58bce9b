//! People and programs as the API shows and takes them. Times are seconds since 1970, durations seconds.

use crate::accounts::Role;
use crate::operations::{ApiTokenView, CreatedApiToken, UserView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do; each may what those before it may.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RoleName {
    Viewer,
    Operator,
    SecurityOfficer,
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::SecurityOfficer => Self::SecurityOfficer,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::SecurityOfficer => Self::SecurityOfficer,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// Somebody who may sign in to the pages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    name: String,
    role: RoleName,
    since: u64,
    /// They type a code besides their password.
    second_factor: bool,
}

impl From<UserView> for User {
    fn from(view: UserView) -> Self {
        let UserView { name, role, since, second_factor } = view;
        Self { name, role: role.into(), since, second_factor }
    }
}

/// Somebody new.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    pub(super) name: String,
    pub(super) role: RoleName,
    /// At least 12 characters.
    #[schema(value_type = String, min_length = 12, max_length = 1024)]
    pub(super) password: zeroize::Zeroizing<String>,
}

/// Changes somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeUser {
    pub(super) role: Option<RoleName>,
    /// At least 12 characters.
    #[schema(value_type = Option<String>, min_length = 12, max_length = 1024)]
    pub(super) password: Option<zeroize::Zeroizing<String>>,
    /// `false` lets somebody sign in without the app that they have lost; only they themselves can turn it on.
    pub(super) second_factor: Option<bool>,
}

/// A token of a program, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiToken {
    id: u64,
    name: String,
    role: RoleName,
    made_by: String,
    since: u64,
    expires: u64,
}

impl From<ApiTokenView> for ApiToken {
    fn from(view: ApiTokenView) -> Self {
        let ApiTokenView { id, name, role, made_by, since, expires } = view;
        Self { id, name, role: role.into(), made_by, since, expires }
    }
}

/// A new token for a program.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiToken {
    /// What it is for.
    pub(super) name: String,
    pub(super) role: RoleName,
    /// For how many seconds it is good.
    #[schema(minimum = 60, maximum = 63_244_800)]
    pub(super) lifetime: u32,
}

/// A token of a program, with its secret: shown only this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeApiToken {
    id: u64,
    token: String,
    expires: u64,
}

impl From<CreatedApiToken> for MadeApiToken {
    fn from(made: CreatedApiToken) -> Self {
        Self { id: made.id, token: made.token.to_string(), expires: made.expires }
    }
}
