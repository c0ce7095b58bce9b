//! What the boxes say to each other: packets from one to others, past the key server, over a
//! network that may lose, double and delay them; and somebody who records and replays them.

use crate::agenda::Happening;
use crate::member::{Opened, Packet};
use crate::world::World;

/// A recording is played again after this long: beyond every window.
pub(crate) const LATER: u64 = 10_000;

/// So many packets are kept for a gateway that starts again.
const RECORDED: usize = 40;

impl World {
    pub(crate) fn talk(&mut self, who: usize) {
        let again = self.t + self.chance.between(self.plan.pause / 2, self.plan.pause * 3 / 2);
        self.later(again, Happening::Talk(who));
        self.talk_as_ghost(who);
        self.forge(who);
        let count = if self.plan.ends { 1 << self.chance.between(22, 28) } else { 1 };
        // A server that has just started gives no numbers in epochs from before.
        let dry = self.members[who].is_dry && self.t < self.anew + 50_000;
        let (t, alone) = (self.t, dry || self.is_harsh() || self.server.is_none());
        let member = &mut self.members[who];
        if member.viewed + 1_000 < t {
            member.look(t);
        }
        let mut notes = Vec::new();
        let sealing = member.views.iter().find(|view| view.sealing).map_or(0, |view| view.id);
        let sealed = member.seal(t, count, &mut self.chance, &mut notes);
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
            self.checks.mute(&self.members[who], t, alone);
        }
    }

    fn send(&mut self, who: usize, mut packet: Packet) {
        let (t, member) = (self.t, &self.members[who]);
        packet.counts = member.is_member() && t >= member.excused;
        packet.number = self.checks.tally.sealed;
        self.checks.sealed(member, &packet);
        let link = &self.members[who].link;
        self.checks.ghosts_hear(&packet, link, self.server_since, self.plan.harsh);
        self.broadcast(&packet);
        self.record(&packet);
    }

    pub(crate) fn broadcast(&mut self, packet: &Packet) {
        let at = self.t + self.chance.between(1, 5);
        let (boxes, hearers) = (self.plan.boxes, self.plan.hearers);
        let first = self.chance.below(boxes);
        let others = (first..first + boxes).map(|to| to % boxes);
        for to in others.filter(|&to| to != packet.from).take(hearers) {
            for at in self.ways(at) {
                self.later(at, Happening::Packet { to, packet: packet.clone() });
            }
        }
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

    fn record(&mut self, packet: &Packet) {
        let recording = Packet { replayed: true, ..packet.clone() };
        if self.chance.happens(30) {
            let to = self.chance.below(self.plan.boxes);
            let at = self.t + LATER + self.chance.between(0, 3_000);
            self.later(at, Happening::Packet { to, packet: recording.clone() });
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
                self.later(self.t + wait, Happening::Packet { to, packet: packet.clone() });
            }
        }
    }

    pub(crate) fn arrives(&mut self, to: usize, packet: &Packet) {
        let (t, resumed) = (self.t, self.resumed);
        let member = &mut self.members[to];
        if member.viewed + 1_000 < t {
            member.look(t);
        }
        let opened = member.open(packet, t);
        let local = member.local(t);
        match opened {
            Opened::Yes { prepared } => {
                self.checks.once(member, packet, t, resumed);
                self.checks.opened(member, packet, t, self.server_since, self.plan.harsh);
                if prepared {
                    member.gateway.handle_authentic(packet.epoch, local);
                    self.gateway_turn(to);
                }
            }
            Opened::UnknownEpoch => {
                member.gateway.handle_unknown_epoch(local);
                self.gateway_turn(to);
            }
            Opened::WrongKey
            | Opened::SenderTooHigh
            | Opened::NoTime
            | Opened::Over
            | Opened::NotFresh
            | Opened::Replayed
            | Opened::PolicyUnknown => {}
        }
        self.lost_unless(to, packet, opened);
    }
}
