//! A copy of the database as it is at one moment, beside a server that writes it; and whether a copy is whole.

use super::schema;
use super::{FILE, inspect};
use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Makes one, in a new file of mode 0600 that has no log. The server goes on meanwhile.
///
/// # Errors
/// There is no room for it, or the database cannot be read.
pub fn copy(folder: &Path, to: &Path) -> Result<()> {
    let path = folder.join(FILE);
    let bytes = path.metadata().map_or(0, |meta| meta.len());
    crate::backup::check_room(folder, bytes)?;
    let make = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    drop(make.with_context(|| format!("cannot make {}", to.display()))?);
    let named = to.to_str().with_context(|| format!("{} is no text", to.display()))?;
    inspect::open(&path)
        .and_then(|connection| connection.execute("VACUUM INTO ?1", [named]))
        .with_context(|| {
            format!("cannot copy the database {}: is the disk full?", path.display())
        })?;
    Ok(())
}

/// Is it whole, to the last page, and has it the tables of today, and nothing else?
pub(super) fn check(connection: &Connection) -> Result<()> {
    let verdict: String =
        connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    ensure!(verdict == "ok", "it is damaged ({verdict})");
    let orphans: i64 =
        connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    ensure!(orphans == 0, "{orphans} of its rows refer to something that is gone");
    let mut fresh = Connection::open_in_memory()?;
    schema::create(&mut fresh)?;
    let (found, expected) = (schema::shape(connection)?, schema::shape(&fresh)?);
    let other = found.symmetric_difference(&expected).next();
    ensure!(
        other.is_none(),
        "its tables are not those of tsg-server: {}",
        other.map_or("", String::as_str)
    );
    Ok(())
}
