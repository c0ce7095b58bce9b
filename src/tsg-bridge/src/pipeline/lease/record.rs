//! The file of ceilings, in RAM or on a disk.
//!
//! In RAM it counts only in the boot that it was written in: a file system that outlives a power cut
//! may bring back an old one. On a disk it is there for good before [`Record::write`] returns.

use crate::identity::{Replace, write_secret_file};
use crate::pipeline::EpochTag;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where the kernel names the boot.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

const FILE: &str = "sequences";

/// Ceilings by epoch and sender number.
pub(super) type Ceilings = BTreeMap<(EpochTag, u32), u64>;

/// The file, and the boot that it is for.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// `None` if it is for every boot.
    boot: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    boot: Option<String>,
    ceilings: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    epoch: EpochTag,
    sender: u32,
    ceiling: u64,
}

impl Record {
    /// In this folder, for this boot.
    ///
    /// # Errors
    /// The kernel does not say which boot it is.
    pub(super) fn new(run: &Path) -> Result<Self> {
        let boot = fs::read_to_string(BOOT)
            .with_context(|| format!("{BOOT}: cannot be read; is /proc mounted?"))?;
        Ok(Self { path: run.join(FILE), boot: Some(boot.trim_end().to_owned()) })
    }

    /// In this folder, for good.
    pub(super) fn lasting(folder: &Path) -> Self {
        Self { path: folder.join(FILE), boot: None }
    }

    /// What an earlier process wrote. `None` if it wrote nothing that counts: then nothing of it may
    /// be used, and the gateway registers anew.
    ///
    /// # Errors
    /// What counts for every boot cannot be read.
    pub(super) fn read(&self) -> Result<Option<Ceilings>> {
        match self.read_written() {
            Ok(Some(written)) if written.boot == self.boot => {
                let line = |line: Line| ((line.epoch, line.sender), line.ceiling);
                Ok(Some(written.ceilings.into_iter().map(line).collect()))
            }
            Ok(Some(_)) => {
                log::info!("{}: of an earlier boot; starting without it", self.path.display());
                Ok(None)
            }
            Ok(None) => Ok(None),
            Err(error) if self.boot.is_some() => {
                log::warn!("{}: {error:#}; starting without it", self.path.display());
                Ok(None)
            }
            Err(error) => Err(error.context(format!(
                "{}: cannot be read, so no sequence number is surely a new one; make a new key",
                self.path.display()
            ))),
        }
    }

    fn read_written(&self) -> Result<Option<Written>> {
        match fs::read(&self.path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts these in place of what is there, as a whole.
    pub(super) fn write(&self, ceilings: &Ceilings) -> Result<()> {
        let line = |(&(epoch, sender), &ceiling): (&(EpochTag, u32), &u64)| Line {
            epoch,
            sender,
            ceiling,
        };
        let written =
            Written { boot: self.boot.clone(), ceilings: ceilings.iter().map(line).collect() };
        let text = serde_json::to_vec(&written)?;
        if self.boot.is_none() {
            return write_secret_file(&self.path, &text, Replace::Allow);
        }
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("{}: cannot be written", new.display()))?;
        file.write_all(&text).with_context(|| format!("{}: cannot be written", new.display()))?;
        fs::rename(&new, &self.path)
            .with_context(|| format!("{}: cannot be replaced", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_boot_or_a_torn_file_is_nothing_to_go_on_from() {
        let run = tempfile::tempdir().unwrap();
        let record = Record::new(run.path()).unwrap();
        assert_eq!(record.read().unwrap(), None);
        let ceilings = Ceilings::from([((EpochTag { id: 7, check: [1; 8] }, 4), 1 << 20)]);
        record.write(&ceilings).unwrap();
        assert_eq!(record.read().unwrap(), Some(ceilings));
        let later = Record { boot: Some("another".to_owned()), path: record.path.clone() };
        assert_eq!(later.read().unwrap(), None);
        let whole = fs::read(&record.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&record.path, &whole[..length]).unwrap();
            assert_eq!(record.read().unwrap(), None, "{length} bytes");
        }
    }

    #[test]
    fn what_lasts_is_of_any_boot_and_nothing_is_made_of_a_torn_file() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::lasting(folder.path());
        assert_eq!(record.read().unwrap(), None);
        let ceilings = Ceilings::from([((EpochTag { id: 7, check: [1; 8] }, 4), 1 << 20)]);
        record.write(&ceilings).unwrap();
        assert_eq!(record.read().unwrap(), Some(ceilings));
        let whole = fs::read(&record.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&record.path, &whole[..length]).unwrap();
            let error = format!("{:#}", record.read().unwrap_err());
            assert!(error.contains("sequences"), "{length} bytes: {error}");
        }
    }
}
