//! Bytes that only this device with this identity can read: a copy on another box is no second owner
//! of the sender numbers in it, and of no use to who has it.
//!
//! ChaCha20-Poly1305 with a key of its own for every file: SHA-256 over the identity's secret key,
//! what names the device, and a random salt. Not for: keeping out who has this very device.

use crate::identity::SecretKey;
use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};
use std::fs;
use tsg_esp::crypto::{Cipher as _, ICV_LEN, Unauthentic};
use tsg_sodium::ChaCha20Poly1305;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"TSGKEYS1";
const SALT: usize = 32;

/// What the board says that it is, where it says so.
const BOARD: [&str; 2] = ["/proc/device-tree/serial-number", "/sys/class/dmi/id/product_uuid"];

/// The identity and the device.
pub(super) struct Bound {
    /// In one place of memory, however this moves.
    secret: Box<Zeroizing<[u8; 32]>>,
    wan: Vec<String>,
}

impl Bound {
    /// To this identity, and to the device with these WAN ports.
    pub(super) fn new(secret: &SecretKey, wan: Vec<String>) -> Self {
        let mut own = Box::new(Zeroizing::new([0; 32]));
        own.copy_from_slice(secret.bytes());
        Self { secret: own, wan }
    }

    pub(super) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut salt = [0; SALT];
        tsg_sodium::random(&mut salt);
        // In place and in one buffer: plaintext must not stay behind in an outgrown one.
        let mut sealed = Vec::with_capacity(MAGIC.len() + SALT + plain.len() + ICV_LEN);
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(plain);
        let icv = self.cipher(&salt).seal(&[0; 12], MAGIC, &mut sealed[MAGIC.len() + SALT..]);
        sealed.extend_from_slice(&icv);
        sealed
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let rest =
            sealed.strip_prefix(MAGIC).context("it does not begin as a file of keys does")?;
        let (salt, rest) = rest.split_first_chunk::<SALT>().context("it is too short")?;
        let (body, icv) = rest.split_last_chunk::<ICV_LEN>().context("it is too short")?;
        let mut plain = Zeroizing::new(body.to_vec());
        let opened = self.cipher(salt).open(&[0; 12], MAGIC, &mut plain, icv);
        opened.map_err(|Unauthentic| anyhow!("it does not authenticate"))?;
        Ok(plain)
    }

    fn cipher(&self, salt: &[u8; SALT]) -> ChaCha20Poly1305 {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(self.secret.as_slice());
        hash.update(salt);
        let ports = self.wan.iter().map(|port| format!("/sys/class/net/{port}/address"));
        for path in BOARD.map(str::to_owned).into_iter().chain(ports) {
            let named = fs::read(path).unwrap_or_default();
            hash.update((named.len() as u64).to_be_bytes());
            hash.update(named);
        }
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(hash.finalize().into());
        ChaCha20Poly1305::new(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(secret: u8, wan: &str) -> Bound {
        tsg_sodium::init().unwrap();
        Bound::new(&SecretKey::new(&[secret; 32]), vec![wan.to_owned()])
    }

    #[test]
    fn only_the_same_device_with_the_same_identity_reads_it() {
        let sealed = bound(8, "lo").seal(b"keys");
        assert_eq!(bound(8, "lo").open(&sealed).unwrap().as_slice(), b"keys");
        assert!(bound(16, "lo").open(&sealed).is_err());
        assert!(bound(8, "gone").open(&sealed).is_err());
        assert_ne!(bound(8, "lo").seal(b"keys"), sealed, "a key of its own for each");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let bound = bound(8, "lo");
        let sealed = bound.seal(b"keys");
        let mut cases = 0;
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(bound.open(&changed).is_err(), "byte {at}");
            assert!(bound.open(&sealed[..at]).is_err(), "{at} bytes");
            cases += 2;
        }
        assert_eq!(cases, 2 * (8 + 32 + 4 + 16));
    }
}
