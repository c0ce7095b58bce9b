//! Users, and tokens of programs.

use super::{Answer, Desk, Done, Refusal, RefusalKind};
use crate::accounts::{AccountError, ApiToken, Change, PasswordHash, Role, UserChange, hash_of};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Tokens of programs are good for at most this long, in seconds: two years.
const LONGEST_API_TOKEN: u32 = 2 * 366 * 86_400;

/// What every such token begins with, so that a scan for leaked secrets knows it.
pub(super) const API_TOKEN_PREFIX: &str = "tsga_";

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// As what.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// They type a code besides their password.
    #[serde(default)]
    pub second_factor: bool,
}

/// A token of a program, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenView {
    /// Its number.
    pub id: u64,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Who made it.
    pub made_by: String,
    /// When, seconds since 1970.
    pub since: u64,
    /// When it stops being good, seconds since 1970.
    pub expires: u64,
}

/// A new token of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedApiToken {
    /// Its number.
    pub id: u64,
    /// What the program shows; told only this once.
    pub token: Zeroizing<String>,
    /// When it stops being good, seconds since 1970.
    pub expires: u64,
}

type Ordered = Result<Answer, Refusal>;

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound(text) => Self::new(RefusalKind::NotFound, text),
            AccountError::Conflict(text) => Self::new(RefusalKind::Conflict, text),
            AccountError::Changed(text) => Self::new(RefusalKind::Changed, text),
            AccountError::Invalid(text) => Self::new(RefusalKind::Invalid, text),
        }
    }
}

pub(super) fn users(desk: &Desk<'_>) -> Answer {
    let view = |user: &crate::accounts::User| UserView {
        name: user.name.clone(),
        role: user.role,
        since: user.since,
        second_factor: user.totp.is_some(),
    };
    Answer::Users(desk.accounts.users().map(view).collect())
}

pub(super) fn add_user(
    desk: &mut Desk<'_>,
    name: &str,
    role: Role,
    password: &PasswordHash,
    first: bool,
) -> Ordered {
    if first && !desk.accounts.is_empty() {
        let text = "somebody else was quicker: there is an administrator already";
        return Err(Refusal::new(RefusalKind::Conflict, text));
    }
    let change = desk.accounts.add_user(name, role, password.clone(), desk.now / 1000)?;
    changed(desk, change, format!("{name} may sign in as {role}"))
}

pub(super) fn change_user(desk: &mut Desk<'_>, name: &str, change: &UserChange) -> Ordered {
    let changed_to = desk.accounts.change_user(name, change)?;
    changed(desk, changed_to, format!("{name} is changed, and has to sign in again"))
}

pub(super) fn remove_user(desk: &mut Desk<'_>, name: &str) -> Ordered {
    let change = desk.accounts.remove_user(name)?;
    changed(desk, change, format!("{name} is removed"))
}

pub(super) fn create_token(desk: &mut Desk<'_>, name: &str, role: Role, lifetime: u32) -> Ordered {
    if !(60..=LONGEST_API_TOKEN).contains(&lifetime) {
        let text = "an API token is good for a minute to two years";
        return Err(Refusal::new(RefusalKind::Invalid, text));
    }
    let mut secret = Zeroizing::new([0; 32]);
    tsg_sodium::random(secret.as_mut_slice());
    let since = desk.now / 1000;
    let token = ApiToken {
        id: desk.accounts.next_token(),
        name: name.to_owned(),
        role,
        hash: hash_of(&secret),
        made_by: desk.operator.0.clone(),
        since,
        expires: since + u64::from(lifetime),
    };
    let (id, expires) = (token.id, token.expires);
    let change = desk.accounts.add_token(token)?;
    desk.account_changes.push(change);
    Ok(Answer::ApiToken(CreatedApiToken { id, token: api_token_text(&secret), expires }))
}

pub(super) fn tokens(desk: &Desk<'_>) -> Answer {
    let view = |token: &ApiToken| ApiTokenView {
        id: token.id,
        name: token.name.clone(),
        role: token.role,
        made_by: token.made_by.clone(),
        since: token.since,
        expires: token.expires,
    };
    Answer::ApiTokens(desk.accounts.tokens().map(view).collect())
}

pub(super) fn revoke_token(desk: &mut Desk<'_>, id: u64) -> Ordered {
    let change = desk.accounts.remove_token(id)?;
    changed(desk, change, format!("API token {id} is worthless now"))
}

fn changed(desk: &mut Desk<'_>, change: Change, done: String) -> Ordered {
    desk.account_changes.push(change);
    Ok(Answer::Done(Done { done }))
}

fn api_token_text(secret: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(API_TOKEN_PREFIX.len() + 43));
    text.push_str(API_TOKEN_PREFIX);
    URL_SAFE_NO_PAD.encode_string(secret, &mut text);
    text
}

/// The secret in what a program shows.
pub fn read_api_token(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    let length = URL_SAFE_NO_PAD
        .decode_slice(text.strip_prefix(API_TOKEN_PREFIX)?, secret.as_mut_slice())
        .ok()?;
    (length == secret.len()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = api_token_text(&[0xfb; 32]);
        assert_eq!(text.len(), text.capacity());
        assert_eq!(*read_api_token(&text).unwrap(), [0xfb; 32]);
        for wrong in ["", "tsga_", &text[1..], &text[..text.len() - 1], &format!("{}A", *text)] {
            assert!(read_api_token(wrong).is_none(), "{wrong:?}");
        }
    }
}
