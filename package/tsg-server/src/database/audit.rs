//! What was ordered, by whom, and which policies there were. Rows are only ever added.

use super::tables::{json, number};
use anyhow::{Context, Result};
use rusqlite::{Connection, params};
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

pub(super) fn append(connection: &Connection, entry: &AuditEntry, now: u64) -> Result<()> {
    connection.execute(
        "INSERT INTO audit (at, who, action, object, outcome) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![number(now)?, entry.who, entry.action, entry.object, entry.outcome],
    )?;
    Ok(())
}

pub(super) fn trail(connection: &Connection, most: u32) -> Result<Vec<AuditRow>> {
    let mut statement = connection.prepare(
        "SELECT id, at, who, action, object, outcome FROM audit ORDER BY id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([most], |row| {
        Ok(AuditRow {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            at: row.get::<_, i64>(1)?.unsigned_abs(),
            who: row.get(2)?,
            action: row.get(3)?,
            object: row.get(4)?,
            outcome: row.get(5)?,
        })
    })?;
    rows.map(|row| row.context("table audit")).collect()
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
