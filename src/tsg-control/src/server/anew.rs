//! What makes a server begin anew while it runs: its clock or its memory is not what it was.

use super::group::Group;
use super::{Random, Server, strangers, worth_a_line};
use crate::keys::PublicKey;
use crate::message::{Heartbeat, Held};
use crate::timeline::MOST_LIVE;

/// The server takes at most one member's word in this many milliseconds that its memory is of
/// yesterday.
const ROLLBACK_AGAIN: u64 = 60_000;

impl Server {
    /// The server's clock made a jump: `now` counts differently from here on. Times of epochs made
    /// before would mean something else, so every group gets a new one.
    pub fn handle_clock_jump(&mut self, now: u64) {
        self.warn("the clock jumped: every group gets a new epoch".to_owned());
        self.rolled_back = None;
        for session in self.gateways.values_mut().filter_map(|gateway| gateway.session.as_mut()) {
            session.heard = now;
            session.sent_at = now;
            session.reported = None;
            session.map_sent_at = now;
        }
        self.begin_anew(now);
    }

    /// A member is in a newer state of this very process than this process knows, or has sender
    /// numbers that come next: the server's machine was resumed from a snapshot. What it handed out
    /// since then it would hand out again, and members would ignore what it sends as old. So it goes
    /// on as if it had just been started. Gives whether it did.
    pub(super) fn notice_rollback(
        &mut self,
        from: PublicKey,
        heartbeat: &Heartbeat,
        now: u64,
    ) -> bool {
        let Some(gateway) = self.gateways.get_mut(&from) else { return false };
        let Some(group) = self.groups.get_mut(&gateway.record.group) else { return false };
        let ours = heartbeat.instance == self.instance;
        let ahead = ours && gateway.settled && heartbeat.revision > group.revision;
        let soon = self.rolled_back.is_some_and(|at| now < at.saturating_add(ROLLBACK_AGAIN));
        if !(ahead || has_more_than_was_given(group, heartbeat)) || soon {
            return false;
        }
        if !gateway.belief.take(now) {
            return false;
        }
        let holds = heartbeat.holds.iter().take(MOST_LIVE + 1);
        group.count_on_from(holds.map(|held| held.epoch).max().unwrap_or(0));
        let text = format!(
            "{} has what this server has not made yet: was the server's machine resumed from a \
             snapshot? Every group gets a new epoch",
            gateway.record.name
        );
        self.warn(text);
        self.rolled_back = Some(now);
        self.instance = number(self.random.as_mut());
        for gateway in self.gateways.values_mut() {
            gateway.session = None;
        }
        self.begin_anew(now);
        true
    }

    /// Nothing more is handed out of what was made until now.
    fn begin_anew(&mut self, now: u64) {
        self.clock = number(self.random.as_mut());
        self.started = now;
        self.strangers = strangers(now);
        self.wrong_tokens = worth_a_line(now);
        self.unreadable = worth_a_line(now);
        for gateway in self.gateways.values_mut() {
            gateway.belief.rebase(self.latest, now);
        }
        for stranger in self.pending.values_mut() {
            (stranger.first, stranger.last) = (now, now);
        }
        for group in self.groups.values_mut() {
            group.rebase(self.latest, now);
        }
        self.latest = now;
        self.advance(now);
    }
}

/// It seals under a number that this process has not handed out yet, in an epoch that it made.
fn has_more_than_was_given(group: &Group, heartbeat: &Heartbeat) -> bool {
    let sealing = |held: &&Held| held.epoch == heartbeat.sealing;
    let Some(held) = heartbeat.holds.iter().find(sealing) else { return false };
    group
        .epochs
        .live()
        .iter()
        .filter_map(|entry| entry.item.made.as_ref())
        .any(|made| made.check == held.check && heartbeat.sender >= made.next_sender)
}

/// A random number that is not 0.
pub(super) fn number(random: &mut dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_le_bytes(bytes) | 1
}
