//! A .tar.gz, written as its files come: ustar (POSIX.1-1988) in gzip (RFC 1952).
//!
//! Measured on x86_64 with the router's profile: the compressor of miniz_oxide costs 26 kB of a program, 13 kB of
//! its package. flate2 around it would cost 32 kB more, the crate tar another 15 kB; the two headers that they would
//! write are the hundred lines below. The box's own `gzip` would cost nothing, but it is one more thing that can be
//! missing, hang or fail half-way on the box that is ill.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{MZFlush, MZStatus};
use std::io::{self, Write};

const BLOCK: usize = 512;

/// RFC 1952 section 2.3: deflate, no name, no time, of an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// As good as it gets for texts before it becomes slow.
const LEVEL: i32 = 6;

/// An archive that grows.
pub(crate) struct Archive<W: Write> {
    to: Gzip<W>,
    folder: String,
    time: u64,
}

impl<W: Write> Archive<W> {
    /// All files will be in `folder`, and of this time, in seconds since 1970.
    pub(crate) fn new(to: W, folder: &str, time: u64) -> io::Result<Self> {
        Ok(Self { to: Gzip::new(to)?, folder: folder.to_owned(), time })
    }

    pub(crate) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = format!("{}/{name}", self.folder);
        self.to.write_all(&tar_header(&path, content.len() as u64, self.time)?)?;
        self.to.write_all(content)?;
        let over = content.len() % BLOCK;
        self.to.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    /// Gives back where it was written to: without this it is no archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.finish()
    }
}

/// The head of a plain file in a tar archive, of mode 0600 and root's. `time` is in seconds since 1970.
///
/// # Errors
/// The name or the length does not fit in.
pub fn tar_header(path: &str, length: u64, time: u64) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, most: usize, value: &[u8]| match value.len() <= most {
        true => {
            block[at..at + value.len()].copy_from_slice(value);
            Ok(())
        }
        false => Err(io::Error::other(format!("{path}: too long for ustar"))),
    };
    put(0, 100, path.as_bytes())?;
    put(100, 8, b"0000600\0")?;
    put(108, 8, b"0000000\0")?;
    put(116, 8, b"0000000\0")?;
    put(124, 12, format!("{length:011o}\0").as_bytes())?;
    put(136, 12, format!("{time:011o}\0").as_bytes())?;
    // The sum counts itself as blanks.
    put(148, 8, b"        ")?;
    put(156, 1, b"0")?;
    put(257, 8, b"ustar\x0000")?;
    put(265, 32, b"root")?;
    put(297, 32, b"root")?;
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

struct Gzip<W: Write> {
    to: W,
    state: Box<CompressorOxide>,
    room: Vec<u8>,
    sum: u32,
    length: u32,
}

impl<W: Write> Gzip<W> {
    fn new(mut to: W) -> io::Result<Self> {
        to.write_all(&GZIP_HEADER)?;
        let state = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, 0, 0)));
        Ok(Self { to, state, room: vec![0; 16 * 1024], sum: !0, length: 0 })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.sum = crc32(self.sum, bytes);
        self.length = self.length.wrapping_add(bytes.len() as u32);
        while !bytes.is_empty() {
            let done = deflate(&mut self.state, bytes, &mut self.room, MZFlush::None);
            done.status.map_err(|error| io::Error::other(format!("deflate: {error:?}")))?;
            self.to.write_all(&self.room[..done.bytes_written])?;
            bytes = &bytes[done.bytes_consumed..];
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        loop {
            let done = deflate(&mut self.state, &[], &mut self.room, MZFlush::Finish);
            self.to.write_all(&self.room[..done.bytes_written])?;
            match done.status {
                Ok(MZStatus::StreamEnd) => break,
                Ok(_) => {}
                Err(error) => return Err(io::Error::other(format!("deflate: {error:?}"))),
            }
        }
        self.to.write_all(&(!self.sum).to_le_bytes())?;
        self.to.write_all(&self.length.to_le_bytes())?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// The checksum of RFC 1952 section 8, four bits at a time.
fn crc32(sum: u32, bytes: &[u8]) -> u32 {
    const fn table() -> [u32; 16] {
        let mut table = [0; 16];
        let mut at = 0;
        while at < 16 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 4 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    }
    const TABLE: [u32; 16] = table();
    bytes.iter().fold(sum, |sum, &byte| {
        let sum = sum ^ u32::from(byte);
        let sum = sum >> 4 ^ TABLE[(sum & 15) as usize];
        sum >> 4 ^ TABLE[(sum & 15) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// What another program finds in it.
    fn tar(archive: &[u8], arguments: &[&str]) -> String {
        let mut child = Command::new("tar")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn tar_and_gzip_read_it() {
        let long = "a line of a log\n".repeat(100_000);
        let mut archive = Archive::new(Vec::new(), "box", 1_795_000_000).unwrap();
        for (name, content) in [("empty", ""), ("block", &"x".repeat(BLOCK)), ("long", &long)] {
            archive.add(name, content.as_bytes()).unwrap();
        }
        let archive = archive.finish().unwrap();
        assert!(archive.len() < 20_000, "{} bytes", archive.len());
        assert_eq!(tar(&archive, &["tz"]), "box/empty\nbox/block\nbox/long\n");
        assert_eq!(tar(&archive, &["xzO", "box/long"]), long);
        let listed = tar(&archive, &["tvz", "--utc"]);
        assert!(listed.starts_with("-rw------- root/root"), "{listed}");
        assert!(listed.contains("2026-11-18 11:06 box/empty"), "{listed}");
    }

    #[test]
    fn the_checksum_is_that_of_everybody() {
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_name_that_does_not_fit_is_no_file() {
        let mut archive = Archive::new(Vec::new(), "box", 0).unwrap();
        assert!(archive.add(&"n".repeat(100), b"").is_err());
    }
}
