//! One-time enrolment tokens: handed out by operators, used up by strangers.
//!
//! What became of a token is in the audit trail under its number, so no number comes twice: the
//! newest token stays on record though it is worthless, until there is a newer one.

use super::orders::{Answer, not_found};
use super::record::{Record, TokenRecord};
use super::{Server, Stranger, session};
use crate::keys::PublicKey;
use crate::message::Register;
use crate::token::TokenSecret;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Operators see what became of a token for so long after its end, in seconds.
const KEPT: u64 = 30 * 86_400;

/// `expires` of a token that only keeps its number from being used again.
const WORTHLESS: u64 = 0;

/// All tokens on record.
#[derive(Default)]
pub(super) struct Tokens {
    by_id: BTreeMap<u64, TokenRecord>,
    /// So that a flood of wrong secrets costs little, however many tokens there are.
    by_hash: BTreeMap<[u8; 32], u64>,
}

impl Tokens {
    pub(super) fn put(&mut self, token: TokenRecord) {
        self.by_hash.insert(token.hash, token.id);
        self.by_id.insert(token.id, token);
    }

    /// Those that an operator can still do something with, or wants to know about.
    pub(super) fn shown(&self) -> impl Iterator<Item = &TokenRecord> {
        self.by_id.values().filter(|token| token.expires != WORTHLESS)
    }

    fn of(&self, secret: &TokenSecret) -> Option<&TokenRecord> {
        let id = self.by_hash.get(&hash(secret.expose()))?;
        self.by_id.get(id).filter(|token| token.expires != WORTHLESS)
    }

    fn last(&self) -> Option<u64> {
        self.by_id.keys().next_back().copied()
    }

    /// Takes a token away; gives what has to be stored for that.
    fn discard(&mut self, id: u64) -> Option<Record> {
        if self.last() == Some(id) {
            let token = self.by_id.get_mut(&id)?;
            (token.expires, token.used_by) = (WORTHLESS, None);
            return Some(Record::Token(token.clone()));
        }
        let token = self.by_id.remove(&id)?;
        self.by_hash.remove(&token.hash);
        Some(Record::TokenGone(id))
    }
}

fn hash(secret: &[u8; 16]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Server {
    /// A one-time token that lets one gateway into a group, good until `expires` (seconds since
    /// 1970). Gives its number and secret; only the secret's hash is kept.
    ///
    /// # Errors
    /// There is no such group.
    pub fn create_token(&mut self, group: &str, expires: u64) -> Answer<(u64, TokenSecret)> {
        self.group(group)?;
        let secret = TokenSecret::make(|bytes| self.random.fill(bytes));
        let id = self.tokens.last().map_or(1, |last| last + 1);
        let group = group.to_owned();
        let record = TokenRecord { id, hash: hash(secret.expose()), group, expires, used_by: None };
        self.records.push_back(Record::Token(record.clone()));
        self.tokens.put(record);
        let now = self.latest / 1000;
        self.discard_tokens(|token| token.id < id && now >= token.expires.saturating_add(KEPT));
        Ok((id, secret))
    }

    /// Makes a token worthless.
    ///
    /// # Errors
    /// There is no such token.
    pub fn revoke_token(&mut self, id: u64) -> Answer {
        if !self.tokens.shown().any(|token| token.id == id) {
            return not_found(format!("there is no token {id}"));
        }
        self.discard_tokens(|token| token.id == id);
        Ok(())
    }

    /// Those of a group that is no more are not for another one of its name.
    pub(super) fn discard_tokens_of(&mut self, group: &str) {
        self.discard_tokens(|token| token.group == group);
    }

    fn discard_tokens(&mut self, which: impl Fn(&TokenRecord) -> bool) {
        let ids: Vec<_> =
            self.tokens.by_id.values().filter(|token| which(token)).map(|token| token.id).collect();
        for id in ids {
            self.records.extend(self.tokens.discard(id));
        }
    }

    /// A stranger comes with a token. `now` is the server's time, which counts from 1970 as well
    /// as the machine knows it.
    pub(super) fn redeem(
        &mut self,
        secret: &TokenSecret,
        key: PublicKey,
        register: &Register,
        now: u64,
    ) -> Result<(), String> {
        let token = self.tokens.of(secret).ok_or("this token is not known here")?;
        if token.used_by.is_some() {
            return Err("this token was used already".to_owned());
        }
        if now / 1000 >= token.expires {
            return Err("this token has expired".to_owned());
        }
        if !self.groups.contains_key(&token.group) {
            return Err(format!("this token is for group {:?}, which is gone", token.group));
        }
        let token = TokenRecord { used_by: Some(key), ..token.clone() };
        self.pending.entry(key).or_insert_with(|| Stranger {
            name: session::shown(&register.name),
            version: String::new(),
            aes: register.aes,
            first: now,
            last: now,
        });
        self.approve(key, &token.group, now / 1000, now).map_err(|error| error.to_string())?;
        // In this order: a crash in between must not leave a used token and nobody let in.
        self.records.push_back(Record::Token(token.clone()));
        self.info(format!("token {} let {} into {:?}", token.id, key.fingerprint(), token.group));
        self.tokens.put(token);
        Ok(())
    }
}
