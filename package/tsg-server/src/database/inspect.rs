//! Looks into a database without changing it, beside a daemon that runs or in place of one that does not start: is it
//! whole, and what is in it. Everything is looked at by itself: one damaged table is one line.

use super::FILE;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// A daemon may be writing.
const BUSY: Duration = Duration::from_secs(2);

/// More rows of a table are not shown.
const MOST_ROWS: usize = 500;

/// Heading and question. No hash of a token, and no key: fingerprints are in what the daemon answers.
const QUESTIONS: [(&str, &str); 15] = [
    ("schema", "PRAGMA user_version"),
    ("application", "PRAGMA application_id"),
    ("journal", "PRAGMA journal_mode"),
    ("pages", "PRAGMA page_count"),
    ("integrity", "PRAGMA integrity_check(50)"),
    ("rows that refer to something that is gone", "PRAGMA foreign_key_check"),
    ("policies in the history", "SELECT count(*) FROM policy_history"),
    ("lines in the audit trail", "SELECT count(*) FROM audit"),
    (
        "groups: name, settings, last epoch, epochs",
        "SELECT name, settings, last_epoch, epochs FROM groups",
    ),
    ("policies: group, newest, the one before", "SELECT name, policy, previous FROM groups"),
    (
        "gateways: name, group, revoked, approved, machines, pinned, tags",
        "SELECT name, group_name, revoked, approved, machines, pinned, tags FROM gateways",
    ),
    (
        "tokens: number, group, expires, used",
        "SELECT id, group_name, expires, used_by IS NOT NULL FROM tokens",
    ),
    ("users: name, role", "SELECT name, role FROM users"),
    (
        "tokens of programs: number, name, role, expires",
        "SELECT id, name, role, expires FROM api_tokens",
    ),
    (
        "audit trail, newest first",
        "SELECT at, who, action, object, outcome FROM audit ORDER BY id DESC LIMIT 200",
    ),
];

/// What there is to say about the database in a data folder.
pub fn inspect(folder: &Path) -> String {
    let path = folder.join(FILE);
    let mut text = String::new();
    let connection = match open(&path) {
        Ok(connection) => connection,
        Err(error) => return format!("{}: {error}\n", path.display()),
    };
    for (heading, question) in QUESTIONS {
        let _ = writeln!(text, "== {heading}");
        match rows(&connection, question) {
            Ok(rows) => rows.iter().for_each(|row| text += &format!("{row}\n")),
            Err(error) => text += &format!("cannot be read: {error}\n"),
        }
        text.push('\n');
    }
    text
}

/// Without a log beside it nobody writes it, and it can be read without making one.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let alone = if path.with_extension("db-wal").exists() { "" } else { "&immutable=1" };
    let escaped =
        path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let connection = Connection::open_with_flags(
        format!("file:{escaped}?mode=ro{alone}"),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn rows(connection: &Connection, question: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(question)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let value = |column| row.get::<_, rusqlite::types::Value>(column).map(shown);
        Ok((0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>()?.join(" | "))
    })?;
    rows.take(MOST_ROWS).collect()
}

fn shown(value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Database;
    use super::*;
    use std::fs;

    #[test]
    fn it_changes_nothing_and_survives_damage() {
        let folder = tempfile::Builder::new().prefix("50% of #1?").tempdir().unwrap();
        assert!(inspect(folder.path()).contains("tsg.db: unable to open"));
        let database = Database::open(folder.path()).unwrap();
        let schema = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let schema = database.connection.pragma_query_value(None, "user_version", schema).unwrap();
        drop(database);
        let path = folder.path().join(FILE);
        let before = fs::read(&path).unwrap();
        let text = inspect(folder.path());
        assert!(text.contains("== integrity\nok\n"), "{text}");
        assert!(text.contains(&format!("== schema\n{schema}\n")), "{text}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left over");
        let mut damaged = before.clone();
        let half = damaged.len() / 2;
        damaged[4_096..half].fill(0x55);
        fs::write(&path, damaged).unwrap();
        let text = inspect(folder.path());
        assert!(text.contains("malformed") || text.contains("cannot be read"), "{text}");
        fs::write(&path, b"no database at all, but long enough to be looked at").unwrap();
        assert!(inspect(folder.path()).contains("not a database"));
    }

    #[test]
    fn it_looks_beside_a_daemon_that_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let transaction = database.connection.transaction().unwrap();
        transaction.execute("DELETE FROM tokens", []).unwrap();
        assert!(inspect(folder.path()).contains("== integrity\nok\n"));
        transaction.commit().unwrap();
    }
}
