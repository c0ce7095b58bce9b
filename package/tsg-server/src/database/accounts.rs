//! Users, and tokens of programs, as rows.

use super::tables::{all, counted, number};
use crate::accounts::{Accounts, ApiToken, Change, PasswordHash, Role, TotpSecret, User};
use anyhow::{Context, Result, anyhow};
use rusqlite::{Connection, Row, params};

pub(super) fn load(connection: &Connection) -> Result<Accounts> {
    let users = "SELECT name, role, password, totp, since, version FROM users";
    let tokens = "SELECT id, name, role, hash, made_by, since, expires FROM api_tokens";
    Ok(Accounts::new(
        all(connection, "users", users, user)?,
        all(connection, "api_tokens", tokens, token)?,
    ))
}

pub(super) fn apply(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::User(user) => connection.execute(
            "INSERT INTO users (name, role, password, totp, since, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name) DO UPDATE
             SET role = ?2, password = ?3, totp = ?4, since = ?5, version = ?6",
            params![
                user.name,
                user.role.name(),
                user.password.text(),
                user.totp.as_ref().map(|secret| secret.text().to_string()),
                number(user.since)?,
                number(user.version)?
            ],
        )?,
        Change::UserGone(name) => {
            connection.execute("DELETE FROM users WHERE name = ?1", [name])?
        }
        Change::Token(token) => connection.execute(
            "INSERT INTO api_tokens (id, name, role, hash, made_by, since, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                number(token.id)?,
                token.name,
                token.role.name(),
                token.hash,
                token.made_by,
                number(token.since)?,
                number(token.expires)?
            ],
        )?,
        Change::TokenGone(id) => {
            connection.execute("DELETE FROM api_tokens WHERE id = ?1", [number(*id)?])?
        }
    };
    Ok(())
}

fn role(row: &Row<'_>) -> Result<Role> {
    let name: String = row.get("role")?;
    name.parse().map_err(|error: String| anyhow!(error)).context("column role")
}

fn user(row: &Row<'_>) -> Result<User> {
    let totp: Option<String> = row.get("totp")?;
    let totp = totp.map(|text| TotpSecret::read(&text).context("column totp is no secret"));
    Ok(User {
        totp: totp.transpose()?,
        name: row.get("name")?,
        role: role(row)?,
        password: PasswordHash::read(row.get("password")?).context("column password is no hash")?,
        since: counted(row, "since")?,
        version: counted(row, "version")?,
    })
}

fn token(row: &Row<'_>) -> Result<ApiToken> {
    Ok(ApiToken {
        id: counted(row, "id")?,
        name: row.get("name")?,
        role: role(row)?,
        hash: row.get("hash").context("column hash")?,
        made_by: row.get("made_by")?,
        since: counted(row, "since")?,
        expires: counted(row, "expires")?,
    })
}
