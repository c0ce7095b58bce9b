//! The second factor: who has typed the right password and not yet a code, and which codes were used.

use crate::accounts::{User, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A code has to follow the password within this.
const LONGEST: Duration = Duration::from_secs(300);

/// Wrong codes, before the password has to be typed again.
const MOST_TRIES: u32 = 5;

/// More do not wait at once: the oldest begins again.
const MOST: usize = 1_000;

/// Where everybody's second factor stands.
#[derive(Default)]
pub(super) struct Codes {
    waiting: Mutex<HashMap<[u8; 32], Waiting>>,
    used: Mutex<HashMap<(String, u64), u64>>,
}

/// Who typed the right password.
#[derive(Clone)]
struct Waiting {
    user: String,
    version: Version,
    began: Instant,
    tries: u32,
}

impl Codes {
    /// The password was right. Gives what has to come along with the code.
    pub(super) fn wait_for(&self, user: &str, version: Version, now: Instant) -> String {
        let mut secret = [0_u8; 32];
        tsg_sodium::random(&mut secret);
        let ticket = URL_SAFE_NO_PAD.encode(secret);
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, one| now.saturating_duration_since(one.began) < LONGEST);
        if waiting.len() >= MOST
            && let Some(oldest) =
                waiting.iter().min_by_key(|(_, one)| one.began).map(|(key, _)| *key)
        {
            waiting.remove(&oldest);
        }
        let one = Waiting { user: user.to_owned(), version, began: now, tries: 0 };
        waiting.insert(hash(&ticket), one);
        ticket
    }

    /// Whose code comes with this, and of which version of them; `None` after too long, or too many.
    pub(super) fn attempt(&self, ticket: &str, now: Instant) -> Option<(String, Version)> {
        let (mut waiting, key) = (lock(&self.waiting), hash(ticket));
        let one = waiting.get_mut(&key)?;
        one.tries += 1;
        if one.tries > MOST_TRIES || now.saturating_duration_since(one.began) >= LONGEST {
            waiting.remove(&key);
            return None;
        }
        Some((one.user.clone(), one.version))
    }

    /// They are in.
    pub(super) fn done(&self, ticket: &str) {
        lock(&self.waiting).remove(&hash(ticket));
    }

    /// Is this the user's code now, for the first time? `now` is in seconds since 1970.
    pub(super) fn fits(&self, user: &User, code: &str, now: u64) -> bool {
        let Some(step) = user.totp.as_ref().and_then(|secret| secret.step(code, now)) else {
            return false;
        };
        let mut used = lock(&self.used);
        // What is so old is not taken anyway.
        used.retain(|_, last| *last + 10 > now / 30);
        let last = used.entry((user.name.clone(), user.since)).or_default();
        let fresh = step > *last;
        *last = step.max(*last);
        fresh
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{PasswordHash, Role, TotpSecret};

    fn ann() -> User {
        User {
            name: "ann".to_owned(),
            role: Role::Admin,
            password: PasswordHash::read("$argon2id$x".to_owned()).unwrap(),
            totp: TotpSecret::read("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            since: 1,
            version: 1,
        }
    }

    #[test]
    fn a_code_is_good_once() {
        let (codes, ann) = (Codes::default(), ann());
        assert!(codes.fits(&ann, "287082", 59));
        assert!(!codes.fits(&ann, "287082", 59), "somebody looked over a shoulder");
        assert!(!codes.fits(&ann, "287082", 61));
        assert!(codes.fits(&ann, "081804", 1_111_111_109));
        assert!(!codes.fits(&User { totp: None, ..ann }, "287082", 59));
    }

    #[test]
    fn who_waits_too_long_or_errs_too_often_begins_again() {
        tsg_sodium::init().unwrap();
        let (codes, now) = (Codes::default(), Instant::now());
        let ticket = codes.wait_for("ann", (1, 1), now);
        for _ in 0..MOST_TRIES {
            assert_eq!(codes.attempt(&ticket, now), Some(("ann".to_owned(), (1, 1))));
        }
        assert_eq!(codes.attempt(&ticket, now), None);
        assert_eq!(codes.attempt(&ticket, now), None);
        let ticket = codes.wait_for("ann", (1, 1), now);
        assert_eq!(codes.attempt(&ticket, now + LONGEST), None);
        let ticket = codes.wait_for("ann", (1, 1), now);
        assert_eq!(codes.attempt("", now), None);
        codes.done(&ticket);
        assert_eq!(codes.attempt(&ticket, now), None);
        for _ in 0..2 * MOST {
            codes.wait_for("ann", (1, 1), now);
        }
        assert_eq!(lock(&codes.waiting).len(), MOST);
    }
}
