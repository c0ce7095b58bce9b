//! What the two ends of a tunnel say to each other: one message, in ESP that carries no packet (next header 59).
//!
//! Whoever does not know it, the kernel for one, takes it for a dummy packet of RFC 4303 and drops it in silence.
//! The layout is in docs/protocol.md.

use super::{Key, MOST_WORKERS, Public};
use tsg_esp::DropReason;
use tsg_esp::crypto::{Spi, Suite};
use tsg_esp::esp::{self, AadBytes, Header};
use tsg_esp::ip::protocol;

/// The only version there is.
const VERSION: u8 = 1;

const LEN: usize = 4 + 4 + 32 + 32;

/// What follows in it: nothing.
const NOTHING: u8 = protocol::NO_NEXT_HEADER;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) able: Able,
    /// The first of the SPIs that this end wants to be sent with.
    pub(super) spi: Spi,
    /// This end's half of the next keys.
    pub(super) own: Public,
    /// The other end's half, as it was heard; `None` if it was not.
    pub(super) heard: Option<Public>,
}

/// What an end is able to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Able {
    /// AES-256-GCM in hardware.
    pub(super) aes: bool,
    /// So many workers seal, each with an SPI of its own: from 1 to [`MOST_WORKERS`].
    pub(super) workers: u8,
}

impl Able {
    /// One worker's.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn alone(aes: bool) -> Self {
        Self { aes, workers: 1 }
    }

    /// The cipher of two ends: AES-256-GCM if both have it.
    pub(super) const fn suite_with(self, other: Self) -> Suite {
        match self.aes && other.aes {
            true => Suite::Aes256Gcm,
            false => Suite::ChaCha20Poly1305,
        }
    }
}

impl Hello {
    /// ESP under the key that both ends have, with 96 random bits for sequence number and IV.
    pub(super) fn seal(&self, key: &Key, random: [u8; 12]) -> Vec<u8> {
        let [a, b, c, d, iv @ ..] = random;
        // Nobody sends 0.
        let sequence = u32::from_be_bytes([a, b, c, d]).max(1);
        let header = Header { spi: key.hello_spi().value(), sequence, iv };
        let mut body = self.emit().to_vec();
        body.resize(esp::sealed_len(LEN), 0);
        let nonce = nonce(&header);
        esp::seal(
            &key.hello_cipher(),
            &nonce,
            &AadBytes::without_addresses(&header),
            &mut body,
            LEN,
            NOTHING,
        );
        [header.emit().as_slice(), &body].concat()
    }

    /// Opens what [`Self::seal`] made. It may be old: that is for the reader to find out.
    pub(super) fn open(esp: &mut [u8], key: &Key) -> Result<Self, DropReason> {
        let header = Header::parse(esp).map_err(|_| DropReason::Malformed)?;
        let body = &mut esp[esp::HEADER_LEN..];
        let inside = esp::open(
            &key.hello_cipher(),
            &nonce(&header),
            &AadBytes::without_addresses(&header),
            body,
        )?;
        let message = body.get(..inside.payload_len).filter(|_| inside.next_header == NOTHING);
        message.and_then(Self::parse).ok_or(DropReason::BadInner)
    }

    fn emit(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.able.aes);
        bytes[2] = self.able.workers;
        bytes[4..8].copy_from_slice(&self.spi.to_be_bytes());
        bytes[8..40].copy_from_slice(&self.own.0);
        bytes[40..].copy_from_slice(&self.heard.unwrap_or(Public::NONE).0);
        bytes
    }

    /// Later versions may have more behind it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let workers = bytes[2];
        if bytes[0] != VERSION || !(1..=MOST_WORKERS).contains(&u32::from(workers)) {
            return None;
        }
        let [own, heard] = [8, 40].map(|at| {
            let mut public = [0; 32];
            public.copy_from_slice(&bytes[at..at + 32]);
            Public(public)
        });
        let spi = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Some(Self {
            able: Able { aes: bytes[1] & 1 == 1, workers },
            spi: Spi::from_wire(spi).filter(|spi| spi.value().is_multiple_of(MOST_WORKERS))?,
            own,
            heard: Some(heard).filter(|heard| *heard != Public::NONE),
        })
    }
}

/// The sequence number takes the place of the salt: all of it is random.
fn nonce(header: &Header) -> [u8; 12] {
    header.nonce(header.sequence.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_through_under_the_same_key_only() {
        tsg_sodium::init().unwrap();
        let (key, other) = (Key::generate(), Key::generate());
        for (aes, heard) in [(true, None), (false, Some(Public([7; 32])))] {
            let (spi, able) = (Spi::new(3, 0x90).unwrap(), Able { aes, workers: 16 });
            let hello = Hello { able, spi, own: Public([5; 32]), heard };
            let esp = hello.seal(&key, [9; 12]);
            assert_eq!(Hello::open(&mut esp.clone(), &key), Ok(hello));
            assert_eq!(Hello::open(&mut esp.clone(), &other), Err(DropReason::Unauthentic));
            for at in 0..esp.len() {
                let mut changed = esp.clone();
                changed[at] ^= 1;
                // The SPI says whose it is, and is authenticated, too.
                assert!(Hello::open(&mut changed, &key).is_err(), "byte {at}");
                assert!(Hello::open(&mut esp[..at].to_vec(), &key).is_err(), "{at} bytes");
            }
        }
    }
}
