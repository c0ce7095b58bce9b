//! Passwords: argon2id (RFC 9106) with 64 MiB and two passes, as text in the PHC form that says so itself.

use crate::sys;

/// A longer password is refused: it would only cost time.
pub const MOST_BYTES: usize = 1_024;

/// What every hash begins with.
pub const PREFIX: &str = "$argon2id$";

/// Makes the text to keep. It takes a tenth of a second, and 64 MiB. `None`: there is no memory for that.
pub fn hash(password: &[u8]) -> Option<String> {
    sys::password_hash(password)
}

/// Is this the password that `hash` was made of? It takes as long as [`hash`].
pub fn verify(hash: &str, password: &[u8]) -> bool {
    password.len() <= MOST_BYTES && sys::password_verify(hash, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        crate::init().unwrap();
        let kept = hash(b"correct horse").unwrap();
        assert!(kept.starts_with(PREFIX), "{kept}");
        assert!(verify(&kept, b"correct horse"));
        assert!(!verify(&kept, b"correct horse "));
        assert!(!verify(&kept, b""));
        assert_ne!(hash(b"correct horse").unwrap(), kept, "a salt of its own");
    }

    #[test]
    fn what_is_no_hash_fits_no_password() {
        crate::init().unwrap();
        let kept = hash(b"x").unwrap();
        let long = "x".repeat(5_000);
        let mut cases = 0;
        for wrong in [
            "",
            "x",
            PREFIX,
            &kept[..kept.len() - 1],
            "$argon2id$v=19$m=9999999999,t=2,p=1$$",
            &long,
            "a\0b",
        ] {
            assert!(!verify(wrong, b"x"), "{wrong:?}");
            cases += 1;
        }
        assert_eq!(cases, 7);
    }
}
