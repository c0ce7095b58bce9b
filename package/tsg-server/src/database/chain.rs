//! The audit trail is a chain: each row has a hash over itself and the row before. Who changes or takes out a row has to
//! write all later ones anew, and cannot without the newest hash being another one than was written down elsewhere
//! (`tsg-server audit --verify` prints it, and the page Audit when it is asked to check).
//!
//! SHA-256 over the hash of the row before, then id, at, who, action, object and outcome, each as text behind its length
//! in eight bytes. Rows of servers that made no chain yet are counted in, but nothing says what they were.

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hash of the newest row; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

/// What a look at the whole trail finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// Lines.
    pub lines: u64,
    /// Of these, the first so many have no hash: an older server wrote them.
    pub unchained: u64,
    /// The newest hash, hexadecimal.
    pub head: String,
    /// What is wrong; empty if nothing is.
    pub broken: String,
}

/// The texts of a row, in their order.
pub(super) type Texts<'a> = [&'a str; 4];

impl Chain {
    /// As the newest row has it.
    pub(super) fn open(connection: &Connection) -> Result<Self> {
        let newest = connection
            .query_row("SELECT chain FROM audit ORDER BY id DESC LIMIT 1", [], |row| {
                row.get::<_, Option<[u8; 32]>>(0)
            })
            .optional()
            .context("table audit")?;
        match newest {
            None => Ok(Self::default()),
            Some(Some(hash)) => Ok(Self(hash)),
            Some(None) => {
                let mut chain = Self::default();
                walk(connection, |row| {
                    chain = row.after(chain);
                    Ok(())
                })?;
                Ok(chain)
            }
        }
    }

    /// As it is after another row.
    pub(super) fn after(self, id: u64, at: u64, texts: Texts<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        let numbers = [id, at].map(|number| number.to_string());
        for text in numbers.iter().map(String::as_str).chain(texts) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }
}

pub(super) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Line {
    id: u64,
    at: u64,
    texts: [String; 4],
    chain: Option<[u8; 32]>,
}

impl Line {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            at: row.get::<_, i64>(1)?.unsigned_abs(),
            texts: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
            chain: row.get(6)?,
        })
    }

    fn after(&self, chain: Chain) -> Chain {
        chain.after(self.id, self.at, self.texts.each_ref().map(String::as_str))
    }
}

fn walk(connection: &Connection, mut see: impl FnMut(&Line) -> Result<()>) -> Result<()> {
    let mut statement = connection
        .prepare("SELECT id, at, who, action, object, outcome, chain FROM audit ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next().context("table audit")? {
        see(&Line::read(row).context("table audit")?)?;
    }
    Ok(())
}

/// The highest number that a row was ever given, whether or not that is still there. Every kind of database has its own way to
/// say that: this is SQLite's.
pub(super) fn highest(connection: &Connection) -> Result<u64> {
    let asked = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit'";
    let highest = connection.query_row(asked, [], |row| row.get::<_, i64>(0))?;
    Ok(highest.unsigned_abs())
}

/// Looks at the whole trail.
pub(super) fn verify(connection: &Connection) -> Result<AuditVerdict> {
    let (mut chain, mut last) = (Chain::default(), 0);
    let (mut lines, mut unchained) = (0, 0);
    let checked = walk(connection, |line| {
        ensure!(line.id == last + 1, "between lines {last} and {} some are missing", line.id);
        chain = line.after(chain);
        (last, lines) = (line.id, lines + 1);
        match line.chain {
            None if unchained + 1 == lines => unchained += 1,
            None => anyhow::bail!("line {} has no hash", line.id),
            Some(hash) => {
                ensure!(hash == chain.0, "line {} was changed, or one before it", line.id)
            }
        }
        Ok(())
    });
    let counted = highest(connection)?;
    let cut = checked.and_then(|()| {
        ensure!(counted == last, "lines after {last} are missing");
        Ok(())
    });
    let broken = cut.err().map(|error| format!("{error:#}")).unwrap_or_default();
    Ok(AuditVerdict { lines, unchained, head: chain.hex(), broken })
}

#[cfg(test)]
mod tests {
    use super::super::audit::{self, AuditEntry};
    use super::super::schema;
    use super::*;

    fn trail(lines: u64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let mut chain = Chain::open(&connection).unwrap();
        for line in 1..=lines {
            let entry = AuditEntry {
                who: "ann".to_owned(),
                action: "rekey".to_owned(),
                object: format!("group {line}"),
                outcome: "done".to_owned(),
            };
            chain = audit::append(&connection, chain, &entry, line).unwrap();
        }
        connection
    }

    fn broken(change: &str) -> String {
        let connection = trail(5);
        connection
            .execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted")
            .unwrap();
        connection.execute_batch(change).unwrap();
        verify(&connection).unwrap().broken
    }

    #[test]
    fn every_change_of_a_row_is_seen() {
        let verdict = verify(&trail(5)).unwrap();
        assert_eq!((verdict.lines, verdict.unchained, verdict.broken.as_str()), (5, 0, ""));
        let changes = [
            ("UPDATE audit SET who = 'ben' WHERE id = 3", "line 3"),
            ("UPDATE audit SET action = 'rek', object = 'eygroup 3' WHERE id = 3", "line 3"),
            ("UPDATE audit SET at = 9 WHERE id = 5", "line 5"),
            ("UPDATE audit SET chain = NULL WHERE id = 2", "line 2 has no hash"),
            ("DELETE FROM audit WHERE id = 2", "between lines 1 and 3"),
            ("DELETE FROM audit WHERE id = 1", "between lines 0 and 2"),
            ("DELETE FROM audit WHERE id > 3", "lines after 3"),
        ];
        for (change, told) in changes {
            let broken = broken(change);
            assert!(broken.contains(told), "{change}: {broken:?}");
        }
    }

    #[test]
    fn rows_without_a_hash_are_counted_in() {
        let connection = trail(0);
        for at in 1..=3 {
            let unchained = "INSERT INTO audit (at, who, action, object, outcome) VALUES (?1, 'w', 'a', 'o', 'done')";
            connection.execute(unchained, [at]).unwrap();
        }
        let chain = Chain::open(&connection).unwrap();
        assert_ne!(chain, Chain::default());
        let entry = AuditEntry {
            who: "ann".to_owned(),
            action: "rekey".to_owned(),
            object: "plant".to_owned(),
            outcome: "done".to_owned(),
        };
        let after = audit::append(&connection, chain, &entry, 4).unwrap();
        assert_eq!(Chain::open(&connection).unwrap(), after);
        let verdict = verify(&connection).unwrap();
        assert_eq!((verdict.lines, verdict.unchained, verdict.broken.as_str()), (4, 3, ""));
        assert_eq!(verdict.head, after.hex());
    }
}
