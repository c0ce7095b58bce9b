//! The way between gateways and server. Over TCP a connection breaks as a whole and takes along
//! what is on its way; a harsh network loses, doubles and reorders single messages too.

use crate::agenda::Happening;
use crate::frame::Frame;
use crate::world::World;
use tsg_control::message::{MAX_FRAME, ToGateway, ToServer};

impl World {
    /// Counts the messages.
    pub(crate) const fn messages(&mut self) -> u64 {
        self.messages += 1;
        self.messages
    }

    /// Single messages are lost, late and doubled now.
    pub(crate) const fn is_harsh(&self) -> bool {
        self.plan.harsh && self.t < self.quiet_from
    }

    /// When a message that is sent now arrives, in direction 0 (up) or 1 (down); `None` if never.
    fn arrival(&mut self, who: usize, direction: usize) -> Option<u64> {
        let now = self.t;
        let spike = if self.chance.happens(10) { self.plan.delay * 3 } else { 0 };
        let delay = 1 + self.chance.between(0, self.plan.delay) + spike;
        if self.is_harsh() {
            let late = if self.chance.happens(30) { self.chance.between(0, 3_000) } else { 0 };
            return (!self.chance.happens(50)).then_some(now + delay + late);
        }
        let last = &mut self.members[who].link.last[direction];
        *last = (now + delay).max(*last);
        Some(*last)
    }

    fn copies(&mut self) -> usize {
        if self.is_harsh() && self.chance.happens(50) { 2 } else { 1 }
    }

    pub(crate) fn send_to_server(&mut self, from: usize, frame: Frame<ToServer>) {
        let link = &mut self.members[from].link;
        if !link.up {
            if self.plan.queues && link.waiting.len() < 50 {
                link.waiting.push(frame);
            }
            return;
        }
        let generation = link.generation;
        for _ in 0..self.copies() {
            if let Some(at) = self.arrival(from, 0) {
                let frame = frame.clone();
                self.later(at, Happening::ToServer { from, generation, frame });
            }
        }
    }

    pub(crate) fn send_to_gateway(&mut self, to: usize, message: &ToGateway) {
        let link = &self.members[to].link;
        if !link.up {
            return;
        }
        let generation = link.generation;
        let frame = Frame::of(message, self.messages());
        for _ in 0..self.copies() {
            if let Some(at) = self.arrival(to, 1) {
                let frame = frame.clone();
                self.later(at, Happening::ToGateway { to, generation, frame });
            }
        }
    }

    /// The connection breaks; it comes back by itself unless the way is cut or the server down.
    pub(crate) fn break_link(&mut self, who: usize) {
        let wait = self.chance.between(50, 2_500);
        self.tell(|| format!("the connection of box {who} is down for {wait}"));
        let back = self.t + wait;
        let link = &mut self.members[who].link;
        link.up = false;
        link.generation += 1;
        let generation = link.generation;
        self.later(back, Happening::Connected { who, generation });
    }

    pub(crate) fn connected(&mut self, who: usize, generation: u64) {
        let server_up = self.server.is_some();
        let now = self.t;
        let link = &mut self.members[who].link;
        if link.generation != generation || link.cut || !server_up {
            return;
        }
        link.up = true;
        link.since = now;
        link.last = [now; 2];
        for frame in std::mem::take(&mut link.waiting) {
            self.send_to_server(who, frame);
        }
        let local = self.members[who].local(now);
        self.members[who].gateway.handle_connected(local);
        self.gateway_turn(who);
    }

    pub(crate) fn cut(&mut self, who: usize, until: u64) {
        self.tell(|| format!("box {who} is cut off until {until}"));
        let link = &mut self.members[who].link;
        link.up = false;
        link.cut = true;
        link.generation += 1;
        self.members[who].excused = until + 60_000;
        self.later(until, Happening::Heal(who));
    }

    pub(crate) fn heal(&mut self, who: usize) {
        if self.members[who].is_off {
            return;
        }
        self.members[who].link.cut = false;
        self.break_link(who);
    }

    pub(crate) fn at_gateway(&mut self, to: usize, generation: u64, frame: Frame<ToGateway>) {
        if self.members[to].link.generation != generation {
            return;
        }
        let member = &mut self.members[to];
        let message = frame.read(MAX_FRAME).unwrap();
        let local = member.local(self.t);
        member.gateway.handle_message(message, local);
        self.gateway_turn(to);
    }
}
