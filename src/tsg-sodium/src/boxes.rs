//! `crypto_box` of NaCl: X25519, XSalsa20 and Poly1305. ZeroMQ's CURVE is made of it.

use core::fmt;

use tsg_esp::crypto::Unauthentic;
use zeroize::Zeroizing;

use crate::sys;

/// A box is so much longer than what is in it: its authenticator comes first.
pub const BOX_OVERHEAD: usize = 16;

/// The key that two key pairs have in common: in one place of memory however it moves, zeroed on drop.
pub struct SharedKey(Box<Zeroizing<[u8; 32]>>);

/// A public key that would make a secret known to everyone. Nobody honest has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakKey;

impl SharedKey {
    /// The key of one's own secret half and the other's public one.
    ///
    /// # Errors
    ///
    /// [`WeakKey`].
    pub fn agree(public: &[u8; 32], secret: &[u8; 32]) -> Result<Self, WeakKey> {
        let mut shared = Self(Box::default());
        if sys::box_beforenm(&mut shared.0, public, secret) { Ok(shared) } else { Err(WeakKey) }
    }

    /// Closes a box: what is in it stands behind [`BOX_OVERHEAD`] bytes of room.
    ///
    /// # Panics
    ///
    /// Without that room.
    pub fn seal(&self, nonce: &[u8; 24], boxed: &mut [u8]) {
        let (mac, data) = boxed.split_at_mut(BOX_OVERHEAD);
        mac.copy_from_slice(&sys::box_seal(&self.0, nonce, data));
    }

    /// Opens a box where it lies, and gives what was in it.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`]; nothing of it is left then.
    pub fn open<'a>(
        &self,
        nonce: &[u8; 24],
        boxed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unauthentic> {
        let (mac, data) = boxed.split_first_chunk_mut::<BOX_OVERHEAD>().ok_or(Unauthentic)?;
        sys::box_open(&self.0, nonce, data, mac)?;
        Ok(data)
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{init, public_key};

    #[test]
    fn both_ends_open_what_the_other_closed_and_nothing_else() {
        init().unwrap();
        let [one, two] = [[1; 32], [2; 32]];
        let here = SharedKey::agree(&public_key(&two), &one).unwrap();
        let there = SharedKey::agree(&public_key(&one), &two).unwrap();
        for len in [0, 1, 15, 16, 17, 1_000] {
            let mut boxed = vec![7; BOX_OVERHEAD + len];
            here.seal(&[3; 24], &mut boxed);
            assert!(len < 16 || boxed[BOX_OVERHEAD..] != vec![7; len]);
            let sealed = boxed.clone();
            assert_eq!(there.open(&[3; 24], &mut boxed).unwrap(), vec![7; len]);
            for at in 0..sealed.len().min(40) {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(there.open(&[3; 24], &mut changed), Err(Unauthentic), "byte {at}");
            }
            let mut boxed = sealed.clone();
            assert_eq!(there.open(&[4; 24], &mut boxed), Err(Unauthentic), "another nonce");
        }
        for len in 0..BOX_OVERHEAD {
            assert_eq!(here.open(&[3; 24], &mut vec![0; len]), Err(Unauthentic), "{len} bytes");
        }
    }

    #[test]
    fn a_weak_key_is_refused() {
        init().unwrap();
        assert_eq!(SharedKey::agree(&[0; 32], &[1; 32]).unwrap_err(), WeakKey);
    }
}
