//! The key server's half: who is in, which epochs and policies live, what each gateway is sent.
//!
//! Messages and operators' orders go in with the server's time in milliseconds; records to store
//! come out of [`Server::poll_record`], messages of [`Server::poll_transmit`]. The shell around
//! this machine makes all polled records durable before it sends anything that was polled after
//! them, so a crash at any instruction can lose only what nobody was told.
//!
//! Sender numbers are handed out only in epochs that this process made itself, and are counted in
//! memory: a restart, a restored backup or a takeover begins with a new epoch, so no number can
//! come twice.

mod advance;
mod anew;
mod flows;
mod group;
mod limits;
mod listed;
mod machines;
mod orders;
mod past;
mod record;
mod session;
mod state;
mod tags;
mod tokens;
mod troubles;
mod unreadable;
mod view;

pub use flows::{FlowView, MOST_KNOWN as MOST_KNOWN_FLOWS};
pub use listed::{Listed, ListedGateway, MOST_LISTED};
pub use orders::{MOST_PINNED, OrderError};
pub use past::GatewayEvent;
pub use record::{
    EpochRecord, GatewayRecord, GroupRecord, PolicyRecord, Record, Stored, TokenRecord,
};
pub use session::RECENT_MINUTES;
pub use tags::{MOST_TAG, MOST_TAGS};
pub use troubles::{Trouble, TroubleKind};
pub use view::{
    Counted, EpochView, GatewayFilter, GatewayLine, GatewayPage, GatewayState, GatewayView,
    GroupView, RevealedEpoch, TokenView,
};

use crate::gateway::SILENCE;
use crate::keys::PublicKey;
use crate::message::{
    Announcement, Heartbeat, Pending, Pulse, Reading, Refused, Register, ToGateway, ToServer,
    Unknown,
};
use group::{Group, Want};
use limits::{Belief, Bucket};
use past::Past;
use session::Session;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokens::Tokens;
use unreadable::Unreadable;

/// How long a stranger waits before asking again, in seconds.
const PENDING_RETRY: u32 = 5;

/// How long one that is refused waits before asking again, in seconds.
const REFUSED_RETRY: u32 = 60;

/// How long a revoked gateway waits before asking again, in seconds: it may have been let in again.
const REVOKED_RETRY: u32 = 60;

/// A stranger that was not heard for this many milliseconds makes room for others.
const STRANGER_GONE: u64 = 60_000;

/// More strangers than this are not remembered; the next ones are refused for a while.
pub const MOST_PENDING: usize = 1_000;

/// A source of random bytes fit for keys.
pub trait Random: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Something that an operator should be able to read later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub level: Level,
    /// What happened, in words.
    pub text: String,
}

/// How much an [`Event`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody should look.
    Warning,
    /// Good to know.
    Info,
}

/// One key server.
pub struct Server {
    random: Box<dyn Random>,
    /// Random number of this process: state revisions count within it.
    instance: u64,
    /// Random number of the clock that epochs are made by.
    clock: u64,
    started: u64,
    /// The latest time that this machine was told.
    latest: u64,
    /// When it was last looked whether something is due.
    advanced: u64,
    groups: BTreeMap<String, Group>,
    gateways: BTreeMap<PublicKey, Gateway>,
    /// The names of all gateways: no two have the same.
    names: BTreeSet<String>,
    pending: BTreeMap<PublicKey, Stranger>,
    tokens: Tokens,
    strangers: Bucket,
    /// How many wrong tokens are worth a line in the log.
    wrong_tokens: Bucket,
    /// How many messages that cannot be read are.
    unreadable: Bucket,
    next_command: u64,
    rolled_back: Option<u64>,
    records: VecDeque<Record>,
    transmits: VecDeque<(PublicKey, ToGateway)>,
    announcements: VecDeque<Announcement>,
    events: VecDeque<Event>,
}

/// A gateway that was let in once.
struct Gateway {
    record: GatewayRecord,
    session: Option<Session>,
    belief: Belief,
    reports: Bucket,
    /// What it said last that could not be read, until it says something that can.
    unreadable: Option<Unreadable>,
    past: Past,
    /// What it reported is not stored yet; and when that was last done.
    unkept: bool,
    kept: Option<u64>,
    /// How many sender numbers all its processes were given, by epoch.
    given: BTreeMap<u64, u32>,
    /// It has confirmed a state of its group. Before that it may speak of the group that it was in.
    settled: bool,
}

/// A gateway that nobody has approved.
struct Stranger {
    name: String,
    version: String,
    aes: bool,
    first: u64,
    last: u64,
}

impl Server {
    /// A server that starts from what is on disk. Every group that has members gets a new epoch.
    pub fn new(stored: Stored, mut random: Box<dyn Random>, now: u64) -> Self {
        let [instance, clock] = [(); 2].map(|()| anew::number(random.as_mut()));
        let names = stored.gateways.iter().map(|record| record.name.clone()).collect();
        let gateway = |record: GatewayRecord| (record.key, Gateway::new(record));
        let mut server = Self {
            random,
            instance,
            clock,
            started: now,
            latest: now,
            advanced: now,
            groups: BTreeMap::new(),
            gateways: stored.gateways.into_iter().map(gateway).collect(),
            names,
            pending: BTreeMap::new(),
            tokens: Tokens::default(),
            strangers: strangers(now),
            wrong_tokens: worth_a_line(now),
            unreadable: worth_a_line(now),
            next_command: 1,
            rolled_back: None,
            records: VecDeque::new(),
            transmits: VecDeque::new(),
            announcements: VecDeque::new(),
            events: VecDeque::new(),
        };
        for token in stored.tokens {
            server.tokens.put(token);
        }
        for record in stored.groups {
            let group = Group::restore(record, now);
            server.groups.insert(group.record.name.clone(), group);
        }
        for gateway in server.gateways.values().filter(|g| g.record.revoked.is_none()) {
            if let Some(group) = server.groups.get_mut(&gateway.record.group) {
                group.members.insert(gateway.record.key);
            }
        }
        for group in server.groups.values_mut() {
            match group.members.is_empty() {
                true => group.forget_epochs(),
                false => group.want(Want::Routine),
            }
        }
        server.advance(now);
        server
    }

    /// May this key connect at all?
    pub fn admits(&self, key: &PublicKey) -> bool {
        self.gateways.get(key).is_none_or(|gateway| gateway.record.revoked.is_none())
    }

    /// The next change to make durable.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<(PublicKey, ToGateway)> {
        self.transmits.pop_front()
    }

    /// The next announcement to publish.
    pub fn poll_announcement(&mut self) -> Option<Announcement> {
        self.announcements.pop_front()
    }

    /// The next line for the log.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: u64) -> Option<u64> {
        self.groups.values().filter_map(|group| group.timeout(self.advanced, now)).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        self.latest = now;
        self.advance(now);
    }

    /// A message of the gateway whose CURVE key is `from`.
    pub fn handle_message(&mut self, from: PublicKey, message: ToServer, now: u64) {
        self.latest = now;
        if let Some(gateway) = self.gateways.get_mut(&from) {
            gateway.unreadable.take_if(|unreadable| unreadable.is_version());
        }
        match message {
            ToServer::Register(register) => self.register(from, register, now),
            ToServer::Heartbeat(heartbeat) => self.heartbeat(from, heartbeat, now),
            ToServer::Report(report) => self.report(from, report, now),
            ToServer::Done(done) => {
                let name = self.gateways.get(&from).map(|gateway| gateway.record.name.clone());
                if let Some(name) = name {
                    let outcome = if done.ok { "done" } else { "failed" };
                    let text: String =
                        done.text.chars().filter(|c| !c.is_control()).take(500).collect();
                    self.info(format!("{name}: command {} {outcome}: {text}", done.command));
                }
            }
        }
    }

    fn register(&mut self, from: PublicKey, register: Register, now: u64) {
        if !self.gateways.contains_key(&from) && !self.admit(from, &register, now) {
            return;
        }
        let Some(gateway) = self.gateways.get_mut(&from) else { return };
        if let Some(reason) = &gateway.record.revoked {
            let refused = Refused {
                request: register.request,
                reason: reason.clone(),
                revoked: true,
                retry: REVOKED_RETRY,
            };
            self.transmits.push_back((from, ToGateway::Refused(refused)));
            return;
        }
        if gateway.record.aes != register.aes {
            gateway.record.aes = register.aes;
            self.records.push_back(Record::Gateway(gateway.record.clone()));
        }
        let same_process =
            gateway.session.as_ref().is_some_and(|session| session.process == register.process);
        gateway.past.registered(gateway.session.as_ref(), register.process, now);
        if !same_process {
            gateway.session = Some(Session::new(register.process, now));
        }
        if let Some(session) = &mut gateway.session {
            gateway.past.heard(session, now);
            session.registered(&register);
        }
        // What it holds may still be of another group: that is judged with its first heartbeat.
        let group = gateway.record.group.clone();
        if !register.aes {
            self.suit_ciphers(&group);
        }
        self.send_state(from, register.request, now);
        self.advance_group(&group, now);
    }

    /// Lets a stranger in by token, or keeps it waiting. Gives whether it is a member now.
    fn admit(&mut self, from: PublicKey, register: &Register, now: u64) -> bool {
        // A token comes before all that masses of strangers can use up.
        if let Some(secret) = &register.token {
            let Err(reason) = self.redeem(secret, from, register, now) else { return true };
            if self.wrong_tokens.take(now) {
                self.warn(format!("{}: {reason}", from.fingerprint()));
            }
            self.refuse(from, register.request, reason);
            return false;
        }
        let known = self.pending.contains_key(&from);
        if !known && self.pending.len() >= MOST_PENDING {
            self.pending.retain(|_, stranger| now.abs_diff(stranger.last) < STRANGER_GONE);
        }
        if !known && (self.pending.len() >= MOST_PENDING || !self.strangers.take(now)) {
            let reason = "too many gateways wait for approval".to_owned();
            self.refuse(from, register.request, reason);
            return false;
        }
        if !known {
            self.info(format!("a gateway asks to join: {}", from.fingerprint()));
        }
        let stranger = self.pending.entry(from).or_insert_with(|| Stranger {
            name: String::new(),
            version: String::new(),
            aes: false,
            first: now,
            last: now,
        });
        stranger.name = session::shown(&register.name);
        stranger.version = session::shown(&register.version);
        stranger.aes = register.aes;
        stranger.last = now;
        let pending = Pending { request: register.request, retry: PENDING_RETRY };
        self.transmits.push_back((from, ToGateway::Pending(pending)));
        false
    }

    fn refuse(&mut self, from: PublicKey, request: u64, reason: String) {
        let refused = Refused { request, reason, revoked: false, retry: REFUSED_RETRY };
        self.transmits.push_back((from, ToGateway::Refused(refused)));
    }

    fn heartbeat(&mut self, from: PublicKey, heartbeat: Heartbeat, now: u64) {
        let member = self.gateways.get_mut(&from).filter(|g| g.record.revoked.is_none());
        let known = member.filter(|gateway| {
            gateway.session.as_ref().is_some_and(|session| session.process == heartbeat.process)
        });
        if known.is_none() || self.notice_rollback(from, &heartbeat, now) {
            let unknown = Unknown { request: heartbeat.request };
            self.transmits.push_back((from, ToGateway::Unknown(unknown)));
            return;
        }
        let Some(gateway) = self.gateways.get_mut(&from) else { return };
        let name = gateway.record.group.clone();
        let Some(session) = gateway.session.as_mut() else { return };
        let pulse = Pulse { request: heartbeat.request, time: Reading { clock: self.clock, now } };
        self.transmits.push_back((from, ToGateway::Pulse(pulse)));
        let newest = self.groups.get(&name).map_or(0, |group| group.revision);
        gateway.past.heard(session, now);
        let confirms = session.beat(&heartbeat, self.instance, newest, now);
        gateway.past.beaten(&session.alarms, session.acked >= newest, now);
        gateway.settled |= session.acked > 0;
        self.keep_machines(from, now);
        self.notice_held(from, &heartbeat.holds, now);
        if self.refill(from, now) {
            self.want_epoch(&name, Want::Routine);
        }
        let moves = |group: &Group| group.wanted.is_some() || group.has_news(now);
        if confirms || self.groups.get(&name).is_some_and(moves) {
            self.advance_group(&name, now);
        }
        let map_due = self.groups.get(&name).is_some_and(|group| group.map_due.is_none());
        self.send_lacking(from, map_due, now);
    }

    fn members<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a Gateway> {
        let keys = self.groups.get(group).into_iter().flat_map(|group| &group.members);
        keys.filter_map(|key| self.gateways.get(key))
    }

    fn info(&mut self, text: String) {
        self.events.push_back(Event { level: Level::Info, text });
    }

    fn warn(&mut self, text: String) {
        self.events.push_back(Event { level: Level::Warning, text });
    }
}

/// Strangers are heard at a limited rate: 200 at once, 20 in a second.
const fn strangers(now: u64) -> Bucket {
    Bucket::new(200, 50, now)
}

/// Of wrong tokens, and of what cannot be read, so many are noted: 20 at once, one in a second.
const fn worth_a_line(now: u64) -> Bucket {
    Bucket::new(20, 1_000, now)
}

impl Gateway {
    fn new(record: GatewayRecord) -> Self {
        Self {
            record,
            session: None,
            belief: Belief::default(),
            // As often as it may report, and a few that were delayed.
            reports: Bucket::new(4, crate::gateway::REPORT_AGAIN, 0),
            unreadable: None,
            past: Past::default(),
            unkept: false,
            kept: None,
            given: BTreeMap::new(),
            settled: true,
        }
    }

    /// It was heard lately.
    fn online(&self, now: u64) -> Option<&Session> {
        self.session.as_ref().filter(|session| now < session.heard + SILENCE)
    }
}
