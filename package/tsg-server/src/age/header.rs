//! The head of a file: the file's key, wrapped for each recipient, and an authenticator over it.

use super::{Identity, Recipient};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::io::Read;
use tsg_esp::crypto::Cipher as _;
use tsg_sodium::{ChaCha20Poly1305, hkdf_sha256, hmac_sha256, x25519};
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1";
const X25519: &str = "X25519";
const WRAPPING: &[u8] = b"age-encryption.org/v1/X25519";

/// A longer head is of no program that we know.
const MOST_BYTES: usize = 64 * 1024;

/// A wrapped key: the key and its authenticator.
const WRAPPED: usize = 32;

pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// The head of a new file, and the key that it wraps.
pub(super) fn make(recipients: &[Recipient]) -> Result<(String, FileKey)> {
    ensure!(!recipients.is_empty(), "a backup is for somebody: give a recipient, age1…");
    let mut key = FileKey::default();
    tsg_sodium::random(key.as_mut_slice());
    let mut head = format!("{VERSION}\n");
    for recipient in recipients {
        let mut secret = Zeroizing::new([0; 32]);
        tsg_sodium::random(secret.as_mut_slice());
        let share = tsg_sodium::public_key(&secret);
        let shared = x25519(&secret, &recipient.0)
            .map_err(|_| anyhow::anyhow!("{recipient} is no recipient that anybody has"))?;
        let mut wrapped = key.to_vec();
        let icv = wrapping(&shared, &share, recipient).seal(&[0; 12], &[], &mut wrapped);
        wrapped.extend_from_slice(&icv);
        let [share, wrapped] = [&share[..], &wrapped].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        head += &format!("-> {X25519} {share}\n{wrapped}\n");
    }
    head += "---";
    let mac = authenticator(&key, head.as_bytes());
    head += &format!(" {}\n", STANDARD_NO_PAD.encode(mac.as_slice()));
    Ok((head, key))
}

/// Reads the head up to its end, and unwraps the key.
pub(super) fn read(from: &mut impl Read, identities: &[Identity]) -> Result<FileKey> {
    let mut lines = Lines { from, head: Vec::new() };
    let first = lines.next().unwrap_or_default();
    ensure!(first == VERSION, "it is no backup of a key server: it does not begin with {VERSION}");
    let mut wrapped = Vec::new();
    let mut line = lines.next()?;
    while let Some(words) = line.strip_prefix("-> ") {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let body = lines.body()?;
        if words.first().is_some_and(|kind| kind == X25519) {
            wrapped.push(one(&words, &body).context("its head is damaged")?);
        }
        line = lines.next()?;
    }
    let mac = line.strip_prefix("--- ").context("its head is damaged")?.to_owned();
    // The line itself is covered up to its dashes.
    let covered = lines.head.len() - mac.len() - 2;
    for (share, body) in &wrapped {
        let Some(key) = identities.iter().find_map(|identity| unwrap(identity, share, body)) else {
            continue;
        };
        let right = authenticator(&key, &lines.head[..covered]);
        ensure!(
            STANDARD_NO_PAD.decode(mac).is_ok_and(|mac| mac == right.as_slice()),
            "its head is damaged"
        );
        return Ok(key);
    }
    bail!("it was not made out to this identity: give that of one of its recipients")
}

type Wrapped = ([u8; 32], [u8; WRAPPED]);

fn one(words: &[String], body: &[u8]) -> Option<Wrapped> {
    let [_, share] = words else { return None };
    let share = STANDARD_NO_PAD.decode(share).ok()?;
    Some((share.try_into().ok()?, body.try_into().ok()?))
}

fn unwrap(identity: &Identity, share: &[u8; 32], body: &[u8; WRAPPED]) -> Option<FileKey> {
    let shared = x25519(&identity.0, share).ok()?;
    let (wrapped, icv) = body.split_first_chunk::<16>()?;
    let mut key = Zeroizing::new(*wrapped);
    let cipher = wrapping(&shared, share, &identity.recipient());
    cipher.open(&[0; 12], &[], key.as_mut_slice(), icv.try_into().ok()?).ok()?;
    Some(key)
}

fn wrapping(shared: &[u8; 32], share: &[u8; 32], recipient: &Recipient) -> ChaCha20Poly1305 {
    let salt = [&share[..], &recipient.0].concat();
    ChaCha20Poly1305::new(&hkdf_sha256(shared, &salt, WRAPPING))
}

fn authenticator(key: &FileKey, head: &[u8]) -> Zeroizing<[u8; 32]> {
    hmac_sha256(hkdf_sha256(key.as_slice(), &[], b"header").as_slice(), head)
}

/// The lines of the head, byte by byte: what comes behind it is not taken.
struct Lines<'a, R: Read> {
    from: &'a mut R,
    head: Vec<u8>,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> Result<String> {
        let begin = self.head.len();
        loop {
            ensure!(self.head.len() < MOST_BYTES, "its head is damaged: it does not end");
            let mut byte = [0];
            self.from.read_exact(&mut byte).context("it is cut off within its head")?;
            self.head.push(byte[0]);
            if byte == *b"\n" {
                let line = &self.head[begin..self.head.len() - 1];
                let text = str::from_utf8(line).ok().filter(|text| text.is_ascii());
                return text.map(str::to_owned).context("its head is damaged");
            }
        }
    }

    /// The body of one recipient: full lines of 64 signs, and one that is shorter.
    fn body(&mut self) -> Result<Vec<u8>> {
        let mut text = String::new();
        loop {
            let line = self.next()?;
            ensure!(line.len() <= 64, "its head is damaged");
            text += &line;
            if line.len() < 64 {
                return STANDARD_NO_PAD.decode(text).context("its head is damaged");
            }
        }
    }
}
