//! A virtual machine is resumed from a snapshot with memory. The server cannot be copied, so what
//! went into it is written down, and a second one lives through the same again.

use crate::disk::Disk;
use crate::orders::Order;
use crate::random::Chance;
use crate::world::World;
use std::sync::{Arc, Mutex, PoisonError};
use tsg_control::keys::PublicKey;
use tsg_control::message::ToServer;
use tsg_control::server::{Random, Server};

/// The machine's source of random numbers: after a snapshot it gives other ones.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<Mutex<Chance>>);

impl Source {
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Arc::new(Mutex::new(chance)))
    }
}

impl Random for Source {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Message(PublicKey, ToServer),
    Timeout,
    ClockJump,
    Order(Order),
}

impl Input {
    pub(crate) fn apply(self, server: &mut Server, now: u64) {
        match self {
            Self::Message(key, message) => server.handle_message(key, message, now),
            Self::Timeout => server.handle_timeout(now),
            Self::ClockJump => server.handle_clock_jump(now),
            Self::Order(order) => drop(order.apply(server, now)),
        }
    }
}

/// Everything that went into the server since it started, until a snapshot was taken.
#[derive(Debug, Default)]
pub(crate) struct Log {
    start: Option<(Disk, Chance, u64)>,
    inputs: Vec<(u64, Input)>,
    snapshot: Option<Snapshot>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    disk: Disk,
    server_time: u64,
    /// In true time.
    taken: u64,
}

impl Log {
    pub(crate) fn begin(&mut self, disk: &Disk, chance: &Chance, now: u64) {
        let start = Some((disk.clone(), chance.clone(), now));
        *self = Self { start, ..Self::default() };
    }

    const fn records(&self) -> bool {
        self.start.is_some() && self.snapshot.is_none()
    }

    pub(crate) fn note(&mut self, order: &Order, now: u64) {
        if self.records() {
            self.inputs.push((now, Input::Order(order.clone())));
        }
    }

    pub(crate) fn note_input(&mut self, input: impl FnOnce() -> Input, now: u64) {
        if self.records() {
            self.inputs.push((now, input()));
        }
    }
}

impl World {
    /// The first time a snapshot is taken, the next time the machine is resumed from it.
    pub(crate) fn snapshot(&mut self) {
        let server_time = self.server_time();
        if self.server.is_none() || self.log.start.is_none() {
            return;
        }
        if self.log.snapshot.is_none() {
            self.tell(|| "a snapshot of the server's machine is taken".to_owned());
            let (disk, taken) = (self.disk.clone(), self.t);
            self.log.snapshot = Some(Snapshot { disk, server_time, taken });
            return;
        }
        let log = std::mem::take(&mut self.log);
        let (Some((disk, chance, started)), Some(snapshot)) = (log.start, log.snapshot) else {
            return;
        };
        self.tell(|| "the server's machine is resumed from a snapshot".to_owned());
        let source = Source::new(chance);
        let mut server = Server::new(disk.stored, Box::new(source.clone()), started);
        for (now, input) in log.inputs {
            input.apply(&mut server, now);
            while server.poll_record().is_some() {}
            while server.poll_transmit().is_some() {}
            while server.poll_announcement().is_some() {}
            while server.poll_event().is_some() {}
        }
        *source.0.lock().unwrap_or_else(PoisonError::into_inner) = self.chance.split();
        self.checks.went_back(&server, self.server_time(), self.t);
        self.server = Some(server);
        self.disk = snapshot.disk;
        self.begin_rulebook(Some(snapshot.taken));
        self.dies_after = None;
        self.inbox.clear();
        // Nobody has told the machine that time has passed.
        self.server_ahead -= server_time.cast_signed() - snapshot.server_time.cast_signed();
        self.resumed = self.t;
        self.begins_anew();
        self.checks.tally.snapshots += 1;
        self.checks.resumed(&self.members);
        self.promises.forget();
        for who in 0..self.plan.boxes {
            if !self.members[who].link.cut {
                self.break_link(who);
            }
        }
        self.server_turn();
    }
}
