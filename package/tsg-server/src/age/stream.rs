//! What is in a file: chunks of 64 KiB, sealed one by one. The last one says that it is the last.

use super::header::{self, FileKey};
use super::{Identity, Recipient};
use anyhow::{Context as _, Result};
use std::io::{self, Read, Write};
use tsg_esp::crypto::Cipher as _;
use tsg_sodium::{ChaCha20Poly1305, hkdf_sha256};
use zeroize::Zeroizing;

const CHUNK: usize = 64 * 1024;
const ICV: usize = 16;
const NONCE: usize = 16;

/// Seals chunk by chunk; their number is their nonce.
struct Chunks {
    cipher: ChaCha20Poly1305,
    number: u64,
}

impl Chunks {
    fn new(key: &FileKey, nonce: &[u8; NONCE]) -> Self {
        let key = hkdf_sha256(key.as_slice(), nonce, b"payload");
        Self { cipher: ChaCha20Poly1305::new(&key), number: 0 }
    }

    fn nonce(&mut self, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(last);
        self.number += 1;
        nonce
    }
}

/// Encrypts what is written. Without [`Self::finish`] it is no file.
pub struct Writer<W: Write> {
    to: W,
    chunks: Chunks,
    waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// There is no recipient, or it cannot be written.
    pub fn begin(mut to: W, recipients: &[Recipient]) -> Result<Self> {
        let (head, key) = header::make(recipients)?;
        let mut nonce = [0; NONCE];
        tsg_sodium::random(&mut nonce);
        to.write_all(&[head.as_bytes(), &nonce].concat())?;
        let waiting = Zeroizing::new(Vec::with_capacity(CHUNK + ICV));
        Ok(Self { to, chunks: Chunks::new(&key, &nonce), waiting })
    }

    /// Writes the last chunk, and gives back where to.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.chunk(true)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn chunk(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.chunks.nonce(last);
        let icv = self.chunks.cipher.seal(&nonce, &[], &mut self.waiting);
        self.waiting.extend_from_slice(&icv);
        self.to.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full one goes when there is more: it may be the last.
        if self.waiting.len() == CHUNK && !bytes.is_empty() {
            self.chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what is read. What comes from it is authentic; that nothing is missing is known at its end.
pub struct Reader<R: Read> {
    from: R,
    chunks: Chunks,
    /// A chunk as it was read, before anybody knows whether it is the last.
    ahead: Vec<u8>,
    open: Zeroizing<Vec<u8>>,
    given: usize,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// It is no such file, damaged, or for somebody else.
    pub fn open(mut from: R, identities: &[Identity]) -> Result<Self> {
        let key = header::read(&mut from, identities)?;
        let mut nonce = [0; NONCE];
        from.read_exact(&mut nonce).context("it is cut off behind its head")?;
        let mut reader = Self {
            from,
            chunks: Chunks::new(&key, &nonce),
            ahead: Vec::new(),
            open: Zeroizing::default(),
            given: 0,
        };
        reader.ahead = reader.read_chunk()?;
        Ok(reader)
    }

    fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(CHUNK + ICV);
        (&mut self.from).take((CHUNK + ICV) as u64).read_to_end(&mut chunk)?;
        Ok(chunk)
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.ahead);
        if chunk.len() == CHUNK + ICV {
            self.ahead = self.read_chunk()?;
        }
        let last = self.ahead.is_empty();
        let first = self.chunks.number == 0;
        let (length, nonce) = (chunk.len().saturating_sub(ICV), self.chunks.nonce(last));
        let (data, icv) = chunk.split_at_mut(length);
        let opened = <&[u8; ICV]>::try_from(&*icv)
            .is_ok_and(|icv| self.chunks.cipher.open(&nonce, &[], data, icv).is_ok());
        // Only a file of nothing has a chunk of nothing.
        if !opened || (length == 0 && !first) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "it is damaged or cut off: its part {} is not authentic",
                    self.chunks.number
                ),
            ));
        }
        chunk.truncate(length);
        (self.open, self.given) = (Zeroizing::new(chunk), 0);
        Ok(())
    }

    /// Everything was given.
    fn is_over(&self) -> bool {
        self.chunks.number > 0 && self.ahead.is_empty() && self.given == self.open.len()
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.open.len() && !self.is_over() {
            self.next_chunk()?;
        }
        let left = &self.open[self.given..];
        let taken = left.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&left[..taken]);
        self.given += taken;
        Ok(taken)
    }
}
