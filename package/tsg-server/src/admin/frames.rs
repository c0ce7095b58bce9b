//! Bytes in pieces, so that whoever reads knows the end from a connection that broke: the length of a piece in four bytes,
//! big-endian, then the piece. One of length 0 is the end.

use std::io::{self, Read, Write};

/// What a client sends when it is ready for them.
pub(crate) const READY: &[u8] = b"\n";

/// Longer pieces are none of ours.
const MOST: usize = 1 << 20;

/// Sends pieces. Without [`Self::finish`] there is no end.
pub(crate) struct Frames<W: Write>(pub(crate) W);

impl<W: Write> Frames<W> {
    /// All was sent.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.write_all(&[0; 4])
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MOST)];
        if !piece.is_empty() {
            self.0.write_all(&(piece.len() as u32).to_be_bytes())?;
            self.0.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes what the pieces hold, up to the end, and says how many bytes that were.
pub(crate) fn take(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut all = 0;
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == 0 {
            return Ok(all);
        }
        let copied = io::copy(&mut from.take(length.into()), to)?;
        if copied != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all += copied;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_from_a_break() {
        let mut frames = Frames(Vec::new());
        let bytes = vec![7; 3 * MOST / 2];
        frames.write_all(b"abc").unwrap();
        frames.write_all(&bytes).unwrap();
        frames.write_all(b"").unwrap();
        let open = frames.0.clone();
        frames.0.extend_from_slice(&[0; 4]);
        let mut taken = Vec::new();
        assert_eq!(take(&mut frames.0.as_slice(), &mut taken).unwrap(), 3 + bytes.len() as u64);
        assert_eq!(taken, [&b"abc"[..], &bytes].concat());
        for length in [0, 2, 4, 6, 7, 20, open.len()] {
            assert!(take(&mut &open[..length], &mut Vec::new()).is_err(), "{length}");
        }
    }
}
