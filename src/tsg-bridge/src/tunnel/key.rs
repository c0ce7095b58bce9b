//! The key that both ends of a tunnel have, its file, and what is derived from it.
//!
//! It seals nothing but [hellos](super::hello): the keys of packets come out of it together with something fresh of
//! both ends, so that none is ever used twice; or, if they are to be static, with the ends' addresses.

use super::{MOST_WORKERS, Public};
use crate::identity::{Replace, SecretKey, prepare_folder, read_secret_file, write_secret_file};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use core::net::IpAddr;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tsg_esp::crypto::{Spi, Suite, Tek};
use tsg_sodium::{ChaCha20Poly1305, WeakKey, hkdf_sha256, x25519};
use zeroize::Zeroizing;

/// What the line of a key file begins with.
const TITLE: &str = "tsg-tunnel-key";

const LEN: usize = 32;

/// So much of its hash stands behind a key, and tells of a wrong character.
const CHECK: usize = 4;

/// 32 bytes that nobody else knows.
pub struct Key {
    secret: Box<Zeroizing<[u8; LEN]>>,
    hello: Box<Zeroizing<[u8; LEN]>>,
    hello_spi: Spi,
}

impl Key {
    /// A new one, from the system's random source.
    pub fn generate() -> Self {
        let mut secret: Box<Zeroizing<[u8; LEN]>> = Box::default();
        tsg_sodium::random(secret.as_mut_slice());
        Self::from_secret(secret)
    }

    pub(super) fn from_secret(secret: Box<Zeroizing<[u8; LEN]>>) -> Self {
        let mut hello: Box<Zeroizing<[u8; LEN]>> = Box::default();
        hello.copy_from_slice(&*hkdf_sha256(secret.as_slice(), &[], b"tsg tunnel 1 hello"));
        let spi = hkdf_sha256(secret.as_slice(), &[], b"tsg tunnel 1 spi");
        Self { secret, hello, hello_spi: first_spi(&spi) }
    }

    /// The key of transport mode: ends in different modes have nothing in common, though they have one file.
    pub(super) fn for_transport(&self) -> Self {
        let mut secret: Box<Zeroizing<[u8; LEN]>> = Box::default();
        secret.copy_from_slice(&*hkdf_sha256(
            self.secret.as_slice(),
            &[],
            b"tsg tunnel 1 transport",
        ));
        Self::from_secret(secret)
    }

    /// The key of the file, or a new one where there is none.
    pub(super) fn load_or_make(file: &Path) -> Result<Self> {
        if file.exists() {
            return Self::load(file);
        }
        let key = Self::generate();
        key.save(file)?;
        log::warn!("made {}: copy it to the other end, by a way that nobody reads", file.display());
        Ok(key)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Names the file and what to do: it is missing, open to others, or damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_secret_file(path)?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} is no key of a tunnel: copy it from the other end once more",
                path.display()
            )
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let written = text.trim().strip_prefix(TITLE).map(str::trim);
        let written = written.with_context(|| format!("it does not begin with {TITLE}"))?;
        let bytes =
            STANDARD.decode(written).map(Zeroizing::new).context("what follows is not base64")?;
        ensure!(bytes.len() == LEN + CHECK, "what follows is not {LEN} bytes and their check");
        let (secret, check) = bytes.split_at(LEN);
        ensure!(Sha256::digest(secret)[..CHECK] == *check, "a character of it is wrong");
        let mut own: Box<Zeroizing<[u8; LEN]>> = Box::default();
        own.copy_from_slice(secret);
        Ok(Self::from_secret(own))
    }

    /// Writes it where no file is yet, into a folder that is made if it is missing.
    ///
    /// # Errors
    /// There is one, or it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            prepare_folder(folder)?;
        }
        write_secret_file(path, self.text().as_bytes(), Replace::Never)
    }

    pub(super) fn text(&self) -> Zeroizing<String> {
        let check = Sha256::digest(self.secret.as_slice());
        let bytes = Zeroizing::new([self.secret.as_slice(), &check[..CHECK]].concat());
        Zeroizing::new(format!("{TITLE} {}\n", *Zeroizing::new(STANDARD.encode(&*bytes))))
    }

    /// The SPI of hellos: whose they are.
    pub(super) const fn hello_spi(&self) -> Spi {
        self.hello_spi
    }

    pub(super) fn hello_cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.hello)
    }

    /// The secrets of what goes to `peer` and of what comes from it, out of a half of each end.
    pub(super) fn agree(&self, own: &SecretKey, peer: &Public) -> Result<(Tek, Tek), WeakKey> {
        let shared = x25519(own.bytes(), &peer.0)?;
        let own = Public(own.public().0);
        let secret = Zeroizing::new([self.secret.as_slice(), shared.as_slice()].concat());
        let both = match own.0 < peer.0 {
            true => [own.0, peer.0],
            false => [peer.0, own.0],
        };
        let to = |receiver: &Public| {
            let purpose = [b"tsg tunnel 1 to".as_slice(), &receiver.0].concat();
            Tek::new(*hkdf_sha256(&secret, both.as_flattened(), &purpose))
        };
        Ok((to(peer), to(&own)))
    }

    /// SPI and secret of what goes from one address to another, the same for ever (docs/protocol.md section 4.3).
    pub(super) fn standing(&self, suite: Suite, from: IpAddr, to: IpAddr) -> (Spi, Tek) {
        let [from, to] = [from, to].map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        let cipher = match suite {
            Suite::ChaCha20Poly1305 => 1,
            Suite::Aes256Gcm => 2,
        };
        let of = |what: &[u8]| {
            hkdf_sha256(self.secret.as_slice(), &[], &[what, &[cipher], &from, &to].concat())
        };
        (spi_of(&of(b"tsg tunnel 1 static spi")), Tek::new(*of(b"tsg tunnel 1 static")))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The SPI in four random bytes: one that may be on the wire.
fn spi_of(random: &[u8; LEN]) -> Spi {
    const LEAST: u32 = 0x0100_0001;
    spi(number_in(random), LEAST)
}

/// The first of as many SPIs as there are [workers](MOST_WORKERS) at most.
pub(super) fn first_spi(random: &[u8; LEN]) -> Spi {
    const LEAST: u32 = 0x0100_0000 | MOST_WORKERS;
    spi(number_in(random) & !(MOST_WORKERS - 1), LEAST)
}

const fn number_in(random: &[u8; LEN]) -> u32 {
    u32::from_be_bytes([random[0], random[1], random[2], random[3]])
}

fn spi(value: u32, least: u32) -> Spi {
    let spi = Spi::from_wire(value).or_else(|| Spi::from_wire(value | least));
    spi.unwrap_or_else(|| unreachable!("{least:#x} makes every number an SPI"))
}
