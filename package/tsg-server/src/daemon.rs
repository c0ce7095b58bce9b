//! The main thread: it alone owns the state machine and the database.
//!
//! One turn: wait; take a bounded number of messages, orders and signals; make every change
//! durable in one transaction; only then send, publish and answer. When the disk is full, the
//! change waits and nobody is told of it (docs/decisions/0008). When the disk is broken, the process
//! ends: what it holds in memory is ahead of the disk, and the next start goes on from what is true.

mod signals;
mod store;
mod turn;
mod watch;

use crate::accounts::{Accounts, Directory};
use crate::admin::Admin;
use crate::alarms::Watch;
use crate::backup::Archivist;
use crate::clock::{Reading, ServerClock};
use crate::database::{Batch, Database};
use crate::files::DataFolder;
use crate::history::History;
use crate::identity::Identity;
use crate::network::{Listen, Network, Roster};
use crate::notify::{self, Notifier};
use crate::operations::{Outcomes, Traffic};
use crate::orders::{self, Orders};
use crate::process;
use crate::seal::{Secret, State, Vault};
use crate::web::{self, Web};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signals::Signals;
use std::path::PathBuf;
use std::sync::Arc;
pub(crate) use store::RESERVE;
use tsg_control::server::{Random, Server};

/// The wall clock is looked at this often, in milliseconds.
const LOOK_AT_CLOCK: u64 = 1_000;

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// Root's socket.
    pub socket: PathBuf,
    /// Where gateways connect.
    pub listen: Listen,
    /// Where the pages are.
    pub web: web::Options,
    /// Who is told of audit trail, alarms and log.
    pub notify: notify::Options,
}

/// The running daemon.
struct Daemon {
    server: Server,
    database: Database,
    identity: Identity,
    network: Network,
    admin: Admin,
    history: History,
    orders: Orders,
    signals: Signals,
    clock: ServerClock,
    started: Reading,
    jumps: u64,
    next_look: u64,
    outcomes: Outcomes,
    accounts: Accounts,
    directory: Directory,
    traffic: Traffic,
    alarms: Watch,
    /// It is looked for alarms again at this time since boot, in milliseconds.
    next_alarms: u64,
    notifier: Notifier,
    batch: Batch,
    /// The disk is full: it is tried again at this time since boot, in milliseconds.
    full_until: Option<u64>,
    answers: Vec<turn::Pending>,
    talk: turn::Talk,
    /// How the secrets lie on the disk.
    secrets: State,
}

/// The system's random source, by libsodium.
struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        tsg_sodium::random(bytes);
    }
}

/// Runs until a signal ends it. The secrets on the disk are sealed with `secret`, if there is one.
///
/// # Errors
/// Why it could not start or go on.
pub fn run(options: &Options, secret: Option<Secret>) -> Result<()> {
    // Before any thread: they inherit what is blocked.
    let signals = Signals::take()?;
    let files = process::prepare()?;
    tsg_sodium::init()?;
    tsg_sodium::self_test()?;
    let held = DataFolder::open(&options.data)?;
    let vault = Arc::new(Vault::open(&options.data, secret)?);
    if *vault.state() == State::Clear {
        log::warn!(
            "the secrets in {} are in clear: whoever copies that folder is this key server; give --seal-key or --seal-passphrase",
            options.data.display()
        );
    }
    let identity = Identity::open(&vault)?;
    let database = Database::open(&options.data)?;
    let history = History::open(&options.data)?;
    let (stored, accounts) = (database.load()?, database.accounts()?);
    let notifier = Notifier::open(&options.notify, &options.data)?;
    let directory = Directory::default();
    directory.show(&accounts);
    let roster = Roster::new(&stored);
    let started = Reading::now()?;
    let clock = ServerClock::new(started);
    let server = Server::new(stored, Box::new(SystemRandom), clock.at(started));
    let network = Network::open(&options.listen, roster, files)?;
    let (orders, letterbox) = orders::open()?;
    let archivist = Archivist::new(options.data.clone(), Arc::clone(&vault))?;
    let admin = Admin::open(&options.socket, letterbox.clone(), archivist.clone())?;
    let web = Web::open(&options.web, &vault, letterbox, directory.clone(), archivist)?;
    log::info!(
        "tsg-server {} listens on {}, announces on {}, obeys {}; key {}",
        env!("CARGO_PKG_VERSION"),
        network.listen(),
        network.publish(),
        options.socket.display(),
        identity.public()
    );
    let (alarms, next_alarms) = watch::begin(&notifier, options.notify.alarm_after, started);
    let mut daemon = Daemon {
        server,
        database,
        identity,
        network,
        admin,
        history,
        orders,
        signals,
        clock,
        started,
        jumps: 0,
        next_look: 0,
        outcomes: Outcomes::default(),
        accounts,
        directory,
        traffic: Traffic::default(),
        alarms,
        next_alarms,
        notifier,
        batch: Batch::default(),
        full_until: None,
        answers: Vec::new(),
        talk: turn::Talk::default(),
        secrets: vault.state().clone(),
    };
    let ended = daemon.turns();
    let Daemon { network, admin, history, orders, notifier, .. } = daemon;
    drop(admin);
    drop(history);
    // Whoever still waits for an answer is told that there is none.
    drop(orders);
    drop(web);
    drop(network);
    // The last that is told is that it ends.
    drop(notifier);
    drop(held);
    ended
}

impl Daemon {
    fn turns(&mut self) -> Result<()> {
        // What the start itself changed.
        self.settle(self.now()?)?;
        loop {
            self.wait()?;
            if self.turn()? {
                log::info!("ending");
                return Ok(());
            }
            tsg_sodium::wipe_stack();
        }
    }

    fn now(&self) -> Result<u64> {
        Ok(self.clock.at(Reading::now()?))
    }

    /// Until there is something to do, or it is time.
    fn wait(&self) -> Result<()> {
        let now = self.now()?;
        let due = self.server.poll_timeout(now).unwrap_or(u64::MAX);
        let wait =
            if self.network.has_heard() { 0 } else { due.saturating_sub(now).min(LOOK_AT_CLOCK) };
        let mut files = [self.network.as_fd(), self.orders.bell(), self.signals.as_fd()]
            .map(|file| PollFd::new(file, PollFlags::POLLIN));
        match poll(&mut files, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for messages"),
        }
    }
}
