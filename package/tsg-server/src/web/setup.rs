//! The first start: whoever can read the server's log makes the first administrator.

use crate::accounts::Directory;
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Letters that are not taken for others, nor for digits.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The one-time code, as long as there is nobody. It is too long to be found by trying.
#[derive(Default)]
pub(super) struct Setup(Mutex<Option<Zeroizing<String>>>);

impl Setup {
    /// Makes a code and logs it, if there is nobody yet.
    pub(super) fn new(directory: &Directory) -> Self {
        let setup = Self::default();
        if directory.now().is_empty() {
            setup.make();
        }
        setup
    }

    /// Is this the code, in whatever case and with whatever between its letters?
    pub(super) fn is_code(&self, typed: &str) -> bool {
        let plain = |text: &str| -> Zeroizing<String> {
            let signs = text.chars().filter(char::is_ascii_alphanumeric).take(64);
            Zeroizing::new(signs.map(|sign| sign.to_ascii_uppercase()).collect())
        };
        // Hashed, since a comparison may take the longer the more is right.
        let hash = |text: &str| Sha256::digest(plain(text).as_bytes());
        self.code().as_ref().is_some_and(|code| hash(typed) == hash(code))
    }

    /// There is somebody now.
    pub(super) fn close(&self) {
        *self.code() = None;
    }

    /// A code is there, or is made: everybody may have been taken away.
    pub(super) fn open(&self) {
        if self.code().is_none() {
            self.make();
        }
    }

    fn make(&self) {
        let code = code();
        // Whoever reads it on its way to a collector would be the first administrator.
        log::warn!(
            target: tsg_log::HERE,
            "nobody may sign in to the pages yet: open them and type the set-up code {}",
            *code
        );
        *self.code() = Some(code);
    }

    fn code(&self) -> MutexGuard<'_, Option<Zeroizing<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 60 random bits: `K7QF-2MXA-9RTP`.
fn code() -> Zeroizing<String> {
    let mut random = Zeroizing::new([0_u8; 12]);
    tsg_sodium::random(random.as_mut_slice());
    let mut code = Zeroizing::new(String::with_capacity(14));
    for (at, byte) in random.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_taken_however_it_is_typed() {
        let setup = Setup::new(&Directory::default());
        let code = setup.code().clone().unwrap();
        assert_eq!(code.len(), 14);
        assert!(setup.is_code(&code.to_lowercase().replace('-', " ")));
        assert!(
            !setup.is_code("") && !setup.is_code(&code[1..]) && !setup.is_code("AAAA-AAAA-AAAA")
        );
        setup.close();
        assert!(!setup.is_code(&code) && !setup.is_code(""));
        setup.open();
        assert!(!setup.is_code(&code), "it is another one");
    }
}
