//! The keys that name machines: CURVE public keys, and the fingerprint an operator compares.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tsg_esp::crypto::Tek;
use zeroize::Zeroizing;

/// A CURVE25519 public key: the name of a gateway or of the key server.
///
/// Printed in base64; read in base64 (44 characters) and in Z85 (40 characters).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

/// A text that is not a key, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a key: a key has 44 characters in base64 or 40 in Z85, as `tsg-server key` and \
             `tsg fingerprint` print it",
        )
    }
}

impl core::error::Error for NotAKey {}

/// Reads 32 bytes from base64 or Z85 into `key`; for secret keys too, of which no copy is left.
///
/// # Errors
/// The text has another length, other characters, or base64 padding bits that are not zero.
pub fn read_key(text: &str, key: &mut [u8; 32]) -> Result<(), NotAKey> {
    match text.len() {
        44 => base64(text, key).ok_or(NotAKey),
        40 => z85(text.as_bytes(), key).ok_or(NotAKey),
        _ => Err(NotAKey),
    }
}

/// 32 bytes as base64, the form in which keys are printed.
pub fn key_text(bytes: &[u8; 32]) -> String {
    STANDARD.encode(bytes)
}

const Z85: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

fn base64(text: &str, key: &mut [u8; 32]) -> Option<()> {
    // The decoder wants room for a text without padding.
    let mut bytes = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(text, bytes.as_mut_slice()).ok()?;
    key.copy_from_slice(bytes.get(..length).filter(|bytes| bytes.len() == 32)?);
    Some(())
}

/// ZeroMQ RFC 32: five characters make four bytes, most significant first.
fn z85(text: &[u8], key: &mut [u8; 32]) -> Option<()> {
    for (five, four) in text.chunks_exact(5).zip(key.chunks_exact_mut(4)) {
        let mut value = 0u64;
        for character in five {
            let digit = Z85.iter().position(|known| known == character)?;
            value = value * 85 + digit as u64;
        }
        four.copy_from_slice(&u32::try_from(value).ok()?.to_be_bytes());
    }
    Some(())
}

impl PublicKey {
    /// What people compare when they approve a gateway.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut first = [0; 16];
        first.copy_from_slice(&Sha256::digest(self.0)[..16]);
        Fingerprint(first)
    }
}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut key = Self([0; 32]);
        read_key(text, &mut key.0)?;
        Ok(key)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key_text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first 16 bytes of SHA-256 of a public key, `1a2b-3c4d-…`: eight groups of four hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.0.chunks_exact(2).enumerate() {
            let dash = if at == 0 { "" } else { "-" };
            write!(f, "{dash}{:02x}{:02x}", pair[0], pair[1])?;
        }
        Ok(())
    }
}

/// A text that is not a whole fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFingerprint;

impl fmt::Display for NotAFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a whole fingerprint: it has 32 hexadecimal digits, as `tsg fingerprint` shows it",
        )
    }
}

impl core::error::Error for NotAFingerprint {}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Read whole, in small or large letters, with or without `-` or `:` between its digits.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut digits = text.chars().filter(|c| !matches!(c, '-' | ':'));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let mut digit = || digits.next().and_then(|c| c.to_digit(16)).ok_or(NotAFingerprint);
            *byte = (digit()? * 16 + digit()?) as u8;
        }
        digits.next().map_or(Ok(Self(bytes)), |_| Err(NotAFingerprint))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A TEK whose bytes `fill` writes where they stay. All who need it share that one place in memory,
/// which is zeroed when the last of them is done.
pub fn make_tek(fill: impl FnOnce(&mut [u8; 32])) -> Arc<Tek> {
    let mut tek = Arc::new(Tek::new([0; 32]));
    fill(Arc::make_mut(&mut tek).expose_mut());
    tek
}

/// Tells two TEKs apart without showing either: the first 8 bytes of SHA-256 over a label and the
/// TEK. Two epochs with the same number but different keys (a server restored from an old backup)
/// are noticed by it.
pub fn tek_check(tek: &Tek) -> [u8; 8] {
    let mut check = [0; 8];
    let digest = Sha256::new().chain_update(b"TSG epoch check\0").chain_update(tek.expose());
    check.copy_from_slice(&digest.finalize()[..8]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_both_forms() {
        // The key pair of ZeroMQ's own CURVE test: RFC 32's alphabet, zmq_curve(7).
        let z85 = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
        let key: PublicKey = z85.parse().unwrap();
        let base64 = key.to_string();
        assert_eq!(base64.len(), 44);
        assert_eq!(base64.parse::<PublicKey>().unwrap(), key);
        assert_eq!(key.0[..4], [0x54, 0xfc, 0xba, 0x24]);
    }

    #[test]
    fn other_texts_are_refused() {
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(zeros.parse::<PublicKey>().is_ok());
        for wrong in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
            "#####################################   ",
            "########################################",
        ] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_is_eight_groups() {
        let text = PublicKey([0; 32]).fingerprint().to_string();
        assert_eq!(text, "6668-7aad-f862-bd77-6c8f-c18b-8e9f-8e20");
    }

    #[test]
    fn a_fingerprint_is_read_whole_or_not_at_all() {
        let print = PublicKey([7; 32]).fingerprint();
        let text = print.to_string();
        for good in [text.clone(), text.replace('-', ":").to_uppercase(), text.replace('-', "")] {
            assert_eq!(good.parse(), Ok(print), "{good}");
        }
        let longer = format!("{text}0");
        let wrong = ["", "-", &text[..38], &longer, &text.replace('-', " "), &"é".repeat(16)];
        for wrong in wrong {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint), "{wrong}");
        }
    }
}
