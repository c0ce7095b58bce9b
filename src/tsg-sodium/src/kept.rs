//! What is kept on a disk: XChaCha20-Poly1305 with a random nonce, which stands in front.

use core::fmt;

use tsg_esp::crypto::Unauthentic;
use zeroize::Zeroizing;

use crate::sys;

/// Nonce and authenticator: what is sealed is so much longer.
const NONCE: usize = 24;
const MAC: usize = 16;

/// A key that seals what is kept: in one place of memory however it moves, zeroed on drop.
#[derive(Clone)]
pub struct KeepingKey(Box<Zeroizing<[u8; 32]>>);

impl KeepingKey {
    /// A new one, by chance.
    pub fn random() -> Self {
        let mut key = Self(Box::default());
        sys::random(key.0.as_mut_slice());
        key
    }

    /// One that is known.
    pub fn new(key: &[u8; 32]) -> Self {
        let mut made = Self(Box::default());
        made.0.copy_from_slice(key);
        made
    }

    /// The one that a passphrase makes with a salt: argon2id (RFC 9106) with 256 MiB and three passes, a second's work. `None`: there is no
    /// memory for that.
    pub fn of_passphrase(passphrase: &[u8], salt: &[u8; 16]) -> Option<Self> {
        let mut key = Self(Box::default());
        sys::password_key(&mut key.0, passphrase, salt).then_some(key)
    }

    /// The bytes, to be sealed by another key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals. Only who names the same `place` opens it.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE + MAC + plain.len()];
        let (head, data) = sealed.split_at_mut(NONCE + MAC);
        let (nonce, mac) = head.split_at_mut(NONCE);
        sys::random(nonce);
        // Sealed where it lies: nothing is left of the plain bytes.
        data.copy_from_slice(plain);
        let mut at = [0; NONCE];
        at.copy_from_slice(nonce);
        mac.copy_from_slice(&sys::xchacha_seal(&self.0, &at, place, data));
        sealed
    }

    /// Opens what [`Self::seal`] made.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`]: it is damaged, of another key, or was sealed for another place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Unauthentic)?;
        let (mac, data) = rest.split_first_chunk::<MAC>().ok_or(Unauthentic)?;
        let mut plain = Zeroizing::new(data.to_vec());
        sys::xchacha_open(&self.0, nonce, place, &mut plain, mac)?;
        Ok(plain)
    }
}

impl fmt::Debug for KeepingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepingKey(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_key_and_its_place_open_it() {
        crate::init().unwrap();
        let key = KeepingKey::random();
        for len in [0, 1, 32, 1_000] {
            let plain = vec![7; len];
            let sealed = key.seal(b"here", &plain);
            assert_eq!(*key.open(b"here", &sealed).unwrap(), plain);
            assert_ne!(key.seal(b"here", &plain), sealed, "a nonce of its own");
            assert!(key.open(b"there", &sealed).is_err());
            assert!(KeepingKey::random().open(b"here", &sealed).is_err());
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert!(key.open(b"here", &changed).is_err(), "byte {at} of {len}");
                assert!(key.open(b"here", &sealed[..at]).is_err(), "{at} of {len}");
            }
        }
    }

    /// Appendix A.3.1 of draft-irtf-cfrg-xchacha-03.
    #[test]
    fn a_published_text() {
        crate::init().unwrap();
        let key: [u8; 32] = core::array::from_fn(|at| 0x80 + at as u8);
        let nonce: [u8; 24] = core::array::from_fn(|at| 0x40 + at as u8);
        let place = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                      for the future, sunscreen would be it.";
        let mac = [
            0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a,
            0xcf, 0x49,
        ];
        let mut data = plain.to_vec();
        assert_eq!(sys::xchacha_seal(&key, &nonce, &place, &mut data), mac);
        assert_eq!(data[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
        let sealed = [&nonce[..], &mac, &data].concat();
        assert_eq!(*KeepingKey::new(&key).open(&place, &sealed).unwrap(), plain);
    }

    /// Computed with argon2-cffi.
    #[test]
    fn a_passphrase_makes_the_same_key_everywhere() {
        crate::init().unwrap();
        let key = KeepingKey::of_passphrase(b"correct horse", &[5; 16]).unwrap();
        assert_eq!(key.expose()[..8], [0xef, 0xe2, 0x6b, 0x10, 0x9d, 0x18, 0xf0, 0x43]);
        let other = KeepingKey::of_passphrase(b"correct horse", &[6; 16]).unwrap();
        assert_ne!(key.expose(), other.expose());
        assert!(!format!("{key:?}").contains("239"));
    }
}
