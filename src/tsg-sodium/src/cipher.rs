//! The two ciphers of DESIGN's suites: RFC 8439 and AES-256-GCM (NIST SP 800-38D).

use core::fmt;

use tsg_esp::crypto::{Cipher, ICV_LEN, SenderKey, Suite, Unauthentic};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::sys;

/// ChaCha20-Poly1305 with a 96-bit nonce.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ChaCha20Poly1305 {
    key: [u8; 32],
}

impl ChaCha20Poly1305 {
    /// The cipher with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: *key }
    }
}

impl Cipher for ChaCha20Poly1305 {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        sys::chacha_seal(&self.key, nonce, aad, data)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        sys::chacha_open(&self.key, nonce, aad, data, icv)
    }
}

impl fmt::Debug for ChaCha20Poly1305 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaCha20Poly1305(<secret>)")
    }
}

/// AES-256-GCM in hardware, with its key schedule computed once.
#[derive(Debug)]
pub struct Aes256Gcm {
    state: sys::AesState,
}

impl Aes256Gcm {
    /// The cipher with this key.
    ///
    /// # Errors
    ///
    /// [`NoAes`], also before [`init`](crate::init).
    pub fn new(key: &[u8; 32]) -> Result<Self, NoAes> {
        Ok(Self { state: sys::AesState::new(key).ok_or(NoAes)? })
    }

    fn set_key(&mut self, key: &[u8; 32]) {
        self.state.set_key(key);
    }
}

impl Cipher for Aes256Gcm {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        self.state.seal(nonce, aad, data)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        self.state.open(nonce, aad, data, icv)
    }
}

/// The processor has no instructions for AES-256-GCM, and libsodium has it in hardware only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAes;

impl fmt::Display for NoAes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this processor has no AES-GCM instructions; the group needs chacha20-poly1305")
    }
}

impl core::error::Error for NoAes {}

/// The cipher of a group.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per sender; the data path must not follow a pointer"
)]
pub enum AnyCipher {
    /// [`Suite::ChaCha20Poly1305`].
    ChaCha20Poly1305(ChaCha20Poly1305),
    /// [`Suite::Aes256Gcm`].
    Aes256Gcm(Aes256Gcm),
}

impl AnyCipher {
    /// The suite's cipher with a key of zeroes, to be put where it stays: a cipher that moves leaves
    /// copies of its key behind.
    ///
    /// # Errors
    ///
    /// [`NoAes`].
    pub fn blank(suite: Suite) -> Result<Self, NoAes> {
        match suite {
            Suite::ChaCha20Poly1305 => Ok(Self::ChaCha20Poly1305(ChaCha20Poly1305::new(&[0; 32]))),
            Suite::Aes256Gcm => Aes256Gcm::new(&[0; 32]).map(Self::Aes256Gcm),
        }
    }

    /// Takes on a sender's key. The salt stays with the caller.
    pub fn set_key(&mut self, key: &SenderKey) {
        match self {
            Self::ChaCha20Poly1305(cipher) => cipher.key = key.key,
            Self::Aes256Gcm(cipher) => cipher.set_key(&key.key),
        }
    }

    /// Which suite it is.
    pub const fn suite(&self) -> Suite {
        match self {
            Self::ChaCha20Poly1305(_) => Suite::ChaCha20Poly1305,
            Self::Aes256Gcm(_) => Suite::Aes256Gcm,
        }
    }
}

impl Cipher for AnyCipher {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        match self {
            Self::ChaCha20Poly1305(cipher) => cipher.seal(nonce, aad, data),
            Self::Aes256Gcm(cipher) => cipher.seal(nonce, aad, data),
        }
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        match self {
            Self::ChaCha20Poly1305(cipher) => cipher.open(nonce, aad, data, icv),
            Self::Aes256Gcm(cipher) => cipher.open(nonce, aad, data, icv),
        }
    }
}
