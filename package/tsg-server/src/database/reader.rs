//! What was long ago: the audit trail, and the policies that there were.

use super::audit::{self, AuditFilter, AuditRow, PolicyRow};
use super::chain::{self, AuditVerdict};
use super::{Database, FILE};
use anyhow::{Context, Result};
use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension as _, Row};
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

    /// The lines of the audit trail behind this number, the oldest first, at most so many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(&self, number: u64, most: usize) -> Result<Vec<AuditRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, at, who, action, object, outcome, chain FROM audit
                  WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let rows = statement.query_map((signed(number), most as i64), AuditRow::read)?;
            rows.collect()
        })
    }

    /// The number of the newest line, 0 for none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest(&self) -> Result<u64> {
        let newest = "SELECT coalesce(max(id), 0) FROM audit";
        self.read(|connection| connection.query_row(newest, [], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
    }

    /// The hash of a line, hexadecimal; empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn chain(&self, number: u64) -> Result<String> {
        let hash = "SELECT lower(hex(chain)) FROM audit WHERE id = ?1";
        let of = |row: &Row<'_>| row.get::<_, Option<String>>(0);
        let found =
            self.read(|connection| connection.query_row(hash, [signed(number)], of).optional())?;
        Ok(found.flatten().unwrap_or_default())
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        read(&self.connection).with_context(|| cannot_read(&self.path))
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

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
