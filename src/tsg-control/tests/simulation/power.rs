//! Boxes lose power: what is in RAM is gone, the clock begins anew, and only what lies on flash is
//! left (docs/decisions/0009).

use crate::agenda::Happening;
use crate::flash::PATIENCE;
use crate::packet::Packet;
use crate::world::World;
use std::rc::Rc;

/// How often a daemon looks after its flash.
const TICK: u64 = 1_000;

/// So many packets of just before a power cut are played after it.
const TAPED: usize = 10;

impl World {
    /// One box loses power, or all of them; after that the key server may be out of reach for a while.
    pub(crate) fn power_cut(&mut self, who: usize) {
        if self.t > self.quiet_from {
            return;
        }
        let all = self.chance.happens(100);
        let boxes = if all { 0..self.plan.boxes } else { who..who + 1 };
        let back = self.t + self.chance.between(500, 25_000);
        let alone = self.chance.happens(700).then(|| back + self.chance.between(3_000, 60_000));
        for who in boxes {
            self.power_off(who, back, alone);
        }
    }

    fn power_off(&mut self, who: usize, back: u64, alone: Option<u64>) {
        let member = &mut self.members[who];
        if member.is_off {
            return;
        }
        member.power_off(self.t);
        member.tape = self.recorded.iter().rev().take(TAPED).cloned().collect();
        member.link.up = false;
        member.link.cut = true;
        member.link.generation += 1;
        self.tell(|| format!("box {who} loses power until {back}, is alone until {alone:?}"));
        self.later(back, Happening::Power { who, alone });
    }

    /// The power is back, unless it was before.
    pub(crate) fn power_on(&mut self, who: usize, alone: Option<u64>) {
        let member = &mut self.members[who];
        if !member.is_off {
            return;
        }
        member.link.cut = false;
        let tape = std::mem::take(&mut member.tape);
        if let Some(until) = alone {
            self.cut(who, until.min(self.quiet_from.max(self.t)));
        }
        self.restart(who, true, None);
        self.play(who, &tape);
        // Troubles come together.
        if alone.is_some() && self.chance.happens(300) {
            let again = self.t + PATIENCE + self.chance.between(0, 10_000);
            self.later(again, Happening::PowerCut(who));
        }
    }

    /// What was said just before the power cut, when keys of before it may be in use again.
    fn play(&mut self, to: usize, tape: &[Rc<Packet>]) {
        for packet in tape {
            for wait in [PATIENCE, PATIENCE + 2_000, 15_000, 40_000] {
                let at = self.t + wait + self.chance.between(0, 1_500);
                self.later(at, Happening::Packet { to, packet: Rc::clone(packet) });
            }
        }
    }

    /// A daemon looks after its flash.
    pub(crate) fn tend_flash(&mut self, who: usize) {
        self.later(self.t + TICK, Happening::Flash(who));
        let member = &mut self.members[who];
        let (local, senders) = (member.local(self.t), member.workers());
        let Some(flash) = member.flash.as_mut().filter(|_| !member.is_off) else { return };
        flash.keep_times(&member.gateway, local);
        if flash.take_up(&mut member.gateway, senders, local) {
            self.checks.tally.taken_up += 1;
            self.tell(|| format!("box {who} goes on with the keys of before the power cut"));
            self.gateway_turn(who);
        }
    }
}
