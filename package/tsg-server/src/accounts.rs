//! Who may do what on the pages and through the API: users with passwords, and programs with tokens.
//!
//! The main thread owns the [`Accounts`], as it owns everything that is on disk. The web's threads see them through a
//! [`Directory`], which shows a change when it is durable.

mod role;
mod totp;

pub use role::Role;
pub(crate) use role::needed;
pub use totp::TotpSecret;

use anyhow::Result;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// More users, or tokens, are not taken.
const MOST: usize = 1_000;

/// A longer name of a user, or a token, is refused.
const LONGEST_NAME: usize = 64;

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What they sign in as.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What their password is known by.
    pub password: PasswordHash,
    /// Makes the codes that they have to type besides, if they want it so.
    pub totp: Option<TotpSecret>,
    /// Seconds since 1970.
    pub since: u64,
    /// Counts the changes: whoever signed in before the last one has to do so again.
    pub version: u64,
}

/// Tells a user from one of the same name who was taken away, and from before the last change.
pub type Version = (u64, u64);

impl User {
    /// What a session is bound to.
    pub const fn session_version(&self) -> Version {
        (self.since, self.version)
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its number.
    pub id: u64,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of its secret, which has 256 bits.
    pub hash: [u8; 32],
    /// Who made it.
    pub made_by: String,
    /// Seconds since 1970.
    pub since: u64,
    /// When it stops being good, seconds since 1970.
    pub expires: u64,
}

/// An argon2id hash in its text form. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// What is to be another about a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserChange {
    /// What they may do from now on.
    pub role: Option<Role>,
    /// Their password's hash.
    pub password: Option<PasswordHash>,
    /// The second factor.
    pub totp: Option<Totp>,
    /// Nothing is changed if the user is another one by now.
    pub base: Option<Version>,
}

/// The second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Totp {
    /// A password is enough.
    Off,
    /// Codes made with this secret.
    On(TotpSecret),
}

/// What changed, for the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The user is there, and like this.
    User(User),
    /// No such user.
    UserGone(String),
    /// The token is there.
    Token(ApiToken),
    /// No such token.
    TokenGone(u64),
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// There is none of that name or number.
    NotFound(String),
    /// It does not fit to what there is.
    Conflict(String),
    /// What it began with is not so any more.
    Changed(String),
    /// It is wrong in itself.
    Invalid(String),
}

/// All users and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: BTreeMap<String, User>,
    tokens: BTreeMap<u64, ApiToken>,
}

/// What the web's threads see.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<RwLock<Arc<Accounts>>>);

impl PasswordHash {
    /// Of a password, which takes a tenth of a second.
    ///
    /// # Errors
    /// It is not fit to be one.
    pub fn of(password: &str) -> Result<Self, AccountError> {
        check_password(password)?;
        let hash = tsg_sodium::password::hash(password.as_bytes());
        hash.map(Self).ok_or_else(|| {
            AccountError::Conflict("there is no memory to hash a password".to_owned())
        })
    }

    /// Reads the text form.
    pub fn read(text: String) -> Option<Self> {
        let is_one = text.starts_with(tsg_sodium::password::PREFIX) && text.len() < 128;
        is_one.then_some(Self(text))
    }

    /// Is it the hash of this password? It takes a tenth of a second.
    pub fn fits(&self, password: &str) -> bool {
        tsg_sodium::password::verify(&self.0, password.as_bytes())
    }

    /// The text form.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(text).ok_or_else(|| serde::de::Error::custom("this is no argon2id hash"))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hash>")
    }
}

/// What a password must have: NIST SP 800-63B asks for length, and for no kinds of characters.
fn check_password(password: &str) -> Result<(), AccountError> {
    let invalid = |text: &str| Err(AccountError::Invalid(text.to_owned()));
    if password.chars().count() < 12 {
        return invalid(
            "a password has at least 12 characters: a few words are easier than a few signs",
        );
    }
    if password.len() > tsg_sodium::password::MOST_BYTES {
        return invalid("this password is too long: 1,024 bytes are the most");
    }
    let mut kinds: Vec<_> = password.chars().collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < 5 {
        return invalid("this password repeats few characters: take a few words");
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let good = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_@+".contains(&b))
        // Not what a path or a command line takes for something else.
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    Err(AccountError::Invalid(format!(
        "{shown:?} is no name: 1 to {LONGEST_NAME} of the letters a to z, digits and . - _ @ +, the first a letter or digit"
    )))
}

impl Accounts {
    /// With what the database holds.
    pub fn new(users: Vec<User>, tokens: Vec<ApiToken>) -> Self {
        Self {
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            tokens: tokens.into_iter().map(|token| (token.id, token)).collect(),
        }
    }

    /// There is nobody yet: the first one is made on the set-up page.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All tokens, by number.
    pub fn tokens(&self) -> impl Iterator<Item = &ApiToken> {
        self.tokens.values()
    }

    /// The token with this secret, if it is good at `now`, in seconds since 1970.
    pub fn token(&self, secret: &[u8; 32], now: u64) -> Option<&ApiToken> {
        // Whoever guesses learns nothing from how long the comparison of hashes takes.
        let hash = hash_of(secret);
        self.tokens.values().find(|token| token.hash == hash && now < token.expires)
    }

    /// A new user.
    ///
    /// # Errors
    /// The name is taken or none.
    pub fn add_user(
        &mut self,
        name: &str,
        role: Role,
        password: PasswordHash,
        now: u64,
    ) -> Result<Change, AccountError> {
        check_name(name)?;
        if self.users.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(AccountError::Conflict(format!("there is a user {name} already")));
        }
        self.check_room(self.users.len())?;
        Ok(self.put(User {
            name: name.to_owned(),
            role,
            password,
            totp: None,
            since: now,
            version: 1,
        }))
    }

    /// Another role, password or second factor: all that is to be changed, or nothing.
    ///
    /// # Errors
    /// There is no such user, it is another one than the change began with, or nobody would be an administrator.
    pub fn change_user(&mut self, name: &str, change: &UserChange) -> Result<Change, AccountError> {
        let user = self.known(name)?;
        if change.base.is_some_and(|base| base != user.session_version()) {
            let text = format!("{name} was changed meanwhile: look again");
            return Err(AccountError::Changed(text));
        }
        let role = change.role.unwrap_or(user.role);
        if role != Role::Admin {
            self.check_other_admin(&user)?;
        }
        let password = change.password.clone().unwrap_or_else(|| user.password.clone());
        let totp = match &change.totp {
            None => user.totp.clone(),
            Some(Totp::Off) => None,
            Some(Totp::On(secret)) => Some(secret.clone()),
        };
        Ok(self.put(User { role, password, totp, version: user.version + 1, ..user }))
    }

    /// Takes a user away.
    ///
    /// # Errors
    /// There is no such user, or nobody would be an administrator.
    pub fn remove_user(&mut self, name: &str) -> Result<Change, AccountError> {
        let user = self.known(name)?;
        self.check_other_admin(&user)?;
        self.users.remove(name);
        Ok(Change::UserGone(user.name))
    }

    /// A new token, with its number and its hash.
    ///
    /// # Errors
    /// The name is none, or there are too many.
    pub fn add_token(&mut self, token: ApiToken) -> Result<Change, AccountError> {
        check_name(&token.name)?;
        self.check_room(self.tokens.len())?;
        self.tokens.insert(token.id, token.clone());
        Ok(Change::Token(token))
    }

    /// The number that the next token has.
    pub fn next_token(&self) -> u64 {
        self.tokens.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// Makes a token worthless.
    ///
    /// # Errors
    /// There is no such token.
    pub fn remove_token(&mut self, id: u64) -> Result<Change, AccountError> {
        match self.tokens.remove(&id) {
            Some(_) => Ok(Change::TokenGone(id)),
            None => Err(AccountError::NotFound(format!("there is no API token {id}"))),
        }
    }

    fn known(&self, name: &str) -> Result<User, AccountError> {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        let found = self.users.get(name).cloned();
        found.ok_or_else(|| AccountError::NotFound(format!("there is no user {shown:?}")))
    }

    fn put(&mut self, user: User) -> Change {
        self.users.insert(user.name.clone(), user.clone());
        Change::User(user)
    }

    fn check_room(&self, count: usize) -> Result<(), AccountError> {
        if count < MOST {
            return Ok(());
        }
        Err(AccountError::Conflict(format!("there are {MOST} already: remove some")))
    }

    fn check_other_admin(&self, user: &User) -> Result<(), AccountError> {
        let mut others = self.users.values().filter(|other| other.name != user.name);
        if user.role != Role::Admin || others.any(|other| other.role == Role::Admin) {
            return Ok(());
        }
        let text = format!("{} is the only administrator: make somebody else one first", user.name);
        Err(AccountError::Conflict(text))
    }
}

/// What a token is stored as.
pub fn hash_of(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Directory {
    /// What there is now.
    pub fn now(&self) -> Arc<Accounts> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows these from now on.
    pub fn show(&self, accounts: &Accounts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(accounts.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> PasswordHash {
        PasswordHash::read("$argon2id$v=19$x".to_owned()).unwrap()
    }

    fn role(role: Role) -> UserChange {
        UserChange { role: Some(role), ..UserChange::default() }
    }

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.add_user("ann", Role::Admin, hash(), 1).unwrap();
        accounts.add_user("ben", Role::Viewer, hash(), 1).unwrap();
        accounts
    }

    #[test]
    fn somebody_is_always_an_administrator() {
        let mut accounts = accounts();
        let only = |error| matches!(error, Err(AccountError::Conflict(text)) if text.contains("only administrator"));
        assert!(only(accounts.change_user("ann", &role(Role::Viewer))));
        assert!(only(accounts.remove_user("ann")));
        accounts.change_user("ben", &role(Role::Admin)).unwrap();
        accounts.remove_user("ann").unwrap();
        assert!(only(accounts.remove_user("ben")));
    }

    #[test]
    fn every_change_of_a_user_makes_another_version() {
        let mut accounts = accounts();
        let version = |accounts: &Accounts| accounts.user("ben").unwrap().version;
        accounts.change_user("ben", &role(Role::Operator)).unwrap();
        assert_eq!(version(&accounts), 2);
        let password = UserChange { password: Some(hash()), ..UserChange::default() };
        accounts.change_user("ben", &password).unwrap();
        assert_eq!(version(&accounts), 3);
        let late = UserChange { base: Some((1, 2)), ..password };
        let refused = accounts.change_user("ben", &late);
        assert!(matches!(refused, Err(AccountError::Changed(_))), "{refused:?}");
    }

    #[test]
    fn names_are_plain_and_come_once() {
        let mut accounts = accounts();
        for wrong in ["", "a b", "a\n", "ä", "<b>", ".", "..", "-x", &"x".repeat(65)] {
            let error = accounts.add_user(wrong, Role::Viewer, hash(), 1).unwrap_err();
            assert!(matches!(error, AccountError::Invalid(_)), "{wrong:?}: {error:?}");
        }
        let taken = accounts.add_user("ANN", Role::Viewer, hash(), 1);
        assert!(
            matches!(taken, Err(AccountError::Conflict(_))),
            "one cannot be told from the other"
        );
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let mut accounts = accounts();
        let token = ApiToken {
            id: accounts.next_token(),
            name: "grafana".to_owned(),
            role: Role::Viewer,
            hash: hash_of(&[7; 32]),
            made_by: "ann".to_owned(),
            since: 1,
            expires: 100,
        };
        accounts.add_token(token).unwrap();
        assert_eq!(accounts.token(&[7; 32], 99).unwrap().name, "grafana");
        assert!(accounts.token(&[7; 32], 100).is_none());
        assert!(accounts.token(&[8; 32], 1).is_none());
        assert_eq!(accounts.remove_token(1), Ok(Change::TokenGone(1)));
        assert!(accounts.token(&[7; 32], 99).is_none());
    }

    #[test]
    fn short_and_plain_passwords_are_refused() {
        tsg_sodium::init().unwrap();
        for wrong in ["", "elevenchars", "aaaaaaaaaaaaaaaa", "121212121212", &"long".repeat(300)] {
            assert!(matches!(PasswordHash::of(wrong), Err(AccountError::Invalid(_))), "{wrong:?}");
        }
        let hash = PasswordHash::of("correct horse battery").unwrap();
        assert!(hash.fits("correct horse battery") && !hash.fits("correct horse batterz"));
        assert_eq!(format!("{hash:?}"), "<hash>");
    }
}
