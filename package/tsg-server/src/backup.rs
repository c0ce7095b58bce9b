//! Backups: all that a new machine needs, in one file that only its recipients open ([`crate::age`]).
//!
//! In it is a tar archive: what it is ([`Manifest`]), the server's CURVE pair, its own web certificate if it has made one, and the
//! database as it is at one moment. The secrets are in clear within it, whatever seals them on this machine: the identity of a
//! recipient is all that a restore takes.
//!
//! An order goes the way of all orders ([`crate::operations`]), and is in the audit trail before anything is read. The file is made by
//! the door that it came through, beside the main thread, over a connection of its own to the database.

mod archive;
#[cfg(fuzzing)]
pub mod fuzzing;
mod restore;

pub use restore::{Report, restore};

use crate::age::{Recipient, Writer};
use crate::database;
use crate::identity::{self, Identity};
use crate::operations::{Refusal, RefusalKind};
use crate::seal::Vault;
use crate::{files, web};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tsg_control::keys::PublicKey;
use zeroize::Zeroizing;

/// This form of the archive.
const FORMAT: u32 = 1;

/// Names in the archive; the others are those of the files in the data folder.
const MANIFEST: &str = "manifest.json";

/// The copy of the database has this name until it is open.
const COPY: &str = "tsg.db.copy";

/// A backup is for so many at the most.
const MOST_RECIPIENTS: usize = 20;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Version of the software that made it.
    pub version: String,
    /// When, seconds since 1970.
    pub made: u64,
    /// Fingerprint of the server's key.
    pub server: String,
    /// That key.
    pub public_key: PublicKey,
}

/// A backup that was ordered: the order is in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// For whom it is.
    pub recipients: Vec<String>,
    /// When it was ordered, seconds since 1970.
    pub made: u64,
    /// Fingerprint of the server's key.
    pub server: String,
}

/// The recipients, if all of them are some.
///
/// # Errors
/// Names the one that is none.
pub fn recipients(texts: &[String]) -> Result<Vec<Recipient>, Refusal> {
    let invalid = |text: String| Refusal::new(RefusalKind::Invalid, text);
    if texts.is_empty() {
        let text = "a backup is for somebody: give a recipient, age1…, that `tsg-server backup-key` has made";
        return Err(invalid(text.to_owned()));
    }
    if texts.len() > MOST_RECIPIENTS {
        return Err(invalid(format!("a backup is for {MOST_RECIPIENTS} recipients at the most")));
    }
    let read = |text: &String| {
        text.trim().parse::<Recipient>().map_err(|error| invalid(format!("{error:#}")))
    };
    texts.iter().map(read).collect()
}

/// Makes backups of a server that runs, one at a time.
#[derive(Clone, Debug)]
pub struct Archivist {
    folder: PathBuf,
    vault: Arc<Vault>,
    busy: Arc<AtomicBool>,
}

/// Only one at a time: each takes as much room on the disk as the database.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin(busy: &Arc<AtomicBool>) -> Option<Self> {
        let free = busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Self(Arc::clone(busy)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Archivist {
    /// For a data folder.
    ///
    /// # Errors
    /// What a backup that was broken off has left cannot be taken away.
    pub fn new(folder: PathBuf, vault: Arc<Vault>) -> Result<Self> {
        let copy = folder.join(COPY);
        match fs::remove_file(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", copy.display()));
            }
            Ok(()) | Err(_) => {}
        }
        Ok(Self { folder, vault, busy: Arc::default() })
    }

    /// Everything as it is at this moment.
    ///
    /// # Errors
    /// Another backup is being made, there is no room on the disk, or something cannot be read.
    pub fn look(&self, ordered: &Ordered) -> Result<Snapshot, Refusal> {
        let unavailable = |text| Refusal::new(RefusalKind::Unavailable, text);
        let busy = Busy::begin(&self.busy);
        let busy = busy.ok_or_else(|| {
            unavailable("another backup is being made: try again when it is done".to_owned())
        })?;
        let recipients = recipients(&ordered.recipients)?;
        self.take(ordered, recipients, busy).map_err(|error| unavailable(format!("{error:#}")))
    }

    fn take(&self, ordered: &Ordered, recipients: Vec<Recipient>, busy: Busy) -> Result<Snapshot> {
        let key = self.vault.read(identity::FILE)?;
        let key =
            key.with_context(|| format!("{} is gone", self.vault.path(identity::FILE).display()))?;
        let public_key = Identity::parse(&key)?.public();
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made: ordered.made,
            server: public_key.fingerprint().to_string(),
            public_key,
        };
        let certificate = self.vault.read(web::CERTIFICATE)?;
        let copy = self.folder.join(COPY);
        let database = database::copy(&self.folder, &copy).and_then(|()| {
            File::open(&copy).with_context(|| format!("cannot read {}", copy.display()))
        });
        // It lives as long as it is open.
        let _ = fs::remove_file(&copy);
        Ok(Snapshot { recipients, manifest, key, certificate, database: database?, _busy: busy })
    }
}

/// Everything as it was at one moment, in memory and in a file without a name.
pub struct Snapshot {
    recipients: Vec<Recipient>,
    manifest: Manifest,
    key: Zeroizing<String>,
    certificate: Option<Zeroizing<String>>,
    database: File,
    _busy: Busy,
}

impl Snapshot {
    /// Encrypts and writes it.
    ///
    /// # Errors
    /// It cannot be read or written: what was written is no backup then.
    pub fn write<W: Write>(mut self, to: W) -> Result<W> {
        let to = Writer::begin(to, &self.recipients)?;
        let mut archive = archive::Archive::new(to, self.manifest.made);
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        archive.add(MANIFEST, &manifest)?;
        archive.add(identity::FILE, self.key.as_bytes())?;
        if let Some(certificate) = &self.certificate {
            archive.add(web::CERTIFICATE, certificate.as_bytes())?;
        }
        archive.add_file(database::FILE, &mut self.database)?;
        Ok(archive.finish()?.finish()?)
    }
}

/// Room on the disk for a copy, beyond what the server keeps free for itself.
pub(crate) fn check_room(folder: &std::path::Path, bytes: u64) -> Result<()> {
    let (free, reserve) = (files::free(folder), crate::daemon::RESERVE);
    anyhow::ensure!(
        free >= bytes.saturating_add(reserve),
        "the disk of {} has {} KiB left, a copy of the database takes {} KiB, and {} MiB stay free: make room there",
        folder.display(),
        free >> 10,
        bytes >> 10,
        reserve >> 20
    );
    Ok(())
}
