//! RustCrypto's implementations behind the crate's traits: independent of libsodium.

use aes_gcm::{AeadInPlace, KeyInit};
use blake2::Blake2bMac;
use blake2::digest::FixedOutput;
use blake2::digest::consts::U36;
use tsg_esp::crypto::{Cipher, ICV_LEN, KDF_CONTEXT, Kdf, SenderKey, Spi, Suite, Tek, Unauthentic};

pub(crate) enum TestCipher {
    ChaCha(Box<chacha20poly1305::ChaCha20Poly1305>),
    Aes(Box<aes_gcm::Aes256Gcm>),
}

impl TestCipher {
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        match suite {
            Suite::ChaCha20Poly1305 => Self::ChaCha(Box::new(KeyInit::new(key.into()))),
            Suite::Aes256Gcm => Self::Aes(Box::new(KeyInit::new(key.into()))),
        }
    }
}

impl Cipher for TestCipher {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        let tag = match self {
            Self::ChaCha(cipher) => cipher.encrypt_in_place_detached(nonce.into(), aad, data),
            Self::Aes(cipher) => cipher.encrypt_in_place_detached(nonce.into(), aad, data),
        };
        tag.unwrap().into()
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        let icv = icv.into();
        let result = match self {
            Self::ChaCha(cipher) => cipher.decrypt_in_place_detached(nonce.into(), aad, data, icv),
            Self::Aes(cipher) => cipher.decrypt_in_place_detached(nonce.into(), aad, data, icv),
        };
        result.map_err(|_| {
            data.fill(0);
            Unauthentic
        })
    }
}

/// `crypto_kdf_derive_from_key` by its definition: BLAKE2b keyed with the master key, no message,
/// the subkey id in the salt and the context in the personalisation.
pub(crate) struct Blake2;

impl Kdf for Blake2 {
    fn derive(tek: &Tek, spi: Spi) -> SenderKey {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&u64::from(spi.value()).to_le_bytes());
        let mut personal = [0; 16];
        personal[..8].copy_from_slice(&KDF_CONTEXT);
        let mac =
            Blake2bMac::<U36>::new_with_salt_and_personal(tek.expose(), &salt, &personal).unwrap();
        let mut output = [0; 36];
        output.copy_from_slice(&mac.finalize_fixed());
        SenderKey::from_output(&output)
    }
}

#[test]
fn the_key_derivation_is_what_pythons_hashlib_computes() {
    // hashlib.blake2b(b"", digest_size=36, key=bytes(range(32)), person=b"TSGESP01" + bytes(8),
    //                 salt=(0x01000002).to_bytes(8, "little") + bytes(8))
    const EXPECTED: &str =
        "7c3202aba4e30b228f0d2c851828c7d791f89d1b062436ebc9d60d78f2eb91140e4dbebe";
    let mut tek = [0; 32];
    tek.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
    let key = Blake2::derive(&Tek::new(tek), Spi::new(1, 2).unwrap());
    let hex: String = key.key.iter().chain(&key.salt).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, EXPECTED);
}
