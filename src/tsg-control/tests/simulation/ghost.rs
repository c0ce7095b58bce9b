//! A revoked gateway that does not obey: it keeps what it held and goes on sealing and listening.

use crate::member::{Member, Secret};
use crate::packet::Packet;
use crate::plan::Plan;
use crate::services::Topic;
use crate::world::World;
use tsg_control::gateway::{KeyView, pseudo_time};
use tsg_control::keys::PublicKey;

pub(crate) struct Ghost {
    pub(crate) who: usize,
    pub(crate) key: PublicKey,
    /// It was let in again.
    pub(crate) back: bool,
    revoked: u64,
    revoke_delay: u64,
    /// For messages on their way, and what a jump of the server's clock hides.
    slack: u64,
    /// What it held, with pseudo-time at the moment of its revocation.
    held: Vec<(KeyView, u32)>,
}

impl Ghost {
    pub(crate) fn of(member: &Member, t: u64, revoke_delay: u64, plan: &Plan) -> Self {
        let local = member.local(t);
        let held = member.gateway.keys(local).into_iter();
        let held = held.filter_map(|view| {
            let time = pseudo_time(local, view.origin?);
            Some((view, time))
        });
        let slack = 300 + 12 * plan.delay + if plan.jumps { 3_000 } else { 0 };
        Self {
            who: member.index,
            key: member.key,
            back: false,
            revoked: t,
            revoke_delay,
            slack,
            held: held.collect(),
        }
    }

    pub(crate) fn holds(&self, tek: &Secret) -> bool {
        self.held.iter().any(|(view, _)| view.tek.expose() == tek)
    }

    /// From when on this member must not hear it; `None` if it was not reached by then.
    pub(crate) fn deadline(&self, member: &Member, server_since: u64, harsh: bool) -> Option<u64> {
        let link = &member.link;
        let mut at = self.revoked + self.revoke_delay;
        if server_since > self.revoked {
            at = at.max(server_since + 3_000 + self.revoke_delay);
        }
        if link.since > self.revoked {
            at = at.max(link.since);
        }
        at += 1_000 + self.slack + if harsh { 40_000 } else { 0 };
        // In a harsh network the answer to who connects may be lost, and the next try is far.
        let is_reached = link.up && (!harsh || member.is_member());
        (is_reached || member.knew >= at).then_some(at)
    }
}

impl World {
    pub(crate) fn talk_as_ghost(&mut self, who: usize) {
        let Some(ghost) = self.checks.ghosts.iter().find(|ghost| ghost.who == who) else { return };
        let since = self.t - ghost.revoked;
        let topic = Topic::some(who, self.chance.below(self.plan.boxes), &mut self.chance);
        let packet = |(view, time): &(KeyView, u32)| Packet {
            from: who,
            honest: false,
            ghost: true,
            number: u64::MAX,
            sequence: since,
            replayed: false,
            sent: self.t,
            counts: false,
            epoch: view.id,
            tek: *view.tek.expose(),
            sender: view.senders.first().copied().unwrap_or(1),
            pseudo: time.wrapping_add(since as u32),
            topic,
            fell_back: false,
            error: 0,
        };
        let packets: Vec<_> = ghost.held.iter().map(packet).collect();
        for packet in packets {
            self.checks.stolen.insert((packet.tek, packet.sender));
            self.broadcast(packet);
        }
    }
}
