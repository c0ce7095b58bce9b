//! The secret half of a CURVE key pair (Curve25519, 32 bytes).

use std::fmt;

use tsg_control::keys::{NotAKey, key_bytes, key_text};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of either half of a pair.
pub const KEY_BYTES: usize = 32;

/// A secret key: zeroed on drop, never printed.
///
/// X25519 ignores five of its bits. They are fixed here as RFC 7748 section 5 does it, so that
/// one key has one text.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// A key from its bytes; the bits that X25519 ignores are put in order.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut key = Self(*bytes);
        key.0[0] &= 0xf8;
        key.0[KEY_BYTES - 1] = key.0[KEY_BYTES - 1] & 0x7f | 0x40;
        key
    }

    /// Reads base64 or Z85 from elsewhere.
    ///
    /// # Errors
    /// The text is no key.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        Ok(Self::new(&Zeroizing::new(key_bytes(text)?)))
    }

    /// Reads what [`Self::to_base64`] wrote.
    ///
    /// # Errors
    /// The text is no key, or has a changed character.
    pub(super) fn parse_canonical(text: &str) -> Result<Self, NotAKey> {
        let bytes = Zeroizing::new(key_bytes(text)?);
        let key = Self::new(&bytes);
        if key.0 == *bytes { Ok(key) } else { Err(NotAKey) }
    }

    /// The raw key, as ZeroMQ's options take it.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// For the identity file only.
    pub(super) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(key_text(&self.0))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
