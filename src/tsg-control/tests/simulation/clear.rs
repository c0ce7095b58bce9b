//! Packets in clear: who lets them out, who lets them in, and that nothing goes in clear that no
//! policy lets go.

use crate::agenda::Happening;
use crate::packet::Plain;
use crate::services::Topic;
use crate::world::World;

/// A harsh network loses a state and its repetition, so long.
const HARSH: u64 = 40_000;

impl World {
    /// How long news of the server take to reach a member that is connected.
    pub(crate) const fn slack(&self) -> u64 {
        300 + 12 * self.plan.delay + if self.plan.harsh { HARSH } else { 0 }
    }

    /// This member knows what the server says.
    fn knows(&self, who: usize) -> bool {
        let member = &self.members[who];
        let connected = member.link.up && self.t >= member.link.since + self.slack();
        let inside = member.is_member() && !self.checks.is_out(who, true);
        connected && inside && self.t >= self.resumed + self.unnoticed()
    }

    /// So long after the server's machine was resumed from a snapshot its members may believe it to
    /// be late.
    const fn unnoticed(&self) -> u64 {
        if self.resumed == 0 { 0 } else { 60_000 }
    }

    /// Until when a member knew all that the server said.
    pub(crate) fn note_knowledge(&mut self, who: usize) {
        if self.knows(who) {
            self.members[who].knew = self.t;
        }
    }

    pub(crate) fn since(&self, who: usize) -> u64 {
        let knew = if self.knows(who) { self.t } else { self.members[who].knew };
        knew.saturating_sub(self.slack())
    }

    /// 10: a gateway that obeys sends in clear what some policy version lets go in clear.
    pub(crate) fn say_in_clear(&mut self, who: usize, topic: Topic) {
        let (member, t) = (&self.members[who], self.t);
        if let Some((group, _)) = member.gateway.names() {
            let flow = topic.flow();
            let fine = self.rulebook.sends_in_clear(group, &flow, self.since(who), t);
            self.checks.demand(fine, t, || {
                format!("box {who} sends in clear: {topic:?}, {:?}", member.gateway.policies())
            });
        }
        let counts = member.is_member() && t >= member.excused;
        self.spread(Plain { from: who, topic, counts });
    }

    /// Somebody on the plant network sends what comes to mind.
    pub(crate) fn inject(&mut self) {
        let (from, to) = (self.chance.below(self.plan.boxes), self.chance.below(self.plan.boxes));
        let topic = Topic::some(from, to, &mut self.chance);
        self.spread(Plain { from, topic, counts: false });
    }

    fn spread(&mut self, packet: Plain) {
        for (to, at) in self.hearers(packet.from, packet.topic) {
            self.later(at, Happening::InClear { to, packet });
        }
    }

    pub(crate) fn arrives_in_clear(&mut self, to: usize, packet: Plain) {
        let t = self.t;
        if self.members[to].is_off {
            return;
        }
        self.look_soon(to);
        let member = &self.members[to];
        if member.is_hostile() {
            return;
        }
        let flow = packet.topic.flow();
        if !member.lets_in(&flow) {
            self.checks.tally.refused += 1;
            return self.lost_in_clear(to, packet);
        }
        self.checks.tally.let_in += 1;
        let Some((group, _)) = member.gateway.names() else { return };
        let fine = self.rulebook.lets_in(group, &flow, self.since(to), t);
        self.checks.demand(fine, t, || {
            format!("box {to} lets in {packet:?}, {:?}", member.gateway.policies())
        });
    }
}
