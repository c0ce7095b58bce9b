//! From whatever file is there to the schema of today.

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// The tables as they are now.
const SCHEMA: &str = include_str!("../../schema.sql");

/// From an empty file to now, one step each; entry 0 makes schema 1. Only ever added to.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../migrations/0001_first.sql"),
    include_str!("../../migrations/0002_accounts.sql"),
    include_str!("../../migrations/0003_totp.sql"),
    include_str!("../../migrations/0004_tags.sql"),
];

/// `TSGk`: marks the file as a key server's.
const APPLICATION: i32 = 0x5453_476b;

pub(super) fn prepare(connection: &mut Connection) -> Result<()> {
    // Before anything that a restored file might bring along is run.
    connection.pragma_update(None, "trusted_schema", false)?;
    let version: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .context("it is damaged, or no SQLite database: restore it from a backup")?
        .try_into()
        .context("its schema number is negative: it is no database of tsg-server")?;
    ensure!(
        version <= MIGRATIONS.len(),
        "it was written by a newer tsg-server (schema {version}, this one knows {}): install that \
         version again, or restore a backup from before the upgrade",
        MIGRATIONS.len()
    );
    check(connection, version)?;
    configure(connection)?;
    match version {
        0 => create(connection),
        _ => migrate(connection, version),
    }
}

/// A damaged file is noticed at the start, not in the middle of a night.
fn check(connection: &Connection, version: usize) -> Result<()> {
    let verdict: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .context("it is damaged: restore it from a backup")?;
    ensure!(verdict == "ok", "it is damaged ({verdict}): restore it from a backup");
    if version > 0 {
        let application: i32 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        ensure!(application == APPLICATION, "it is no database of tsg-server: move it away");
        check_tables(connection)?;
    } else {
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        ensure!(tables == 0, "it is no database of tsg-server: move it away");
    }
    Ok(())
}

/// What was there in every schema is there.
fn check_tables(connection: &Connection) -> Result<()> {
    for table in ["groups", "gateways", "tokens", "policy_history", "audit"] {
        let found: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1",
            [table],
            |row| row.get(0),
        )?;
        ensure!(found == 1, "its table {table} is missing: restore it from a backup");
    }
    Ok(())
}

fn configure(connection: &Connection) -> Result<()> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    ensure!(mode == "wal", "its file system cannot do WAL: put it on a local disk");
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A container has no folder for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

pub(super) fn create(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA).context("cannot make its tables: is the disk full?")?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit().context("cannot make its tables: is the disk full?")
}

fn migrate(connection: &mut Connection, from: usize) -> Result<()> {
    for (at, step) in MIGRATIONS.iter().enumerate().skip(from) {
        let number = at + 1;
        let transaction = connection.transaction()?;
        transaction
            .execute_batch(step)
            .with_context(|| format!("the migration to schema {number} failed"))?;
        transaction.pragma_update(None, "user_version", number as i64)?;
        transaction.commit()?;
    }
    let orphans =
        connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get::<_, i64>(0)
        })?;
    if orphans > 0 {
        bail!("{orphans} of its rows refer to something that is gone: restore it from a backup");
    }
    Ok(())
}

/// Tables, columns, keys, indexes, triggers and views, without the blanks between the words.
pub(super) fn shape(connection: &Connection) -> Result<BTreeSet<String>> {
    let mut statement = connection.prepare(
        "SELECT m.type || ' ' || m.name || ' ' || c.name || ' ' || c.type || ' ' ||
                c.\"notnull\" || ' ' || c.pk || ' ' || coalesce(c.dflt_value, '')
           FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
          WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'
         UNION ALL
         SELECT 'reference ' || m.name || ' ' || f.\"from\" || ' ' || f.\"table\"
           FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
         UNION ALL
         SELECT type || ' ' || name || ' ' || coalesce(sql, '')
           FROM sqlite_master WHERE type IN ('index', 'trigger', 'view')",
    )?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let squeezed = |row: String| row.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(rows.map(|row| row.map(squeezed)).collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::AuditFilter;
    use super::*;
    use crate::accounts::Role;
    use tsg_control::group::{Fail, Mode, NonIp, Settings};
    use tsg_control::keys::PublicKey;
    use tsg_control::policy::Policy;
    use tsg_control::server::{EpochRecord, PolicyRecord, Stored};

    #[test]
    fn migrations_lead_to_the_schema() {
        let mut fresh = Connection::open_in_memory().unwrap();
        create(&mut fresh).unwrap();
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated, 0).unwrap();
        assert!(shape(&fresh).unwrap().len() > 30);
        assert_eq!(shape(&fresh).unwrap(), shape(&migrated).unwrap());
    }

    #[test]
    fn every_old_dump_leads_to_the_schema() {
        let mut fresh = Connection::open_in_memory().unwrap();
        create(&mut fresh).unwrap();
        let dumps = [
            include_str!("../../tests/dumps/schema-1.sql"),
            include_str!("../../tests/dumps/schema-2.sql"),
            include_str!("../../tests/dumps/schema-3.sql"),
            include_str!("../../tests/dumps/schema-4.sql"),
        ];
        assert_eq!(dumps.len(), MIGRATIONS.len(), "commit a dump of every schema");
        for (at, dump) in dumps.iter().enumerate() {
            let mut old = Connection::open_in_memory().unwrap();
            old.execute_batch(dump).unwrap();
            migrate(&mut old, at + 1).unwrap();
            assert_eq!(shape(&fresh).unwrap(), shape(&old).unwrap(), "from schema {}", at + 1);
            let stored = super::super::tables::load(&old).unwrap();
            assert!(!stored.gateways.is_empty() && !stored.tokens.is_empty());
        }
        println!("{} dumps", dumps.len());
    }

    /// To the right values, not only to some.
    #[test]
    fn the_dump_of_schema_1_is_read_to_its_values() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(include_str!("../../tests/dumps/schema-1.sql")).unwrap();
        migrate(&mut old, 1).unwrap();
        let Stored { gateways, groups, tokens } = super::super::tables::load(&old).unwrap();
        let ([gateway], [group], [token]) = (&gateways[..], &groups[..], &tokens[..]) else {
            panic!("{gateways:?} {groups:?} {tokens:?}")
        };
        assert_eq!(gateway.key, PublicKey([0; 32]));
        assert_eq!((gateway.name.as_str(), gateway.group.as_str()), ("gateway-6668", "plant"));
        assert_eq!((gateway.revoked.as_deref(), gateway.approved), (Some("lost"), 1_795_189_585));
        assert_eq!((gateway.aes, &gateway.machines[..]), (false, &[][..]));
        assert_eq!(gateway.pinned, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
        let settings = Settings { mode: Mode::Migrate, ..Settings::default() };
        assert_eq!((group.name.as_str(), &group.settings), ("plant", &settings));
        let policy = |version, rules: &[&str]| PolicyRecord {
            version,
            policy: Policy::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()),
            mode: Mode::Migrate,
            non_ip: NonIp::Pass,
            fail: Fail::Closed,
            retiring: false,
        };
        assert_eq!(group.policy, policy(3, &["encrypt name=modbus proto=tcp dest_port=502"]));
        assert_eq!(group.previous, Some(policy(2, &[])));
        let epoch = EpochRecord { id: 1, ends: 1_795_275_985_846, closing: false };
        assert_eq!((group.last_epoch, &group.epochs[..]), (1, &[epoch][..]));
        assert_eq!(
            (token.id, token.hash[..2].to_vec(), token.expires),
            (1, vec![0xd9, 0x1d], 1_795_275_985)
        );
        assert_eq!((token.group.as_str(), token.used_by), ("plant", None));
        let trail =
            super::super::audit::trail(&old, &AuditFilter { most: 100, ..AuditFilter::default() })
                .unwrap();
        assert_eq!((trail.len(), trail[0].action.as_str()), (7, "gateway revoke"));
        let history = super::super::audit::policies(&old, "plant", 100).unwrap();
        assert_eq!(history.len(), 3);
    }

    #[test]
    fn the_dump_of_schema_4_has_tags_and_those_before_have_none() {
        let tags = |dump: &str, from| {
            let mut old = Connection::open_in_memory().unwrap();
            old.execute_batch(dump).unwrap();
            migrate(&mut old, from).unwrap();
            super::super::tables::load(&old).unwrap().gateways[0].tags.clone()
        };
        assert_eq!(
            tags(include_str!("../../tests/dumps/schema-4.sql"), 4),
            ["hall-3", "line.b"].map(str::to_owned)
        );
        assert!(tags(include_str!("../../tests/dumps/schema-2.sql"), 2).is_empty());
    }

    #[test]
    fn the_dump_of_schema_2_is_read_to_its_values() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(include_str!("../../tests/dumps/schema-2.sql")).unwrap();
        migrate(&mut old, 2).unwrap();
        let accounts = super::super::accounts::load(&old).unwrap();
        let users: Vec<_> = accounts
            .users()
            .map(|user| (user.name.as_str(), user.role, user.since, user.version))
            .collect();
        let since = 1_795_932_758;
        assert_eq!(
            users,
            [("ann", Role::Admin, since, 1), ("ben", Role::SecurityOfficer, since, 2)]
        );
        tsg_sodium::init().unwrap();
        assert!(accounts.user("ann").unwrap().password.fits("correct horse battery"));
        let [token] = &accounts.tokens().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(
            (token.id, token.name.as_str(), token.role, token.since, token.expires),
            (1, "grafana", Role::Viewer, since, since + 31_536_000)
        );
        let verdict = super::super::chain::verify(&old).unwrap();
        assert_eq!((verdict.lines, verdict.unchained, verdict.broken.as_str()), (11, 0, ""));
        assert!(verdict.head.starts_with("2388cb257cdf5c1d"), "{}", verdict.head);
    }

    #[test]
    fn the_dump_of_schema_3_has_second_factors() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(include_str!("../../tests/dumps/schema-3.sql")).unwrap();
        migrate(&mut old, 3).unwrap();
        let accounts = super::super::accounts::load(&old).unwrap();
        let factor = |name| accounts.user(name).unwrap().totp.as_ref().map(|totp| totp.text());
        assert_eq!(factor("ann").unwrap().as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(factor("ben").is_none());
    }
}
