//! libsodium's ciphers and key derivation behind tsg-esp's traits, the boxes that CURVE is made of, passwords, and what seals a
//! disk and a backup.
//!
//! The only crate that calls libsodium; the calls are in the module `sys`. Nothing that a packet needs allocates.
//! Call [`init`] and [`self_test`] once at start, before any thread.
//!
//! Not for: deciding which suite a group uses (the key server), or locking memory and forbidding
//! core dumps (the daemon).

mod boxes;
mod cipher;
mod derive;
mod kept;
pub mod password;
mod self_test;
mod sys;

pub use boxes::{BOX_OVERHEAD, SharedKey, WeakKey};
pub use cipher::{Aes256Gcm, AnyCipher, ChaCha20Poly1305, NoAes};
pub use derive::{hkdf_sha256, hmac_sha256, x25519};
pub use kept::KeepingKey;
pub use self_test::{SelfTestError, self_test};

use core::fmt;

use tsg_esp::crypto::{Kdf, SenderKey, Spi, Tek};
use zeroize::Zeroize;

/// libsodium could not be set up: it found no source of randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitError;

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("libsodium could not be initialised: is there a random source?")
    }
}

impl core::error::Error for InitError {}

/// Sets libsodium up; more than once does no harm.
///
/// # Errors
///
/// [`InitError`].
pub fn init() -> Result<(), InitError> {
    if sys::init() { Ok(()) } else { Err(InitError) }
}

/// The version of libsodium that is in use, `1.0.18`.
pub fn version() -> &'static str {
    sys::version()
}

/// Fills `bytes` from the system's random source.
pub fn random(bytes: &mut [u8]) {
    sys::random(bytes);
}

/// The public half of a CURVE key pair: X25519 of RFC 7748 with its base point.
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    sys::scalarmult_base(secret)
}

/// The stack below a thread's loop that is wiped, in bytes: what is called there goes that deep.
const DEEP: usize = 32 * 1024;

/// The stack below the derivation of a key that is wiped: it happens up to 2,000 times in a second.
const FLAT: usize = 8 * 1024;

/// Overwrites the stack below the caller: functions that have returned leave copies of keys there,
/// which nobody else can reach. What the caller itself has on the stack stays.
pub fn wipe_stack() {
    sys::stackzero(DEEP);
}

/// Makes something with keys on a stack that is wiped before and behind, 8 KiB deep: before, since what
/// is made there and moved takes along in its gaps what lay on the stack.
pub fn on_a_clean_stack<T>(work: impl FnOnce() -> T) -> T {
    /// Its frame is below the caller's, which stays.
    #[inline(never)]
    fn below<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    sys::stackzero(FLAT);
    let made = below(work);
    sys::stackzero(FLAT);
    made
}

/// Whether this processor has the instructions for AES-256-GCM. False before [`init`].
pub fn aes_available() -> bool {
    sys::aes_is_available()
}

/// `crypto_kdf_derive_from_key` of libsodium.
#[derive(Clone, Copy, Debug)]
pub struct Sodium;

impl Kdf for Sodium {
    /// # Panics
    ///
    /// If libsodium refuses an output of 36 bytes, which it documents as allowed.
    fn derive(tek: &Tek, spi: Spi) -> SenderKey {
        let mut output = [0; 36];
        let derived = sys::kdf_derive(&mut output, u64::from(spi.value()), tek.expose());
        assert!(derived, "crypto_kdf_derive_from_key refused 36 bytes");
        let key = SenderKey::from_output(&output);
        output.zeroize();
        key
    }
}
