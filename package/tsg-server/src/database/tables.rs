//! Records of the state machine as rows: gateways, groups, tokens.

use anyhow::{Context, Result};
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tsg_control::server::{GatewayRecord, GroupRecord, Record, Stored, TokenRecord};

/// Numbers beyond what SQLite holds cannot come up: they count from 1 or are times.
pub(super) fn number(value: u64) -> Result<i64> {
    i64::try_from(value).context("a number is too large for the database")
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).context("a value cannot be written as JSON")
}

pub(super) fn apply(connection: &Connection, record: &Record) -> Result<()> {
    match record {
        Record::Gateway(gateway) => put_gateway(connection, gateway)?,
        Record::GatewayGone(key) => {
            connection.execute("DELETE FROM gateways WHERE key = ?1", [key.to_string()])?;
        }
        Record::Group(group) => put_group(connection, group)?,
        Record::GroupGone(name) => {
            connection.execute("DELETE FROM groups WHERE name = ?1", [name])?;
        }
        Record::Token(token) => put_token(connection, token)?,
        Record::TokenGone(id) => {
            connection.execute("DELETE FROM tokens WHERE id = ?1", [number(*id)?])?;
        }
    }
    Ok(())
}

fn put_gateway(connection: &Connection, gateway: &GatewayRecord) -> Result<()> {
    connection.execute(
        "INSERT INTO gateways (key, name, group_name, revoked, approved, aes, machines, pinned, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (key) DO UPDATE SET name = ?2, group_name = ?3, revoked = ?4, approved = ?5,
             aes = ?6, machines = ?7, pinned = ?8, tags = ?9",
        params![
            gateway.key.to_string(),
            gateway.name,
            gateway.group,
            gateway.revoked,
            number(gateway.approved)?,
            gateway.aes,
            json(&gateway.machines)?,
            json(&gateway.pinned)?,
            json(&gateway.tags)?,
        ],
    )?;
    Ok(())
}

fn put_group(connection: &Connection, group: &GroupRecord) -> Result<()> {
    let previous = group.previous.as_ref().map(json).transpose()?;
    connection.execute(
        "INSERT INTO groups (name, settings, policy, previous, last_epoch, epochs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET settings = ?2, policy = ?3, previous = ?4,
             last_epoch = ?5, epochs = ?6",
        params![
            group.name,
            json(&group.settings)?,
            json(&group.policy)?,
            previous,
            number(group.last_epoch)?,
            json(&group.epochs)?,
        ],
    )?;
    Ok(())
}

fn put_token(connection: &Connection, token: &TokenRecord) -> Result<()> {
    connection.execute(
        "INSERT INTO tokens (id, hash, group_name, expires, used_by) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET hash = ?2, group_name = ?3, expires = ?4, used_by = ?5",
        params![
            number(token.id)?,
            token.hash,
            token.group,
            number(token.expires)?,
            token.used_by.map(|key| key.to_string()),
        ],
    )?;
    Ok(())
}

pub(super) fn load(connection: &Connection) -> Result<Stored> {
    Ok(Stored {
        groups: all(
            connection,
            "groups",
            "SELECT name, settings, policy, previous, last_epoch, epochs FROM groups",
            group,
        )?,
        gateways: all(
            connection,
            "gateways",
            "SELECT key, name, group_name, revoked, approved, aes, machines, pinned, tags FROM gateways",
            gateway,
        )?,
        tokens: all(
            connection,
            "tokens",
            "SELECT id, hash, group_name, expires, used_by FROM tokens",
            token,
        )?,
    })
}

pub(super) fn all<T>(
    connection: &Connection,
    table: &str,
    query: &str,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare(query).with_context(|| format!("table {table}"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().with_context(|| format!("table {table}"))? {
        let name = row.get_ref(0)?;
        let shown = name.as_str().map_or_else(|_| format!("{:?}", name.as_i64()), str::to_owned);
        found.push(read(row).with_context(|| format!("table {table}, row {shown:?}"))?);
    }
    Ok(found)
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column).with_context(|| format!("column {column}"))?;
    serde_json::from_str(&text).with_context(|| format!("column {column}"))
}

pub(super) fn counted(row: &Row<'_>, column: &str) -> Result<u64> {
    let value: i64 = row.get(column).with_context(|| format!("column {column}"))?;
    u64::try_from(value).with_context(|| format!("column {column} is negative"))
}

fn group(row: &Row<'_>) -> Result<GroupRecord> {
    let previous: Option<String> = row.get("previous")?;
    Ok(GroupRecord {
        name: row.get("name")?,
        settings: parsed(row, "settings")?,
        policy: parsed(row, "policy")?,
        previous: previous
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .context("column previous")?,
        last_epoch: counted(row, "last_epoch")?,
        epochs: parsed(row, "epochs")?,
    })
}

fn gateway(row: &Row<'_>) -> Result<GatewayRecord> {
    let key: String = row.get("key")?;
    Ok(GatewayRecord {
        key: key.parse().context("column key")?,
        name: row.get("name")?,
        group: row.get("group_name")?,
        revoked: row.get("revoked")?,
        approved: counted(row, "approved")?,
        aes: row.get("aes")?,
        machines: parsed(row, "machines")?,
        pinned: parsed(row, "pinned")?,
        tags: parsed(row, "tags")?,
    })
}

fn token(row: &Row<'_>) -> Result<TokenRecord> {
    let used_by: Option<String> = row.get("used_by")?;
    Ok(TokenRecord {
        id: counted(row, "id")?,
        hash: row.get("hash").context("column hash")?,
        group: row.get("group_name")?,
        expires: counted(row, "expires")?,
        used_by: used_by.map(|key| key.parse()).transpose().context("column used_by")?,
    })
}
