//! Known answers, computed with OpenSSL and Python's hashlib: that the library at hand is the one
//! we think it is.

use core::fmt;

use tsg_esp::crypto::{Cipher, Kdf, Spi, Tek};

use crate::{Aes256Gcm, ChaCha20Poly1305, Sodium, aes_available, random};

/// Which part of libsodium gives wrong answers. The daemon must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTestError {
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// AES-256-GCM.
    Aes256Gcm,
    /// The key derivation.
    Kdf,
    /// The random source gives the same twice.
    Random,
}

impl fmt::Display for SelfTestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self {
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::Kdf => "key derivation",
            Self::Random => "random source",
        };
        write!(f, "libsodium's {part} gives a wrong answer: a broken build, or broken hardware")
    }
}

impl core::error::Error for SelfTestError {}

/// 0, 1, 2…: key of every known answer, and its first twelve bytes the nonce.
const COUNTING: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};
const NONCE: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const AAD: &[u8] = b"SPI and number";
const PLAIN: [u8; 23] = *b"a pump runs at 1450 rpm";

const CHACHA_SEALED: [u8; 39] = [
    0xe8, 0xdb, 0x78, 0x75, 0x44, 0x67, 0x85, 0x32, 0xc2, 0xed, 0x4c, 0xd3, 0xf9, 0x69, 0x2e, 0x52,
    0xfd, 0x45, 0x82, 0xc7, 0x23, 0x04, 0xc0, 0x19, 0x9d, 0xa9, 0xc4, 0x8c, 0x7d, 0x0f, 0x25, 0xb2,
    0xb1, 0xe1, 0x6b, 0xf9, 0x17, 0x75, 0xc5,
];
const AES_SEALED: [u8; 39] = [
    0x26, 0x22, 0xa6, 0x6e, 0xa8, 0x95, 0xe2, 0x69, 0xf8, 0x2f, 0xe4, 0xab, 0xd0, 0x9d, 0x58, 0x5c,
    0xb7, 0xe3, 0xb7, 0x14, 0x82, 0x0b, 0x32, 0x38, 0x4c, 0x0f, 0x08, 0x5c, 0x90, 0xf8, 0xbd, 0xe7,
    0xef, 0xcf, 0x6d, 0xe7, 0xf7, 0x42, 0xcc,
];
/// Key and salt of SPI 0x01000002.
const DERIVED: [u8; 36] = [
    0x7c, 0x32, 0x02, 0xab, 0xa4, 0xe3, 0x0b, 0x22, 0x8f, 0x0d, 0x2c, 0x85, 0x18, 0x28, 0xc7, 0xd7,
    0x91, 0xf8, 0x9d, 0x1b, 0x06, 0x24, 0x36, 0xeb, 0xc9, 0xd6, 0x0d, 0x78, 0xf2, 0xeb, 0x91, 0x14,
    0x0e, 0x4d, 0xbe, 0xbe,
];

/// Compares both ciphers and the key derivation with known answers. AES-256-GCM is left out where
/// the processor has no instructions for it.
///
/// # Errors
///
/// The first part that is wrong.
pub fn self_test() -> Result<(), SelfTestError> {
    let chacha = ChaCha20Poly1305::new(&COUNTING);
    if !knows(&chacha, &CHACHA_SEALED) {
        return Err(SelfTestError::ChaCha20Poly1305);
    }
    if aes_available() {
        let aes = Aes256Gcm::new(&COUNTING).map_err(|_| SelfTestError::Aes256Gcm)?;
        if !knows(&aes, &AES_SEALED) {
            return Err(SelfTestError::Aes256Gcm);
        }
    }
    if !derives() {
        return Err(SelfTestError::Kdf);
    }
    let (mut once, mut again) = ([0; 32], [0; 32]);
    random(&mut once);
    random(&mut again);
    if once == again { Err(SelfTestError::Random) } else { Ok(()) }
}

/// Seals, opens, and refuses a wrong ICV without leaving plaintext.
fn knows<C: Cipher>(cipher: &C, sealed: &[u8; 39]) -> bool {
    let mut data = PLAIN;
    let mut icv = cipher.seal(&NONCE, AAD, &mut data);
    if data != sealed[..PLAIN.len()] || icv != sealed[PLAIN.len()..] {
        return false;
    }
    let mut opened = data;
    if cipher.open(&NONCE, AAD, &mut opened, &icv).is_err() || opened != PLAIN {
        return false;
    }
    icv[0] ^= 1;
    cipher.open(&NONCE, AAD, &mut data, &icv).is_err() && data != PLAIN
}

fn derives() -> bool {
    let Some(spi) = Spi::new(1, 2) else { return false };
    let key = Sodium::derive(&Tek::new(COUNTING), spi);
    key.key == DERIVED[..32] && key.salt == DERIVED[32..]
}
