//! The secret half of a CURVE key pair (Curve25519, 32 bytes).

use std::fmt;

use tsg_control::keys::{NotAKey, PublicKey, key_text, read_key};
use zeroize::Zeroizing;

/// Length of either half of a pair.
pub const KEY_BYTES: usize = 32;

/// A secret key: in one place of memory however it moves, zeroed on drop, never printed.
///
/// X25519 ignores five of its bits. They are fixed here as RFC 7748 section 5 does it, so that
/// one key has one text.
pub struct SecretKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl SecretKey {
    /// A new one, from the system's random source.
    pub fn generate() -> Self {
        let mut key = Self::zero();
        tsg_sodium::random(key.0.as_mut_slice());
        key.put_in_order();
        key
    }

    /// A key from its bytes; the bits that X25519 ignores are put in order.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        key.put_in_order();
        key
    }

    /// Reads base64 or Z85 from elsewhere.
    ///
    /// # Errors
    /// The text is no key.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let mut key = Self::read(text)?;
        key.put_in_order();
        Ok(key)
    }

    /// Reads what [`Self::to_base64`] wrote.
    ///
    /// # Errors
    /// The text is no key, or has a changed character.
    pub(super) fn parse_canonical(text: &str) -> Result<Self, NotAKey> {
        let mut key = Self::read(text)?;
        if key.put_in_order() { Err(NotAKey) } else { Ok(key) }
    }

    /// The raw key.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The half that others may know.
    pub fn public(&self) -> PublicKey {
        PublicKey(tsg_sodium::public_key(self.bytes()))
    }

    /// For the identity file only.
    pub(super) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(key_text(&self.0))
    }

    fn zero() -> Self {
        Self(Box::default())
    }

    fn read(text: &str) -> Result<Self, NotAKey> {
        let mut key = Self::zero();
        read_key(text, &mut key.0)?;
        Ok(key)
    }

    /// Gives whether that changed anything.
    fn put_in_order(&mut self) -> bool {
        let (first, last) = (self.0[0], self.0[KEY_BYTES - 1]);
        self.0[0] = first & 0xf8;
        self.0[KEY_BYTES - 1] = last & 0x7f | 0x40;
        (self.0[0], self.0[KEY_BYTES - 1]) != (first, last)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
