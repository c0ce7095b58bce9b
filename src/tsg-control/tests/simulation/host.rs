//! The machine that the key server runs on: it takes in, stores, sends, dies and starts again.

use crate::agenda::Happening;
use crate::frame::Frame;
use crate::snapshot::{Input, Source};
use crate::world::World;
use tsg_control::message::{MAX_FRAME_TO_SERVER, ToServer};
use tsg_control::server::Server;

/// Messages that are taken in before the next transaction.
const MOST_MESSAGES: usize = 512;

/// The longest that a message waits to be taken in.
const LONGEST_TURN: u64 = 5;

impl World {
    /// A message has arrived at the machine.
    pub(crate) fn at_server(&mut self, from: usize, generation: u64, frame: Frame<ToServer>) {
        if self.members[from].link.generation != generation || self.server.is_none() {
            return;
        }
        let message = match frame.read(MAX_FRAME_TO_SERVER) {
            Ok(message) => message,
            Err(error) => {
                let fine = self.members[from].is_hostile();
                return self.checks.demand(fine, self.t, || format!("box {from}: {error}"));
            }
        };
        if self.inbox.is_empty() {
            let soon = self.t + self.chance.between(0, LONGEST_TURN);
            self.later(soon, Happening::ServerReads);
        }
        self.inbox.push_back((self.members[from].key, message));
    }

    /// The server takes in what has arrived, and then acts on all of it.
    pub(crate) fn server_reads(&mut self) {
        let now = self.server_time();
        for _ in 0..MOST_MESSAGES {
            let Some((key, message)) = self.inbox.pop_front() else { break };
            if self.server.is_none() {
                return;
            }
            self.log.note_input(|| Input::Message(key, message.clone()), now);
            if let Some(server) = &mut self.server {
                server.handle_message(key, message, now);
            }
            if self.dies() {
                return self.dies_within_a_turn();
            }
        }
        if !self.inbox.is_empty() {
            self.later(self.t + 1, Happening::ServerReads);
        }
        self.server_turn();
    }

    /// Makes records durable, then sends; the server may die at any point of this.
    pub(crate) fn server_turn(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let mut batch = Vec::new();
        while let Some(record) = server.poll_record() {
            // With transactions it is all of them or none.
            match self.plan.transactions {
                true => batch.push(record),
                false => self.disk.put(record),
            }
            if self.dies() {
                self.server = Some(server);
                return self.dies_within_a_turn();
            }
            if self.t < self.disk_full_until {
                self.tell(|| "the disk is full".to_owned());
                self.server = Some(server);
                return self.dies_within_a_turn();
            }
        }
        for record in batch {
            self.disk.put(record);
        }
        // It is as good as dead: what operators were told until now must still be true then.
        if self.dies_after.is_some() || self.disk_full_until > self.t {
            self.checks.acknowledged(&server, self.server_time());
        }
        while let Some(said) = server.poll_announcement() {
            self.rulebook.announced(&said.group, said.policy, self.t);
        }
        while let Some((key, message)) = server.poll_transmit() {
            if self.dies() {
                return self.server_gone();
            }
            if let Some(&to) = self.who.get(&key) {
                self.send_to_gateway(to, &message);
            }
        }
        while let Some(event) = server.poll_event() {
            self.tell(|| format!("server: {}", event.text));
        }
        let now = self.server_time();
        self.set_server_timer(server.poll_timeout(now));
        self.server = Some(server);
    }

    /// The server is going to die after some more messages, records and answers.
    pub(crate) fn doom(&mut self) {
        let Some(server) = &self.server else { return };
        self.checks.acknowledged(server, self.server_time());
        self.dies_after = Some(self.chance.between(1, 20));
    }

    /// For a while nothing can be stored.
    pub(crate) fn fill_disk(&mut self) {
        let Some(server) = &self.server else { return };
        self.checks.acknowledged(server, self.server_time());
        self.disk_full_until = self.t + self.chance.between(1_000, 30_000);
    }

    fn dies(&mut self) -> bool {
        if let Some(left) = &mut self.dies_after {
            *left = left.saturating_sub(1);
        }
        self.dies_after == Some(0)
    }

    /// Nobody was told of what this turn brought about.
    fn dies_within_a_turn(&mut self) {
        if let Some(server) = &self.server {
            self.checks.died_within_a_turn(server, self.server_time());
        }
        self.server_gone();
    }

    /// It is dead: connections break, and it starts again after a while.
    pub(crate) fn server_gone(&mut self) {
        self.tell(|| "the server dies".to_owned());
        self.server = None;
        self.server_timer = None;
        self.dies_after = None;
        self.inbox.clear();
        self.promises.postpone(u64::MAX / 2);
        // Who was to be left behind when it died stays so until it is back.
        for excused in self.checks.excused.iter_mut().filter(|excused| self.t < **excused) {
            *excused = u64::MAX;
        }
        for member in &mut self.members {
            member.link.up = false;
            member.link.generation += 1;
        }
        let wait = match self.chance.below(4) {
            0 => self.chance.between(40_000, 70_000),
            _ => self.chance.between(100, 5_000),
        };
        self.later(self.t + wait, Happening::ServerStarts);
    }

    /// The server gives no keys and numbers any more in the epochs from before.
    pub(crate) fn begins_anew(&mut self) {
        self.anew = self.t;
        for member in &mut self.members {
            if member.views.iter().all(|view| view.prepared) {
                // It has nothing from before, and the new epoch may wait for room and for others.
                member.excused = member.excused.max(self.t + 35_000);
            }
        }
    }

    /// What is on disk is what the server goes on from.
    pub(crate) fn begin_rulebook(&mut self, taken: Option<u64>) {
        for group in &self.disk.stored.groups {
            self.rulebook.begin(group, taken, self.t);
        }
    }

    pub(crate) fn start_server(&mut self) {
        if self.server.is_some() {
            return;
        }
        let old = self.plan.backups && !self.backups.is_empty() && self.chance.happens(300);
        let old = old && self.t + 100_000 < self.quiet_from.max(200_000);
        if old {
            let which = self.chance.below(self.backups.len());
            self.disk = self.backups[which].clone();
            self.promises.forget();
        }
        for excused in self.checks.excused.iter_mut().filter(|excused| **excused == u64::MAX) {
            *excused = self.t + 25_000;
        }
        self.tell(|| format!("the server starts{}", if old { " from a backup" } else { "" }));
        let now = self.server_time();
        let chance = self.chance.split();
        if self.plan.snapshots {
            self.log.begin(&self.disk, &chance, now);
        }
        let server = Server::new(self.disk.stored.clone(), Box::new(Source::new(chance)), now);
        match old {
            true => self.checks.went_back(&server, now, self.t),
            false => self.checks.remembered(&server, now),
        }
        self.begin_rulebook(None);
        self.server = Some(server);
        self.server_since = self.t;
        self.promises.postpone(self.t);
        if self.plan.crashes && self.t < self.quiet_from && self.chance.happens(250) {
            self.doom();
        }
        self.server_turn();
        if self.server.is_none() {
            return;
        }
        self.begins_anew();
        for who in 0..self.plan.boxes {
            if !self.members[who].link.cut {
                self.break_link(who);
            }
        }
    }
}
