//! What the boxes say to each other: packets from one to others, past the key server, over a
//! network that may lose, double and delay them; and somebody who records and replays them.

use crate::agenda::Happening;
use crate::datapath::Judgement;
use crate::packet::{Opened, Packet};
use crate::services::Topic;
use crate::world::World;
use std::rc::Rc;

/// A recording is played again after this long: beyond every window.
pub(crate) const LATER: u64 = 10_000;

/// So many packets are kept for a gateway that starts again.
const RECORDED: usize = 40;

impl World {
    pub(crate) fn talk(&mut self, who: usize) {
        let again = self.t + self.chance.between(self.plan.pause / 2, self.plan.pause * 3 / 2);
        self.later(again, Happening::Talk(who));
        self.talk_as_ghost(who);
        if self.members[who].is_off {
            return;
        }
        self.forge(who);
        if self.chance.happens(60) {
            self.inject();
        }
        self.note_knowledge(who);
        self.look_soon(who);
        let topic = Topic::some(who, self.chance.below(self.plan.boxes), &mut self.chance);
        match self.members[who].judge_outbound(topic) {
            Judgement::Seal => self.say_sealed(who, topic),
            Judgement::Clear => self.say_in_clear(who, topic),
            Judgement::Drop => self.stopped(who, topic),
        }
        if !self.members[who].has_key(self.t) {
            self.mute(who);
        }
    }

    /// What it knows of its keys is a second old at most.
    pub(crate) fn look_soon(&mut self, who: usize) {
        let member = &mut self.members[who];
        if member.viewed + 1_000 < self.t {
            member.look(self.t);
        }
    }

    fn say_sealed(&mut self, who: usize, topic: Topic) {
        let count = if self.plan.ends { 1 << self.chance.between(22, 28) } else { 1 };
        let t = self.t;
        let member = &mut self.members[who];
        let mut notes = Vec::new();
        let sealing = member.views.iter().find(|view| view.sealing).map_or(0, |view| view.id);
        let sealed = member.seal(topic, t, count, &mut self.chance, &mut notes);
        let mute = sealed.is_none();
        if let Some(packet) = sealed {
            self.send(who, packet);
        }
        if !notes.is_empty() {
            let (worn, ended) = self.members[who].tell_of_numbers(sealing, &notes, t);
            self.checks.tally.worn += worn;
            self.checks.tally.ended += ended;
            self.gateway_turn(who);
        }
        if mute {
            self.mute(who);
        }
    }

    /// A stale packet is answered by a dummy packet, which brings the time.
    fn tell_time(&mut self, who: usize, stale: &Packet) {
        let member = &mut self.members[who];
        if stale.topic.to() == who && !stale.replayed && member.is_asked_for_time(stale, self.t) {
            self.say_sealed(who, stale.topic.answer());
        }
    }

    fn send(&mut self, who: usize, mut packet: Packet) {
        let (t, member) = (self.t, &self.members[who]);
        packet.counts = member.is_member() && t >= member.excused;
        packet.number = self.checks.tally.sealed;
        self.checks.sealed(member, &packet);
        self.checks.ghosts_hear(&packet, member, self.server_since, self.plan.harsh);
        let recording = Rc::new(Packet { replayed: true, ..packet.clone() });
        self.broadcast(packet);
        self.record(recording);
    }

    pub(crate) fn broadcast(&mut self, packet: Packet) {
        let packet = Rc::new(packet);
        for (to, at) in self.hearers(packet.from, packet.topic) {
            self.later(at, Happening::Packet { to, packet: Rc::clone(&packet) });
        }
    }

    /// Who hears a packet, and when: the box that it is for, and others.
    pub(crate) fn hearers(&mut self, from: usize, topic: Topic) -> Vec<(usize, u64)> {
        let at = self.t + self.chance.between(1, 5);
        let boxes = self.plan.boxes;
        let first = topic.to();
        let others = (first..first + boxes).map(|to| to % boxes).filter(|&to| to != from);
        let mut all = Vec::new();
        for to in others.take(self.plan.hearers) {
            all.extend(self.ways(at).into_iter().map(|at| (to, at)));
        }
        all
    }

    /// When a packet, and a copy of it, arrive on a bad day.
    fn ways(&mut self, at: u64) -> Vec<u64> {
        if !self.plan.rough {
            return vec![at];
        }
        let copies = [0, 2].get(self.chance.below(40)).copied().unwrap_or(1);
        let late = |chance: &mut crate::random::Chance| {
            if chance.happens(30) { chance.between(0, 1_500) } else { 0 }
        };
        (0..copies).map(|_| at + late(&mut self.chance)).collect()
    }

    fn record(&mut self, recording: Rc<Packet>) {
        if self.chance.happens(30) {
            let to = self.chance.below(self.plan.boxes);
            let at = self.t + LATER + self.chance.between(0, 3_000);
            self.later(at, Happening::Packet { to, packet: Rc::clone(&recording) });
        }
        self.recorded.push_back(recording);
        if self.recorded.len() > RECORDED {
            self.recorded.pop_front();
        }
    }

    /// What was said in the last seconds is played to a gateway that starts again.
    pub(crate) fn replay(&mut self, to: usize) {
        let fresh: Vec<_> =
            self.recorded.iter().filter(|p| p.sent + 3_000 > self.t).cloned().collect();
        for packet in fresh {
            for wait in [1, 500, 1_500, 3_000] {
                let wait = wait + self.chance.between(0, 400);
                self.later(self.t + wait, Happening::Packet { to, packet: Rc::clone(&packet) });
            }
        }
    }

    pub(crate) fn arrives(&mut self, to: usize, packet: &Packet) {
        let (t, resumed) = (self.t, self.resumed);
        if self.members[to].is_off {
            return;
        }
        self.look_soon(to);
        let member = &mut self.members[to];
        let opened = member.open(packet, t);
        let local = member.local(t);
        match opened {
            Opened::Yes { prepared, later, .. } => {
                self.checks.once(member, packet, t, resumed);
                self.checks.opened(member, packet, t, self.server_since, self.plan.harsh);
                if prepared {
                    member.gateway.handle_authentic(packet.epoch, local);
                }
                if later {
                    member.gateway.handle_later(packet.epoch, packet.pseudo, local);
                    self.checks.tally.told_time += 1;
                }
                if prepared || later {
                    self.gateway_turn(to);
                }
            }
            Opened::UnknownEpoch => {
                member.gateway.handle_unknown_epoch(local);
                self.gateway_turn(to);
            }
            Opened::NotFresh => self.tell_time(to, packet),
            Opened::WrongKey
            | Opened::SenderTooHigh
            | Opened::NoTime
            | Opened::Over
            | Opened::Replayed => {}
        }
        self.lost_unless(to, packet, opened);
    }
}
