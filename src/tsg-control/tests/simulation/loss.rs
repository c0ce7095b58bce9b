//! Nothing is lost between members that are reached, whatever else happens: no packet that one seals
//! or lets out, and none that every policy in use carries.

use crate::checks::brief;
use crate::packet::{Opened, Packet, Plain};
use crate::promises::PATIENCE;
use crate::services::Topic;
use crate::world::World;

/// Who missed a lot in a harsh network has to hear it first.
const CATCHING_UP: u64 = 15_000;

impl World {
    /// 2: what one member seals another opens.
    pub(crate) fn lost_unless(&mut self, to: usize, packet: &Packet, opened: Opened) {
        let (member, from) = (&self.members[to], &self.members[packet.from]);
        if !packet.honest || packet.replayed || member.is_hostile() {
            return;
        }
        let judged = self.is_judged(to, packet.from, packet.counts);
        self.checks.tally.came += u64::from(self.in_one_group(to, packet.from));
        self.checks.tally.judged += u64::from(judged);
        if !judged || matches!(opened, Opened::Yes { wanted: true, .. }) {
            return;
        }
        let lacks = matches!(opened, Opened::UnknownEpoch | Opened::NoTime);
        let early = lacks && self.checks.early.contains(&packet.tek);
        let again = opened == Opened::Replayed
            && (packet.sent < from.restarted
                || self.checks.heard.contains(&(packet.number, to))
                || self.checks.stolen.contains(&(packet.tek, packet.sender)));
        // Its time is over, by a clock that is ahead of the sender's within what is known of it.
        let over = matches!(opened, Opened::UnknownEpoch | Opened::Over)
            && member.views.iter().all(|view| view.prepared)
            && self.server.is_none();
        // A server that is away, or has just started, gives no numbers in the epoch in force. Who
        // has used its own up goes on in one before it, which who has booted since never had.
        let older = opened == Opened::UnknownEpoch
            && packet.fell_back
            && !member.held.contains(&packet.tek)
            && (self.server.is_none() || self.t < self.anew + PATIENCE);
        self.checks.demand(early || again || over || older, self.t, || {
            format!(
                "box {to} loses a packet of box {} in epoch {} sender {}, {:?}: {opened:?}; it has {:?}, policies {:?}; the other {:?}",
                packet.from,
                packet.epoch,
                packet.sender,
                packet.topic,
                brief(&member.views),
                member.gateway.policies().iter().map(|p| (p.version, p.stage)).collect::<Vec<_>>(),
                brief(&from.views),
            )
        });
    }

    /// 2: what one member lets out in clear another lets in.
    pub(crate) fn lost_in_clear(&self, to: usize, packet: Plain) {
        let judged = self.is_judged(to, packet.from, packet.counts);
        self.checks.demand(!judged, self.t, || {
            format!(
                "box {to} loses {packet:?} in clear: {:?}; the other has {:?}",
                self.members[to].gateway.policies(),
                self.members[packet.from].gateway.policies()
            )
        });
    }

    /// 2: what all versions carry is not stopped by a member.
    pub(crate) fn stopped(&self, who: usize, topic: Topic) {
        let Some((group, _)) = self.members[who].gateway.names() else { return };
        let carried = || self.rulebook.carries(group, &topic.flow(), self.since(who), self.t);
        self.checks.demand(!self.is_fit(who) || !carried(), self.t, || {
            format!("box {who} stops {topic:?}, {:?}", self.members[who].gateway.policies())
        });
    }

    /// 2: a member can seal.
    pub(crate) fn mute(&self, who: usize) {
        let (member, t) = (&self.members[who], self.t);
        let harsh = self.plan.harsh && t < self.quiet_from + CATCHING_UP;
        // Numbers cannot come from a server that it does not reach, nor, in epochs from before, from
        // one that has just started.
        let dry = member.is_dry && (!member.is_reached(t, 5_000) || t < self.anew + PATIENCE);
        let excused = t < member.excused.max(self.checks.excused(member.group.as_deref()));
        let judged = member.is_member() && !member.is_hostile() && self.server.is_some();
        self.checks.demand(!judged || harsh || dry || excused, t, || {
            format!("box {who} has nothing to seal with: {:?}", brief(&member.views))
        });
    }

    /// A packet of `from`, which was fit to be heard by all, may not be lost.
    fn is_judged(&self, to: usize, from: usize, counts: bool) -> bool {
        counts && self.in_one_group(to, from) && self.is_fit(to)
    }

    fn in_one_group(&self, to: usize, from: usize) -> bool {
        let names = |who: usize| self.members[who].gateway.names();
        names(to).zip(names(from)).is_some_and(|(one, other)| one.0 == other.0)
    }

    /// This member was let in and is reached, and nothing happened that excuses it.
    fn is_fit(&self, who: usize) -> bool {
        let member = &self.members[who];
        let excused = member.excused.max(self.checks.excused(member.group.as_deref()));
        member.is_member() && self.t >= excused && !self.plan.harsh
    }
}
