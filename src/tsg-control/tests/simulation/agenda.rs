//! What is going to happen, in the order of time.

use crate::frame::Frame;
use crate::packet::{Packet, Plain};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;
use tsg_control::message::{ToGateway, ToServer};

#[derive(Debug)]
pub(crate) enum Happening {
    ToServer {
        from: usize,
        generation: u64,
        frame: Frame<ToServer>,
    },
    ToGateway {
        to: usize,
        generation: u64,
        frame: Frame<ToGateway>,
    },
    Connected {
        who: usize,
        generation: u64,
    },
    Heal(usize),
    /// A box sends a packet to others.
    Talk(usize),
    Packet {
        to: usize,
        packet: Rc<Packet>,
    },
    /// Something arrives in clear.
    InClear {
        to: usize,
        packet: Plain,
    },
    /// The power of a box is back; until `alone` the key server is out of its reach.
    Power {
        who: usize,
        alone: Option<u64>,
    },
    PowerCut(usize),
    /// A daemon looks after its flash.
    Flash(usize),
    ServerReads,
    ServerStarts,
    /// A hostile member does something.
    Mischief(usize),
    /// What is due is looked at.
    Audit,
    /// An operator, a cable or a power supply does something.
    Trouble,
    /// A gateway wants to be called, unless it has thought of another time since.
    Timer {
        who: usize,
        due: u64,
    },
    ServerTimer(u64),
}

/// What happens next comes first; what was planned first, of what happens at once.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    queue: BinaryHeap<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    what: Happening,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: u64, what: Happening) {
        self.count += 1;
        self.queue.push(Entry { at, number: self.count, what });
    }

    /// The next thing to happen until `end`, and when.
    pub(crate) fn next(&mut self, end: u64) -> Option<(u64, Happening)> {
        if self.queue.peek()?.at > end {
            return None;
        }
        self.queue.pop().map(|entry| (entry.at, entry.what))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
