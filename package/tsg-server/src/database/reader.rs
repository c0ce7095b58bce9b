//! What was long ago: the audit trail, and the policies that there were.

use super::audit::{self, AuditFilter, AuditRow, PolicyRow};
use super::chain::{self, AuditVerdict};
use super::{Database, FILE};
use anyhow::{Context, Result};
use rusqlite::{Connection, InterruptHandle, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The writer may be about to begin its log anew.
const BUSY: Duration = Duration::from_secs(5);

/// A connection of its own, which only reads.
#[derive(Debug)]
pub struct Lookout {
    connection: Connection,
    path: PathBuf,
}

/// Reads over some connection.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    connection: &'a Connection,
    path: &'a Path,
}

impl Lookout {
    /// Beside an open [`Database`] of this folder.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY)?;
            Ok(connection)
        };
        let connection = open().with_context(|| cannot_read(&path))?;
        Ok(Self { connection, path })
    }

    /// Ends whatever is being read, from another thread.
    pub fn interrupt(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Reads.
    pub fn reader(&self) -> Reader<'_> {
        Reader { connection: &self.connection, path: &self.path }
    }
}

impl Database {
    /// Reads over the connection that writes.
    pub fn reader(&self) -> Reader<'_> {
        Reader { connection: &self.connection, path: &self.path }
    }
}

impl Reader<'_> {
    /// The accepted policies of a group, newest first, at most `most`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn policy_history(&self, group: &str, most: u32) -> Result<Vec<PolicyRow>> {
        audit::policies(self.connection, group, most).with_context(|| cannot_read(self.path))
    }

    /// Lines of the audit trail, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audit_trail(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        audit::trail(self.connection, filter).with_context(|| cannot_read(self.path))
    }

    /// Is the audit trail as it was written?
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verify_audit(&self) -> Result<AuditVerdict> {
        chain::verify(self.connection).with_context(|| cannot_read(self.path))
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the database {}", path.display())
}
