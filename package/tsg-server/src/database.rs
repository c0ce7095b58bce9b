//! What the key server keeps: one SQLite file, `tsg.db` in the data folder.
//!
//! WAL with `synchronous=FULL`: what [`Database::store`] has returned from is on the disk. One
//! thread writes; docs/decisions/0003 says why. `schema.sql` is the truth about the tables.

mod audit;
mod schema;
mod tables;

pub use audit::{AuditEntry, AuditRow, PolicyRow};

use anyhow::{Context, Result};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tsg_control::server::{Record, Stored};

/// Name of the file.
pub const FILE: &str = "tsg.db";

/// The open database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// The newest policy version in the history, by group.
    versions: BTreeMap<String, u64>,
}

/// What is to be durable together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Changes, each with who caused it.
    pub changes: Vec<(Record, String)>,
    /// Lines for the audit trail.
    pub audit: Vec<AuditEntry>,
}

impl Batch {
    /// There is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.audit.is_empty()
    }
}

impl Database {
    /// Opens the file, makes it on the first start, and brings an older one up to date.
    ///
    /// # Errors
    /// Names the file: it cannot be opened, is damaged, or was written by a newer server.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let mut connection = Connection::open(&path)
            .with_context(|| format!("cannot open the database {}", path.display()))?;
        schema::prepare(&mut connection)
            .with_context(|| format!("cannot use the database {}", path.display()))?;
        let versions = audit::newest_versions(&connection)
            .with_context(|| format!("cannot read the database {}", path.display()))?;
        Ok(Self { connection, path, versions })
    }

    /// Everything that the state machine starts from.
    ///
    /// # Errors
    /// Names the file, the table and the row that cannot be understood.
    pub fn load(&self) -> Result<Stored> {
        tables::load(&self.connection)
            .with_context(|| format!("cannot read the database {}", self.path.display()))
    }

    /// Makes a batch durable, all of it or nothing. `now` is the server's time in milliseconds.
    ///
    /// # Errors
    /// The disk is full or broken. What the state machine holds then is ahead of the disk: it
    /// must not be used any more.
    pub fn store(&mut self, batch: &Batch, now: u64) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(batch, now).with_context(|| {
            format!("cannot write the database {}: is its disk full?", self.path.display())
        })
    }

    fn write(&mut self, batch: &Batch, now: u64) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for (record, who) in &batch.changes {
            tables::apply(&transaction, record)?;
            audit::keep_policy(&transaction, &mut self.versions, record, who, now)?;
        }
        for entry in &batch.audit {
            audit::append(&transaction, entry, now)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The accepted policies of a group, newest first, at most `most`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn policy_history(&self, group: &str, most: u32) -> Result<Vec<PolicyRow>> {
        audit::policies(&self.connection, group, most)
            .with_context(|| format!("cannot read the database {}", self.path.display()))
    }

    /// The audit trail, newest first, at most `most` lines.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audit_trail(&self, most: u32) -> Result<Vec<AuditRow>> {
        audit::trail(&self.connection, most)
            .with_context(|| format!("cannot read the database {}", self.path.display()))
    }

    /// Size of the file on disk in bytes, its log included.
    pub fn size(&self) -> u64 {
        let log = self.path.with_extension("db-wal");
        [&self.path, &log].iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
