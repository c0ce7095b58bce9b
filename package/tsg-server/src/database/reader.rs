//! The audit trail for another thread than the one that writes: it reads beside it and keeps nobody waiting.

use super::FILE;
use super::audit::AuditRow;
use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// While the writer does what nobody can read beside, as at its start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the audit trail.
#[derive(Debug)]
pub struct AuditReader {
    connection: Connection,
    path: PathBuf,
}

impl AuditReader {
    /// Opens the file, which must be there and up to date.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection))
            .with_context(|| format!("cannot read the database {}", path.display()))?;
        Ok(Self { connection, path })
    }

    /// The lines behind this number, the oldest first, at most so many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(&self, number: u64, most: usize) -> Result<Vec<AuditRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, at, who, action, object, outcome FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
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
        read(&self.connection)
            .with_context(|| format!("cannot read the audit trail of {}", self.path.display()))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
