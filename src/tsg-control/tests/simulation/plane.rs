//! What the boxes say to each other: packets from one to all others, past the key server.

use crate::agenda::Happening;
use crate::member::{Opened, Packet};
use crate::world::World;

impl World {
    pub(crate) fn talk(&mut self, who: usize) {
        let again = self.t + self.chance.between(self.plan.pause / 2, self.plan.pause * 3 / 2);
        self.later(again, Happening::Talk(who));
        self.talk_as_ghost(who);
        self.forge(who);
        let member = &mut self.members[who];
        if member.viewed + 1_000 < self.t {
            member.look(self.t);
        }
        let Some(mut packet) = member.seal(self.t, &mut self.chance) else {
            self.checks.mute(member, self.t, self.plan.harsh || self.server.is_none());
            return;
        };
        packet.counts = member.is_member() && self.t >= member.excused;
        self.checks.sealed(member, &packet);
        self.checks.ghosts_hear(
            &packet,
            &self.members[who].link,
            self.server_since,
            self.plan.harsh,
        );
        self.broadcast(&packet);
    }

    pub(crate) fn broadcast(&mut self, packet: &Packet) {
        let at = self.t + self.chance.between(1, 5);
        let (boxes, hearers) = (self.plan.boxes, self.plan.hearers);
        let first = self.chance.below(boxes);
        let others = (first..first + boxes).map(|to| to % boxes);
        for to in others.filter(|&to| to != packet.from).take(hearers) {
            self.later(at, Happening::Packet { to, packet: packet.clone() });
        }
    }

    pub(crate) fn arrives(&mut self, to: usize, packet: &Packet) {
        let member = &mut self.members[to];
        if member.viewed + 1_000 < self.t {
            member.look(self.t);
        }
        let opened = member.open(packet, self.t);
        let local = member.local(self.t);
        match opened {
            Opened::Yes { prepared } => {
                self.checks.opened(member, packet, self.t, self.server_since, self.plan.harsh);
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
            | Opened::PolicyUnknown => {}
        }
        self.lost_unless(to, packet, opened);
    }
}
