//! What the key server keeps: one SQLite file, `tsg.db` in the data folder.
//!
//! WAL with `synchronous=FULL`: what [`Database::store`] has returned from is on the disk. One
//! thread writes; docs/decisions/0003 says why. `schema.sql` is the truth about the tables.

mod accounts;
mod audit;
mod chain;
mod copy;
mod inspect;
mod reader;
mod schema;
mod tables;

pub use audit::{AuditEntry, AuditFilter, AuditRow, PolicyRow};
pub use chain::AuditVerdict;
pub use copy::copy;
pub use inspect::inspect;
pub use reader::{Lookout, Reader};

use crate::accounts::{Accounts, Change};
use crate::files;
use anyhow::{Context, Result, ensure};
use chain::Chain;
use rusqlite::{Connection, ErrorCode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tsg_control::server::{Record, Stored};

/// Name of the file.
pub const FILE: &str = "tsg.db";

/// The open database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// The newest policy version in the history, by group.
    versions: BTreeMap<String, u64>,
    chain: Chain,
}

/// What is to be durable together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Changes, each with who caused it.
    pub changes: Vec<(Record, String)>,
    /// Changes of who may use the pages and the API.
    pub accounts: Vec<Change>,
    /// Lines for the audit trail.
    pub audit: Vec<AuditEntry>,
}

impl Batch {
    /// How many changes there are.
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// There is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.accounts.is_empty() && self.audit.is_empty()
    }
}

/// Was nothing stored because the disk is full?
pub fn is_full(error: &anyhow::Error) -> bool {
    let full = |cause: &rusqlite::Error| cause.sqlite_error_code() == Some(ErrorCode::DiskFull);
    error.chain().filter_map(|cause| cause.downcast_ref()).any(full)
}

impl Database {
    /// Opens the file, makes it on the first start, and brings an older one up to date.
    ///
    /// # Errors
    /// Names the file: it cannot be opened, is damaged, or was written by a newer server.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        for file in [FILE, "tsg.db-wal", "tsg.db-shm"] {
            files::check_writers(&folder.join(file))?;
        }
        let mut connection = Connection::open(&path)
            .with_context(|| format!("cannot open the database {}", path.display()))?;
        ensure!(
            !connection.is_readonly(rusqlite::MAIN_DB)?,
            "cannot write the database {}: it, or its file system, is read-only; make it writable \
             (look at `ls -l`, `lsattr` and `mount`)",
            path.display()
        );
        schema::prepare(&mut connection)
            .with_context(|| format!("cannot use the database {}", path.display()))?;
        let versions = audit::newest_versions(&connection)
            .with_context(|| format!("cannot read the database {}", path.display()))?;
        let chain = Chain::open(&connection)
            .with_context(|| format!("cannot read the database {}", path.display()))?;
        Ok(Self { connection, path, versions, chain })
    }

    /// One without a file, for the fuzzers (tests/fuzz).
    ///
    /// # Errors
    /// SQLite's.
    #[cfg(fuzzing)]
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        schema::create(&mut connection)?;
        connection.execute_batch("DROP TRIGGER audit_is_not_deleted")?;
        Ok(Self {
            connection,
            path: PathBuf::new(),
            versions: BTreeMap::new(),
            chain: Chain::default(),
        })
    }

    /// Forgets everything, for the fuzzers (tests/fuzz).
    ///
    /// # Errors
    /// SQLite's.
    #[cfg(fuzzing)]
    pub fn clear(&mut self) -> Result<()> {
        self.versions.clear();
        self.chain = Chain::default();
        for table in
            ["tokens", "gateways", "groups", "policy_history", "audit", "users", "api_tokens"]
        {
            self.connection.execute(&format!("DELETE FROM {table}"), [])?;
        }
        Ok(())
    }

    /// Everything that the state machine starts from.
    ///
    /// # Errors
    /// Names the file, the table and the row that cannot be understood.
    pub fn load(&self) -> Result<Stored> {
        tables::load(&self.connection)
            .with_context(|| format!("cannot read the database {}", self.path.display()))
    }

    /// Who may use the pages and the API.
    ///
    /// # Errors
    /// Names the file, the table and the row that cannot be understood.
    pub fn accounts(&self) -> Result<Accounts> {
        accounts::load(&self.connection)
            .with_context(|| format!("cannot read the database {}", self.path.display()))
    }

    /// Makes a batch durable, all of it or nothing. `now` is the server's time in milliseconds.
    ///
    /// # Errors
    /// The disk is full ([`is_full`]): nothing was stored, and the same can be tried again. Or it is
    /// broken: then it is not known what was stored.
    pub fn store(&mut self, batch: &Batch, now: u64) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(batch, now).with_context(|| {
            format!(
                "cannot write the database {}: is its disk full, read-only or broken?",
                self.path.display()
            )
        })
    }

    fn write(&mut self, batch: &Batch, now: u64) -> Result<()> {
        let (mut versions, mut chain) = (self.versions.clone(), self.chain);
        let transaction = self.connection.transaction()?;
        for (record, who) in &batch.changes {
            tables::apply(&transaction, record)?;
            audit::keep_policy(&transaction, &mut versions, record, who, now)?;
        }
        for change in &batch.accounts {
            accounts::apply(&transaction, change)?;
        }
        for entry in &batch.audit {
            chain = audit::append(&transaction, chain, entry, now)?;
        }
        transaction.commit()?;
        (self.versions, self.chain) = (versions, chain);
        Ok(())
    }

    /// Bytes that are left on its disk.
    pub fn free(&self) -> u64 {
        files::free(self.path.parent().unwrap_or(&self.path))
    }

    /// Is it whole, to the last page, and has it the tables of today, and nothing else? That takes time.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn check_all(&self) -> Result<()> {
        copy::check(&self.connection)
            .with_context(|| format!("cannot use the database {}", self.path.display()))
    }

    /// Size of the file on disk in bytes, its log included.
    pub fn size(&self) -> u64 {
        let log = self.path.with_extension("db-wal");
        [&self.path, &log].iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{ApiToken, PasswordHash, Role, Totp, TotpSecret, UserChange};
    use tsg_control::group::Settings;
    use tsg_control::keys::PublicKey;
    use tsg_control::policy::Policy;
    use tsg_control::server::{GatewayRecord, GroupRecord, PolicyRecord, TokenRecord};

    fn policy(version: u64, rule: &str) -> PolicyRecord {
        let policy = Policy::new(vec![rule.parse().unwrap()]);
        let json = serde_json::json!({
            "version": version,
            "policy": policy,
            "mode": "migrate",
            "non_ip": "0x8892",
            "fail": "open",
        });
        serde_json::from_value(json).unwrap()
    }

    fn group() -> GroupRecord {
        GroupRecord {
            name: "plant".to_owned(),
            settings: Settings::default(),
            policy: policy(2, "encrypt proto=tcp dest_port=502"),
            previous: Some(policy(1, "drop src_ip=2001:db8::/32")),
            last_epoch: 1 << 40,
            epochs: serde_json::from_str(r#"[{"id":7,"ends":1795000000000}]"#).unwrap(),
        }
    }

    fn gateway() -> GatewayRecord {
        GatewayRecord {
            key: PublicKey([7; 32]),
            name: "pump".to_owned(),
            group: "plant".to_owned(),
            revoked: Some("lost".to_owned()),
            approved: 1_795_000_000,
            aes: true,
            machines: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            pinned: Vec::new(),
            tags: vec!["hall-3".to_owned()],
        }
    }

    fn token() -> TokenRecord {
        let used_by = Some(PublicKey([7; 32]));
        TokenRecord { id: 3, hash: [9; 32], group: "plant".to_owned(), expires: 5, used_by }
    }

    fn batch(records: Vec<Record>) -> Batch {
        let by = |record| (record, "somebody".to_owned());
        Batch { changes: records.into_iter().map(by).collect(), ..Batch::default() }
    }

    #[test]
    fn records_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let records =
            || vec![Record::Group(group()), Record::Gateway(gateway()), Record::Token(token())];
        // Twice: a record that is there is changed.
        database.store(&batch(records()), 1).unwrap();
        database.store(&batch(records()), 2).unwrap();
        drop(database);
        let mut database = Database::open(folder.path()).unwrap();
        let stored =
            Stored { gateways: vec![gateway()], groups: vec![group()], tokens: vec![token()] };
        assert_eq!(database.load().unwrap(), stored);
        let gone = vec![
            Record::TokenGone(3),
            Record::GatewayGone(gateway().key),
            Record::GroupGone("plant".to_owned()),
        ];
        database.store(&batch(gone), 3).unwrap();
        assert_eq!(database.load().unwrap(), Stored::default());
    }

    #[test]
    fn accounts_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let mut accounts = Accounts::default();
        let hash = || PasswordHash::read("$argon2id$v=19$x".to_owned()).unwrap();
        let token = ApiToken {
            id: 1,
            name: "grafana".to_owned(),
            role: Role::Viewer,
            hash: [3; 32],
            made_by: "ann".to_owned(),
            since: 5,
            expires: 9,
        };
        let secret = TotpSecret::read("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let change = UserChange {
            role: Some(Role::SecurityOfficer),
            totp: Some(Totp::On(secret)),
            ..UserChange::default()
        };
        let mut changes = vec![
            accounts.add_user("ann", Role::Admin, hash(), 5).unwrap(),
            accounts.add_user("ben", Role::Operator, hash(), 5).unwrap(),
            accounts.change_user("ben", &change).unwrap(),
            accounts.add_token(token).unwrap(),
        ];
        let store = |database: &mut Database, accounts: Vec<Change>| {
            database.store(&Batch { accounts, ..Batch::default() }, 1).unwrap();
        };
        store(&mut database, std::mem::take(&mut changes));
        drop(database);
        let mut database = Database::open(folder.path()).unwrap();
        assert_eq!(database.accounts().unwrap(), accounts);
        changes.push(accounts.remove_user("ben").unwrap());
        changes.push(accounts.remove_token(1).unwrap());
        store(&mut database, changes);
        assert_eq!(database.accounts().unwrap(), accounts);
    }

    #[test]
    fn a_batch_is_stored_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        // A gateway without its group.
        let wrong = batch(vec![Record::Token(token()), Record::Gateway(gateway())]);
        let error = format!("{:#}", database.store(&wrong, 1).unwrap_err());
        assert!(error.contains("tsg.db") && error.contains("FOREIGN KEY"), "{error}");
        assert_eq!(database.load().unwrap(), Stored::default());
    }

    #[test]
    fn every_policy_version_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let mut changed = group();
        for version in [1, 1, 2, 2, 3] {
            changed.policy.version = version;
            database.store(&batch(vec![Record::Group(changed.clone())]), version).unwrap();
        }
        let mut database = Database::open(folder.path()).unwrap();
        database.store(&batch(vec![Record::Group(changed)]), 9).unwrap();
        let kept = database.reader().policy_history("plant", 10).unwrap();
        let versions: Vec<_> = kept.iter().map(|row| row.policy.version).collect();
        assert_eq!(versions, [3, 2, 1]);
        assert_eq!(kept[0].who, "somebody");
    }

    #[test]
    fn what_is_committed_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let number = |name: &str| -> i64 {
            database.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
        };
        let mode: String =
            database.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(number("synchronous"), 2);
        assert_eq!(number("foreign_keys"), 1);
    }
}
