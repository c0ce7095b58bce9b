//! The gateway's half: from what the key server says to what the data path does.
//!
//! Events go in by `handle_*`, with the local time in milliseconds since boot; what to send comes
//! out of [`Gateway::poll_transmit`], what changed out of [`Gateway::poll_event`], and
//! [`Gateway::poll_timeout`] says when to call [`Gateway::handle_timeout`]. Call the polls until
//! they are empty after every `handle_*`.
//!
//! Not here: sockets, files, and packets (tsg-bridge's `pipeline` asks for [`Gateway::keys`] and
//! [`Gateway::policies`] when they changed).

mod heard;
mod keyring;
mod report;
mod saved;

pub use keyring::{KeyView, pseudo_time};
pub(crate) use report::REPORT_AGAIN;
pub use report::{MOST_FLOWS, MOST_MACHINES, MOST_PORTS, Seen};
pub use saved::{Saved, Times};

use crate::clock::Estimate;
use crate::message::{
    Command, CommandKind, Done, GroupSettings, Heartbeat, Map, PolicyVersion, Reading, Register,
    State, ToGateway, ToServer,
};
use crate::timeline::Stage;
use crate::token::TokenSecret;
use keyring::Keyring;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// Milliseconds between two signs of life.
pub const HEARTBEAT: u64 = 10_000;

/// No answer for this long: the key server counts as lost.
pub const SILENCE: u64 = 3 * HEARTBEAT + HEARTBEAT / 2;

/// First and longest wait before asking to be let in again.
const RETRY: (u64, u64) = (500, 30_000);

/// An unknown epoch on the wire makes a gateway ask at most this often.
const ASK_AGAIN: u64 = 5_000;

/// Questions whose answers are still worth something.
const MOST_QUESTIONS: usize = 8;

/// What a gateway is when it starts.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What it is called in its own configuration.
    pub name: String,
    /// Version of its software.
    pub version: String,
    /// AES in hardware.
    pub aes: bool,
    /// Sender numbers wanted in each epoch: one for each sealing thread, and spares.
    pub senders: u8,
    /// And so many to put aside for after power cuts, see [`Gateway::save_for_next_boot`].
    pub kept: u8,
    /// The secret of a one-time token.
    pub token: Option<TokenSecret>,
}

/// Where a gateway stands with its key server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No answer yet, or none for a while.
    Searching,
    /// An operator has to approve it.
    Pending,
    /// Refused, and why.
    Refused(String),
    /// A member of its group, and the server answers.
    Member,
    /// A member, but the server does not answer since this local time.
    Island(u64),
    /// Thrown out, and why.
    Revoked(String),
}

/// What changed, for the shell around this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Gateway::keys`] gives something else now.
    Keys,
    /// [`Gateway::policies`] or [`Gateway::settings`] do.
    Policy,
    /// [`Gateway::machines`] does.
    Machines,
    /// [`Gateway::standing`] does.
    Standing,
    /// [`Gateway::save`] gives something that must survive a restart of the daemon.
    Save,
    /// The token was used up: forget it.
    TokenSpent,
    /// The key server wants this done; answer with [`Gateway::done`].
    Command(Command),
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    identity: Identity,
    process: u64,
    started: u64,
    standing: Standing,
    keyring: Keyring,
    clocks: Vec<Estimate>,
    state: Option<Known>,
    map: Map,
    machines: BTreeSet<IpAddr>,
    counters: BTreeMap<String, u64>,
    /// For the next report only.
    seen: Option<Seen>,
    alarms: Vec<String>,
    /// What is not understood of the state.
    unknown: Vec<String>,
    /// The key server may not know this process, or what it sent may be lost: a registration must
    /// be answered by a state.
    registering: bool,
    questions: VecDeque<(u64, u64)>,
    next_request: u64,
    next_try: Option<u64>,
    retry: u64,
    last_answer: Option<u64>,
    ask: bool,
    asked: Option<u64>,
    report_at: Option<u64>,
    reported: Option<u64>,
    transmits: VecDeque<ToServer>,
    events: VecDeque<Event>,
}

/// The state that the gateway is in.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    instance: u64,
    revision: u64,
    group: String,
    name: String,
    policies: Vec<PolicyVersion>,
    settings: GroupSettings,
}

impl Gateway {
    /// A gateway that starts at local time `now`. `process` is random: it names this daemon
    /// process to the server, and no two may share it.
    pub fn new(identity: Identity, process: u64, now: u64) -> Self {
        Self {
            identity,
            process,
            started: now,
            standing: Standing::Searching,
            keyring: Keyring::default(),
            clocks: Vec::new(),
            state: None,
            map: Map::default(),
            machines: BTreeSet::new(),
            counters: BTreeMap::new(),
            seen: None,
            alarms: Vec::new(),
            unknown: Vec::new(),
            registering: true,
            questions: VecDeque::new(),
            next_request: process | 1,
            next_try: Some(now),
            retry: RETRY.0,
            last_answer: None,
            ask: false,
            asked: None,
            report_at: None,
            reported: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where it stands with its key server.
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The epochs that live, oldest first, as the data path needs them at local time `now`.
    pub fn keys(&self, now: u64) -> Vec<KeyView> {
        let island = self.state.as_ref().map_or(0, |state| state.settings.island_time);
        self.keyring.views(now, self.started, &self.clocks, island)
    }

    /// The policy versions that live, oldest first.
    pub fn policies(&self) -> &[PolicyVersion] {
        self.state.as_ref().map_or(&[], |state| &state.policies)
    }

    /// The group's settings, once known.
    pub fn settings(&self) -> Option<&GroupSettings> {
        self.state.as_ref().map(|state| &state.settings)
    }

    /// The names of the group and of this gateway, as the key server has them.
    pub fn names(&self) -> Option<(&str, &str)> {
        self.state.as_ref().map(|state| (state.group.as_str(), state.name.as_str()))
    }

    /// Machines behind which gateway.
    pub const fn map(&self) -> &Map {
        &self.map
    }

    /// Machines seen on the LAN side.
    pub const fn machines(&self) -> &BTreeSet<IpAddr> {
        &self.machines
    }

    /// The newest estimate of the key server's clock.
    pub fn clock(&self) -> Option<&Estimate> {
        self.clocks.last()
    }

    /// When the key server answered last, local time.
    pub const fn last_answer(&self) -> Option<u64> {
        self.last_answer
    }

    /// Local time by which the key server will have replaced the epoch that is sealed with, if it is there: when the
    /// lifetime of that one ends. `None`: there is no such epoch, or the time is not known.
    pub fn rekey_due(&self) -> Option<u64> {
        self.keyring.lifetime_ends(&self.clocks)
    }

    /// It has another name now, or was given a token: the key server is told.
    pub fn introduce(&mut self, name: String, token: Option<TokenSecret>, now: u64) {
        self.identity.name = name;
        self.identity.token = token;
        self.retry = RETRY.0;
        self.handle_connected(now);
    }

    /// What to send to the key server, in order.
    pub fn poll_transmit(&mut self) -> Option<ToServer> {
        self.transmits.pop_front()
    }

    /// What changed, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Gateway::handle_timeout`] wants to be called, local time.
    pub fn poll_timeout(&self) -> Option<u64> {
        let silence = match self.standing {
            Standing::Member => self.last_answer.map(|at| at + SILENCE),
            Standing::Searching
            | Standing::Pending
            | Standing::Refused(_)
            | Standing::Island(_)
            | Standing::Revoked(_) => None,
        };
        let island = self.state.as_ref().map_or(0, |state| state.settings.island_time);
        let keys = self.keyring.next_change(&self.clocks, island);
        [self.next_try, silence, self.report_at, keys].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        let island = self.state.as_ref().map_or(0, |state| state.settings.island_time);
        if self.keyring.expire(now, &self.clocks, island) {
            self.events.extend([Event::Keys, Event::Save]);
        }
        if self.standing == Standing::Member
            && self.last_answer.is_none_or(|at| now >= at + SILENCE)
        {
            self.stand(Standing::Island(self.last_answer.unwrap_or(self.started)));
        }
        if self.next_try.is_some_and(|at| now >= at) {
            self.try_again(now);
        }
        if self.report_at.is_some_and(|at| now >= at) {
            self.report(now);
        }
    }

    /// The connection to the key server was made anew: whatever was asked before is lost.
    pub fn handle_connected(&mut self, now: u64) {
        self.questions.clear();
        self.registering = true;
        self.next_try = Some(now);
    }

    /// A message of the key server, over a connection that proved to be with it.
    pub fn handle_message(&mut self, message: ToGateway, now: u64) {
        match message {
            ToGateway::Pending(pending) => {
                if self.answered(pending.request).is_some() {
                    self.last_answer = Some(now);
                    self.stand(Standing::Pending);
                    self.try_in(now, u64::from(pending.retry.clamp(1, 300)) * 1000);
                }
            }
            ToGateway::Refused(refused) => self.refused(refused, now),
            ToGateway::Unknown(unknown) => {
                if self.answered(unknown.request).is_some() {
                    self.registering = true;
                    self.register(now);
                }
            }
            ToGateway::Pulse(pulse) => {
                if let Some(sent) = self.answered(pulse.request) {
                    let lacked = self.keyring.lacks_time(&self.clocks);
                    self.learn_time(pulse.time, sent, now);
                    self.heard(now);
                    if lacked && !self.keyring.lacks_time(&self.clocks) {
                        // Only now can it use all that it holds.
                        self.heartbeat(now);
                    }
                }
            }
            ToGateway::State(state) => self.take_over(*state, now),
            ToGateway::Map(map) => {
                let newer = map.instance != self.map.instance || map.revision > self.map.revision;
                if newer && self.state.as_ref().is_some_and(|s| s.instance == map.instance) {
                    self.map = map;
                    self.events.extend([Event::Machines, Event::Save]);
                }
            }
            ToGateway::Command(command) => self.command(command, now),
        }
    }

    /// The data path heard a packet of an epoch that it does not know.
    pub fn handle_unknown_epoch(&mut self, now: u64) {
        if self.asked.is_none_or(|at| now >= at + ASK_AGAIN) && self.is_member() {
            self.asked = Some(now);
            self.ask = true;
            self.heartbeat(now);
        }
    }

    /// The data path opened an authentic packet of this epoch: some member was told that it is in
    /// force, so it is.
    pub fn handle_authentic(&mut self, epoch: u64, now: u64) {
        if self.keyring.activate(epoch, now) {
            self.events.extend([Event::Keys, Event::Save]);
        }
    }

    /// The data path opened a packet of this pseudo-time, which is later than it is here, in an epoch
    /// whose time is `open`: so it is that late.
    pub fn handle_later(&mut self, epoch: u64, time: u32, now: u64) {
        let Some(key) = self.keyring.keys.iter().find(|key| key.id == epoch) else { return };
        let (clock, origin) = (key.keys.clock, key.keys.origin);
        let Some(estimate) = self.clocks.iter_mut().find(|known| known.clock == clock) else {
            return;
        };
        let least = estimate.least(now);
        let ahead = time.wrapping_sub(least.wrapping_sub(origin) as u32) as i32;
        if let Ok(ahead @ 1..) = u64::try_from(ahead) {
            estimate.raise(least + ahead, now);
            self.events.extend([Event::Keys, Event::Save]);
        }
    }

    /// A sender number that is almost used up: it serves on until there is another, and the key
    /// server is asked for more. Gives whether that is news.
    pub fn handle_worn(&mut self, epoch: u64, sender: u32, now: u64) -> bool {
        let news = self.keyring.wear(epoch, sender);
        if news {
            self.events.extend([Event::Keys, Event::Save]);
            self.heartbeat(now);
        }
        news
    }

    /// A sender number that is used up: it must not be offered to a thread again.
    pub fn handle_exhausted(&mut self, epoch: u64, sender: u32, now: u64) {
        if self.keyring.exhaust(epoch, sender) {
            self.events.extend([Event::Keys, Event::Save]);
            self.heartbeat(now);
        }
    }

    /// What came of a command.
    pub fn done(&mut self, done: Done) {
        self.transmits.push_back(ToServer::Done(done));
    }

    fn is_member(&self) -> bool {
        matches!(self.standing, Standing::Member | Standing::Island(_))
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.events.push_back(Event::Standing);
        }
    }

    fn heard(&mut self, now: u64) {
        self.last_answer = Some(now);
        self.retry = RETRY.0;
        if matches!(self.standing, Standing::Island(_)) {
            self.stand(Standing::Member);
        }
    }

    /// Spreads tries out: a tenth up or down, from bits that differ between gateways.
    fn try_in(&mut self, now: u64, delay: u64) {
        let jitter = self.next_request.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.next_try = Some(now + delay - delay / 10 + jitter % (delay / 5 + 1));
    }

    fn try_again(&mut self, now: u64) {
        if matches!(self.standing, Standing::Member) && !self.registering {
            self.heartbeat(now);
            self.try_in(now, HEARTBEAT);
        } else {
            self.register(now);
        }
    }

    fn question(&mut self, now: u64) -> u64 {
        self.next_request = self.next_request.wrapping_add(1).max(1);
        self.questions.push_back((self.next_request, now));
        if self.questions.len() > MOST_QUESTIONS {
            self.questions.pop_front();
        }
        self.next_request
    }

    /// An answer counts once, and only for a question that was asked: gives when that was.
    fn answered(&mut self, request: u64) -> Option<u64> {
        let at = self.questions.iter().position(|&(asked, _)| asked == request)?;
        self.questions.remove(at).map(|(_, sent)| sent)
    }

    fn register(&mut self, now: u64) {
        let request = self.question(now);
        self.transmits.push_back(ToServer::Register(Register {
            request,
            process: self.process,
            name: self.identity.name.clone(),
            version: self.identity.version.clone(),
            token: self.identity.token.clone(),
            aes: self.identity.aes,
            senders: self.identity.senders.saturating_add(self.identity.kept),
            holds: self.keyring.held(),
        }));
        self.try_in(now, self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    fn heartbeat(&mut self, now: u64) {
        let request = self.question(now);
        let (instance, revision) =
            self.state.as_ref().map_or((0, 0), |state| (state.instance, state.revision));
        let sealing = self.keyring.sealing(&self.clocks);
        self.transmits.push_back(ToServer::Heartbeat(Heartbeat {
            request,
            process: self.process,
            instance,
            revision,
            map: if self.map.instance == instance { self.map.revision } else { 0 },
            sealing: sealing.unwrap_or(0),
            sender: sealing.map_or(0, |epoch| self.keyring.highest_sender(epoch)),
            holds: self.keyring.usable(&self.clocks),
            ask: std::mem::take(&mut self.ask),
            alarms: self.alarms.clone(),
        }));
    }

    fn refused(&mut self, refused: crate::message::Refused, now: u64) {
        let asked = self.answered(refused.request).is_some();
        if asked {
            self.last_answer = Some(now);
        }
        if refused.revoked {
            self.keyring.clear();
            self.state = None;
            self.map = Map::default();
            self.stand(Standing::Revoked(refused.reason));
            self.events.extend([Event::Keys, Event::Policy, Event::Machines, Event::Save]);
        } else if asked {
            self.stand(Standing::Refused(refused.reason));
        } else {
            return;
        }
        self.try_in(now, u64::from(refused.retry.clamp(5, 3_600)) * 1000);
    }

    fn learn_time(&mut self, reading: Reading, sent: u64, now: u64) {
        match self.clocks.iter_mut().find(|known| known.clock == reading.clock) {
            Some(known) => known.refine(reading, sent, now),
            None => self.clocks.extend(Estimate::first(reading, sent, now)),
        }
        let in_use = self.keyring.clocks();
        self.clocks.retain(|known| known.clock == reading.clock || in_use.contains(&known.clock));
        self.events.extend([Event::Keys, Event::Save]);
    }

    fn take_over(&mut self, state: State, now: u64) {
        let asked = self.answered(state.request);
        let known = self.state.as_ref();
        let same = known
            .is_some_and(|known| known.instance == state.instance && known.group == state.group);
        // Unasked it comes only from the server process that let this one in: what an earlier one
        // sent may be late.
        if asked.is_none() && !same {
            self.registering = true;
            // That one is there: no need to wait as long as for one that does not answer.
            let soon = now + RETRY.0;
            self.next_try = Some(self.next_try.map_or(soon, |at| at.min(soon)));
            return;
        }
        // The same revision again may bring more sender numbers.
        let older = same && known.is_some_and(|known| known.revision > state.revision);
        if let Some(sent) = asked {
            self.learn_time(state.time, sent, now);
        }
        self.heard(now);
        self.stand(Standing::Member);
        self.registering = false;
        if self.identity.token.take().is_some() {
            self.events.push_back(Event::TokenSpent);
        }
        if !older {
            if self.state.as_ref().is_some_and(|known| known.group != state.group) {
                self.keyring.clear();
                // Revisions of the old group's map say nothing about the new one's.
                self.map = Map::default();
                self.events.push_back(Event::Machines);
            }
            self.keyring.take_over(state.epochs, self.identity.kept, now);
            self.state = Some(Known {
                instance: state.instance,
                revision: state.revision,
                group: state.group,
                name: state.name,
                policies: state.policies,
                settings: state.settings,
            });
            self.events.extend([Event::Keys, Event::Policy, Event::Save]);
            if !same {
                self.report_soon(now);
            }
        }
        // The answer says that the state was taken over, and brings the time.
        self.heartbeat(now);
        self.try_in(now, HEARTBEAT);
    }

    fn command(&mut self, command: Command, now: u64) {
        match command.kind {
            CommandKind::Reregister => {
                self.register(now);
                self.done(Done { command: command.command, ok: true, text: String::new() });
            }
            CommandKind::Rekey => {
                self.keyring.renew_senders();
                self.register(now);
                self.done(Done { command: command.command, ok: true, text: String::new() });
            }
            CommandKind::Reload
            | CommandKind::LogLevel(_)
            | CommandKind::Diagnostics
            | CommandKind::Reboot => self.events.push_back(Event::Command(command)),
        }
    }

    /// The policy version in force.
    pub fn active_policy(&self) -> Option<&PolicyVersion> {
        self.policies().iter().rev().find(|version| version.stage == Stage::Active)
    }
}
