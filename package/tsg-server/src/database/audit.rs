//! What was ordered, by whom, and which policies there were. Rows are only ever added.

use super::chain::{Chain, hex, highest};
use super::tables::{json, number};
use anyhow::{Context, Result};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::server::{PolicyRecord, Record};

/// A line to add to the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who: `uid 0 (pid 812)`, `signal from uid 0 (pid 1)`, a gateway that used a token.
    pub who: String,
    /// What: the name of the operation.
    pub action: String,
    /// On what: a gateway, a group, a token; with the values that were set.
    pub object: String,
    /// What came of it: `done`, or why not.
    pub outcome: String,
}

/// A line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number.
    pub id: u64,
    /// When, in milliseconds since 1970 by the server's clock.
    pub at: u64,
    /// Who.
    pub who: String,
    /// What.
    pub action: String,
    /// On what.
    pub object: String,
    /// What came of it.
    pub outcome: String,
    /// The hash over it and all before it, hexadecimal; empty if an older server wrote it.
    #[serde(default)]
    pub chain: String,
}

impl AuditRow {
    /// Its columns, in this order.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            at: row.get::<_, i64>(1)?.unsigned_abs(),
            who: row.get(2)?,
            action: row.get(3)?,
            object: row.get(4)?,
            outcome: row.get(5)?,
            chain: row.get::<_, Option<[u8; 32]>>(6)?.as_ref().map(hex).unwrap_or_default(),
        })
    }
}

/// A policy version that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// When, in milliseconds since 1970 by the server's clock.
    pub at: u64,
    /// By whom.
    pub who: String,
    /// What.
    #[serde(flatten)]
    pub policy: PolicyRecord,
}

/// Which lines of the audit trail an operator wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditFilter {
    /// At most so many, the newest.
    pub most: u32,
    /// Only those before the one of this number.
    pub before: Option<u64>,
    /// Only those with this text in them.
    pub text: String,
    /// Only those from then on, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Only those before then, in milliseconds since 1970.
    pub until: Option<u64>,
}

/// A longer text is in no line.
const LONGEST_SEARCHED: usize = 1_000;

/// Adds a line. Gives the chain with it.
pub(super) fn append(
    connection: &Connection,
    chain: Chain,
    entry: &AuditEntry,
    now: u64,
) -> Result<Chain> {
    let id = highest(connection)? + 1;
    let chain = chain.after(id, now, [&entry.who, &entry.action, &entry.object, &entry.outcome]);
    connection.execute(
        "INSERT INTO audit (id, at, who, action, object, outcome, chain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            number(id)?,
            number(now)?,
            entry.who,
            entry.action,
            entry.object,
            entry.outcome,
            chain.bytes()
        ],
    )?;
    Ok(chain)
}

pub(super) fn trail(connection: &Connection, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
    // Databases do not look for any length of text.
    if filter.text.len() > LONGEST_SEARCHED {
        return Ok(Vec::new());
    }
    // As few as can be are looked at: ids fall.
    let mut statement = connection.prepare(
        "SELECT id, at, who, action, object, outcome, chain FROM audit
          WHERE id < ?1 AND at >= ?2 AND at < ?3
            AND lower(who || ?4 || action || ?4 || object || ?4 || outcome) LIKE ?5 ESCAPE '\\'
          ORDER BY id DESC LIMIT ?6",
    )?;
    let limit = |bound: Option<u64>, otherwise: i64| {
        bound.map_or(otherwise, |bound| i64::try_from(bound).unwrap_or(i64::MAX))
    };
    let asked = params![
        limit(filter.before, i64::MAX),
        limit(filter.since, 0),
        limit(filter.until, i64::MAX),
        "\n",
        containing(&filter.text),
        filter.most
    ];
    let rows = statement.query_map(asked, AuditRow::read)?;
    rows.map(|row| row.context("table audit")).collect()
}

/// What LIKE takes for any text with this one in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_ascii_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

/// Keeps a policy version when it is first seen.
pub(super) fn keep_policy(
    connection: &Connection,
    newest: &mut BTreeMap<String, u64>,
    record: &Record,
    who: &str,
    now: u64,
) -> Result<()> {
    let group = match record {
        Record::Group(group) => group,
        Record::GroupGone(name) => {
            newest.remove(name);
            return Ok(());
        }
        Record::Gateway(_) | Record::GatewayGone(_) | Record::Token(_) | Record::TokenGone(_) => {
            return Ok(());
        }
    };
    let version = group.policy.version;
    if newest.get(&group.name) == Some(&version) {
        return Ok(());
    }
    connection.execute(
        "INSERT INTO policy_history (at, who, group_name, version, policy)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![number(now)?, who, group.name, number(version)?, json(&group.policy)?],
    )?;
    newest.insert(group.name.clone(), version);
    Ok(())
}

/// The newest version of each group that there is.
pub(super) fn newest_versions(connection: &Connection) -> Result<BTreeMap<String, u64>> {
    let mut statement = connection.prepare(
        "SELECT h.group_name, h.version, max(h.id) FROM policy_history h
           JOIN groups g ON g.name = h.group_name GROUP BY h.group_name",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    rows.map(|row| row.context("table policy_history")).collect()
}

pub(super) fn policies(connection: &Connection, group: &str, most: u32) -> Result<Vec<PolicyRow>> {
    let mut statement = connection.prepare(
        "SELECT at, who, policy FROM policy_history WHERE group_name = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![group, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let policy: String = row.get(2)?;
        found.push(PolicyRow {
            at: row.get::<_, i64>(0)?.unsigned_abs(),
            who: row.get(1)?,
            policy: serde_json::from_str(&policy).context("table policy_history")?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn a_text_is_found_as_it_is_written() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let mut chain = Chain::open(&connection).unwrap();
        for object in ["100% of Line_1", "a\\b", "Zürich", "plant"] {
            let [who, action, outcome] = ["ann", "group set", "done"].map(str::to_owned);
            let entry = AuditEntry { who, action, object: object.to_owned(), outcome };
            chain = append(&connection, chain, &entry, 1).unwrap();
        }
        for (text, found) in [
            ("", 4),
            ("GROUP SET", 4),
            ("%", 1),
            ("_", 1),
            ("0% of line_", 1),
            ("0%line", 0),
            ("a\\B", 1),
            ("\\", 1),
            ("Zür", 1),
            ("nt\ndone", 1),
            ("ann\nplant", 0),
            (&"x".repeat(60_000), 0),
        ] {
            let filter = AuditFilter { most: 9, text: text.to_owned(), ..AuditFilter::default() };
            assert_eq!(trail(&connection, &filter).unwrap().len(), found, "{text:?}");
        }
    }
}
