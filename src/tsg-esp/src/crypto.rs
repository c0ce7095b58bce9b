//! What the packet layer asks of a cipher and of a key derivation, and the keys themselves.
//!
//! Not for: a cipher. The gateway brings libsodium's (crate `tsg-sodium`), the tests bring others.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

pub use crate::spi::Spi;

/// Length of the integrity check value behind the sealed bytes.
pub const ICV_LEN: usize = 16;

/// The data did not authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

impl fmt::Display for Unauthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data did not authenticate")
    }
}

impl core::error::Error for Unauthentic {}

/// An AEAD with its key, working in place: RFC 8439 or AES-256-GCM.
pub trait Cipher {
    /// Encrypts `data` and gives the ICV over it and `aad`.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN];

    /// Decrypts `data`.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] if key, nonce, `aad`, `data` and `icv` do not belong together. `data` must
    /// not hold plaintext then; its content is lost.
    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic>;
}

impl<C: Cipher + ?Sized> Cipher for &C {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        (**self).seal(nonce, aad, data)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        (**self).open(nonce, aad, data, icv)
    }
}

/// The key of a sender from the group's key: `crypto_kdf_derive_from_key` of libsodium, with the
/// SPI as subkey id, [`KDF_CONTEXT`] as context and 36 bytes of output.
pub trait Kdf {
    /// Derives the key that `spi` seals with.
    fn derive(tek: &Tek, spi: Spi) -> SenderKey;
}

/// The context of the key derivation.
pub const KDF_CONTEXT: [u8; 8] = *b"TSGESP01";

/// Which cipher a group uses; it never changes within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// RFC 7634: fast everywhere.
    ChaCha20Poly1305,
    /// RFC 4106 with 256-bit keys: where every member has it in hardware.
    Aes256Gcm,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 2] = [Self::ChaCha20Poly1305, Self::Aes256Gcm];

    /// The name in messages, status and UCI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    /// The suite of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == name)
    }
}

/// Traffic encryption key: the secret of one epoch, 32 bytes. Zeroed on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Tek([u8; 32]);

impl Tek {
    /// The key of these bytes. The caller zeroes its own copy.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a derivation or a message. Named so that a reader notices.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes, to be written where they stay: a key that moves leaves copies behind.
    pub const fn expose_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl fmt::Debug for Tek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Compares without telling by its duration where the keys differ.
impl PartialEq for Tek {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl Eq for Tek {}

/// Key and salt of one sender in one epoch. Zeroed on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SenderKey {
    /// The cipher's key.
    pub key: [u8; 32],
    /// The first four bytes of every nonce.
    pub salt: [u8; 4],
}

impl SenderKey {
    /// Splits the output of the key derivation: 32 bytes key, 4 bytes salt. The caller zeroes its
    /// own copy.
    pub fn from_output(output: &[u8; 36]) -> Self {
        let mut split = Self { key: [0; 32], salt: [0; 4] };
        split.key.copy_from_slice(&output[..32]);
        split.salt.copy_from_slice(&output[32..]);
        split
    }
}

impl fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let tek = Tek::new([0x41; 32]);
        let key = SenderKey::from_output(&[0x42; 36]);
        assert_eq!(std::format!("{tek:?} {key:?}"), "<secret> <secret>");
    }

    #[test]
    fn keys_compare_by_content() {
        let mut other = [7; 32];
        assert_eq!(Tek::new([7; 32]), Tek::new(other));
        other[31] ^= 0x80;
        assert_ne!(Tek::new([7; 32]), Tek::new(other));
    }

    #[test]
    fn suites_are_found_by_their_name() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.as_str()), Some(suite));
        }
        assert_eq!(Suite::from_name("rot13"), None);
    }
}
