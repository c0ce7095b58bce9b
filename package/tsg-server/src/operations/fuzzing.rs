//! A door for the fuzzers (tests/fuzz), and in no other build.

use super::{
    Answer, Desk, Operator, Outcomes, Refusal, RefusalKind, Running, Traffic, entries, perform,
};
use crate::accounts::Accounts;
use crate::admin;
use crate::alarms::Watch;
use crate::database::{Batch, Database};
use crate::identity::Identity;
use crate::notify::Notifier;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use tsg_control::server::Server;

/// What a key server has besides its state machine: an identity, and a database in memory.
pub struct Office {
    database: Database,
    identity: Identity,
    outcomes: Outcomes,
    accounts: Accounts,
}

impl Office {
    /// With an identity in this folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self> {
        let outcomes = Outcomes::default();
        let (database, accounts) = (Database::in_memory()?, Accounts::default());
        Ok(Self {
            database,
            identity: Identity::open(&crate::seal::Vault::open(folder, None)?)?,
            outcomes,
            accounts,
        })
    }

    /// Begins anew with an empty database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear(&mut self) -> Result<()> {
        (self.outcomes, self.accounts) = (Outcomes::default(), Accounts::default());
        self.database.clear()
    }

    /// Does what a line on root's socket asks for, and makes durable what came of it.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn ask(&mut self, server: &mut Server, line: &[u8], now: u64) -> Result<Answer, Refusal> {
        let operation = admin::operation(line)?;
        let operator = Operator::peer(0, 1);
        let mut accounts = Vec::new();
        let mut desk = Desk {
            server,
            database: &self.database,
            identity: &self.identity,
            outcomes: &mut self.outcomes,
            accounts: &mut self.accounts,
            account_changes: &mut accounts,
            traffic: &Traffic::default(),
            alarms: &Watch::new(Vec::new(), 1, 0, 0),
            notifier: &Notifier::silent(),
            operator: &operator,
            running: Running {
                listen: "tcp://192.0.2.10:5555",
                publish: "tcp://192.0.2.10:5556",
                uptime: 1,
                clock_jumps: 0,
                connections: 1,
                dropped: &BTreeMap::new(),
                secrets: &crate::seal::State::Clear,
            },
            now,
        };
        let outcome = perform(&mut desk, &operation);
        let audit = entries(&operator, &operation, &outcome);
        let mut batch = Batch { changes: Vec::new(), accounts, audit };
        while let Some(record) = server.poll_record() {
            batch.changes.push((record, operator.0.clone()));
        }
        self.database.store(&batch, now).map_err(broken)?;
        outcome
    }

    /// The state machine of a server that starts from what is durable.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn stored(&self) -> Result<tsg_control::server::Stored> {
        self.database.load()
    }
}

/// What the daemon would end with.
fn broken(error: anyhow::Error) -> Refusal {
    Refusal::new(RefusalKind::Unavailable, format!("the daemon ends: {error:#}"))
}
