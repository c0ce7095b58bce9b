//! The archive within a backup: tar (ustar, POSIX.1-1988), only with names that are known, so that it leads nowhere.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

const BLOCK: usize = 512;

/// What an archive grows to.
pub(super) struct Archive<W: Write> {
    to: W,
    time: u64,
}

impl<W: Write> Archive<W> {
    /// All files will be of this time, in seconds since 1970.
    pub(super) const fn new(to: W, time: u64) -> Self {
        Self { to, time }
    }

    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.to.write_all(&tsg_bundle::tar_header(name, content.len() as u64, self.time)?)?;
        self.to.write_all(content)?;
        self.fill(content.len() as u64)
    }

    pub(super) fn add_file(&mut self, name: &str, file: &mut File) -> io::Result<()> {
        let length = file.metadata()?.len();
        self.to.write_all(&tsg_bundle::tar_header(name, length, self.time)?)?;
        let copied = io::copy(&mut file.take(length), &mut self.to)?;
        if copied != length {
            return Err(io::Error::other(format!("{name} became shorter while it was read")));
        }
        self.fill(length)
    }

    fn fill(&mut self, length: u64) -> io::Result<()> {
        self.to.write_all(&[0; BLOCK][..rest(length)])
    }

    /// Gives back where it was written to: without this it is no archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }
}

/// From the end of a file to the next block.
const fn rest(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

/// An archive that is read, file by file.
pub(super) struct Entries<R: Read>(pub(super) R);

/// The head of a file in it: its name and length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) length: u64,
}

impl<R: Read> Entries<R> {
    /// The next file; `None` at the end, behind which there is nothing.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut head = [0; BLOCK];
        self.0.read_exact(&mut head).context("its archive is cut off")?;
        if head == [0; BLOCK] {
            self.0.read_exact(&mut head).context("its archive is cut off")?;
            ensure!(head == [0; BLOCK], "its archive has no end");
            ensure!(self.0.read(&mut [0])? == 0, "something stands behind its archive");
            return Ok(None);
        }
        entry(&head).map(Some)
    }

    /// The content of a file that may be kept in memory.
    pub(super) fn content(&mut self, entry: &Entry, most: u64) -> Result<Zeroizing<Vec<u8>>> {
        let Entry { name, length } = entry;
        ensure!(*length <= most, "its file {name} has {length} bytes, {most} are the most");
        let mut content = Zeroizing::new(vec![0; *length as usize]);
        self.0.read_exact(&mut content).with_context(|| format!("its file {name} is cut off"))?;
        self.skip(*length)?;
        Ok(content)
    }

    /// The content of a file that is kept on the disk.
    pub(super) fn copy(&mut self, entry: &Entry, to: &mut File) -> Result<()> {
        let copied = io::copy(&mut (&mut self.0).take(entry.length), to)?;
        ensure!(copied == entry.length, "its file {} is cut off", entry.name);
        self.skip(entry.length)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let mut over = [0; BLOCK];
        let over = &mut over[..rest(length)];
        self.0.read_exact(over).context("its archive is cut off")
    }
}

fn entry(head: &[u8; BLOCK]) -> Result<Entry> {
    let sum = head.iter().enumerate().map(|(at, &byte)| match at {
        148..156 => u32::from(b' '),
        _ => u32::from(byte),
    });
    let name = field(&head[..100]).filter(|name| !name.is_empty());
    let (Some(name), Some(length), Some(said)) =
        (name, octal(&head[124..136]), octal(&head[148..156]))
    else {
        bail!("its archive is damaged");
    };
    ensure!(
        &head[257..262] == b"ustar" && said == u64::from(sum.sum::<u32>()),
        "its archive is damaged"
    );
    // No links, no folders, nothing in front of the name.
    ensure!(head[156] == b'0' && head[345] == 0, "its archive has what no backup has: {name:?}");
    Ok(Entry { name: name.to_owned(), length })
}

fn field(bytes: &[u8]) -> Option<&str> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    str::from_utf8(text).ok()
}

fn octal(bytes: &[u8]) -> Option<u64> {
    u64::from_str_radix(field(bytes)?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Archive::new(Vec::new(), 1_795_000_000);
        files.iter().for_each(|(name, content)| archive.add(name, content).unwrap());
        archive.finish().unwrap()
    }

    fn read(archive: &[u8]) -> Result<Vec<(String, usize)>> {
        let mut entries = Entries(archive);
        let mut found = Vec::new();
        while let Some(entry) = entries.next()? {
            let content = entries.content(&entry, 2_000)?;
            found.push((entry.name, content.len()));
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let made = archive(&[("a", b""), ("b", &[1; 512]), ("c", &[2; 513])]);
        let names =
            [("a", 0), ("b", 512), ("c", 513)].map(|(name, length)| (name.to_owned(), length));
        assert_eq!(read(&made).unwrap(), names);
    }

    #[test]
    fn what_is_no_archive_of_ours_is_told() {
        let good = archive(&[("a", b"hello")]);
        let changed = |at: usize, byte: u8| {
            let mut changed = good.clone();
            changed[at] = byte;
            // A sum that fits again: it is no protection.
            changed[148..156].fill(b' ');
            let sum: u32 = changed[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
            changed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            changed
        };
        let mut broken = good.clone();
        broken[0] = b'b';
        for (archive, told) in [
            (changed(156, b'2'), "no backup has"),
            (changed(156, b'5'), "no backup has"),
            (changed(345, b'/'), "no backup has"),
            (changed(124, b'7'), "bytes, 2000 are the most"),
            (changed(124, b'x'), "damaged"),
            (changed(257, b'x'), "damaged"),
            (changed(0, 0), "damaged"),
            (broken, "damaged"),
            (good[..600].to_vec(), "cut off"),
            (good[..1_024].to_vec(), "cut off"),
            ([&good[..], b"x"].concat(), "behind its archive"),
            (Vec::new(), "cut off"),
        ] {
            let error = format!("{:#}", read(&archive).unwrap_err());
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }
}
