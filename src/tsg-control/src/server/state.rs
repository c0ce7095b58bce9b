//! What the key server sends its members: the state that each shall be in.

use super::group::MadeEpoch;
use super::record::PolicyRecord;
use super::session::Session;
use super::{Gateway, Server};
use crate::keys::PublicKey;
use crate::message::{
    self, Epoch, EpochKeys, GroupSettings, MAX_FRAME, PolicyVersion, Reading, State, TekField,
    ToGateway,
};
use crate::timeline::Stage;
use std::collections::BTreeSet;
use std::sync::Arc;
use tsg_esp::crypto::Suite;
use tsg_esp::spi::Spi;

/// One process of a gateway gets at most this many sender numbers in an epoch.
const MOST_GRANTED: usize = 256;

/// All processes of a gateway together get at most this many and a few: what one gateway can take,
/// the others lack.
const MOST_GIVEN: u32 = 4_096;

/// Maps that are sent at once name at most so many machines, all together.
const MOST_NAMED_AT_ONCE: usize = 1_000_000;

impl Server {
    /// Sends the state to every member that is online and was not sent the newest, and the map.
    pub(super) fn send_what_lacks(&mut self, name: &str, now: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let map_due = group.map_due.is_none_or(|at| now >= at);
        if map_due && group.map_due.take().is_some() {
            group.map_told = now;
        }
        let members: Vec<_> = group.members.iter().copied().collect();
        // A state can raise the revision once more; then all need it again.
        let mut revision = 0;
        while self.groups.get(name).is_some_and(|group| group.revision != revision) {
            revision = self.groups.get(name).map_or(0, |group| group.revision);
            for &key in &members {
                self.send_lacking(key, false, now);
            }
        }
        if map_due {
            self.send_maps(name, &members, now);
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.told = revision;
        }
    }

    /// Sends the map to members that are online and were not sent the newest. In a large group some have to wait until
    /// their next sign of life: all at once would take memory for each machine and each member.
    fn send_maps(&mut self, name: &str, members: &[PublicKey], now: u64) {
        self.gather_map(name);
        let machines = self.groups.get(name).map_or(0, |group| group.map.len());
        for &key in members.iter().take(MOST_NAMED_AT_ONCE / machines.max(1)) {
            self.send_lacking(key, true, now);
        }
    }

    /// Sends one member what it lacks.
    pub(super) fn send_lacking(&mut self, to: PublicKey, map_due: bool, now: u64) {
        let Some(gateway) = self.gateways.get(&to) else { return };
        let Some(group) = self.groups.get(&gateway.record.group) else { return };
        let Some(session) = gateway.online(now) else { return };
        let (state, map) = (session.sent < group.revision, session.map_sent < group.map_revision);
        if state {
            self.send_state(to, 0, now);
        }
        if map && map_due {
            self.send_map(to, now);
        }
    }

    /// Sends one member the state that it shall be in; `request` is what it asked, or 0.
    pub(super) fn send_state(&mut self, to: PublicKey, request: u64, now: u64) {
        let Some(gateway) = self.gateways.get_mut(&to) else { return };
        let Some(group) = self.groups.get_mut(&gateway.record.group) else { return };
        let Some(session) = gateway.session.as_mut() else { return };
        let first_open = group.first_open();
        let mut epochs = Vec::new();
        let (mut raised, mut greedy) = (false, false);
        for (stage, epoch) in group.epochs.stages_mut() {
            let keys = match epoch.made.as_mut() {
                // It cannot use this one, but must hear of it: it may revoke.
                Some(made) if made.suite == Suite::Aes256Gcm && !gateway.record.aes => None,
                // Closed by a revocation: nobody new needs it.
                Some(_) if epoch.id < first_open => None,
                Some(made) => {
                    let given = gateway.given.entry(epoch.id).or_default();
                    let before = *given;
                    raised |= grant(epoch.id, made, session, given);
                    greedy |= (before..*given).contains(&MOST_GIVEN.saturating_sub(1));
                    Some(EpochKeys {
                        tek: TekField(Arc::clone(&made.tek)),
                        suite: made.suite,
                        carriage: made.carriage,
                        clock: made.clock,
                        origin: made.origin,
                        ends: epoch.ends,
                        senders: session.granted.get(&epoch.id).cloned().unwrap_or_default(),
                        highest_sender: made.highest_sender,
                    })
                }
                None => None,
            };
            epochs.push(Epoch { id: epoch.id, stage, revokes: epoch.revokes, keys });
        }
        if raised {
            // All must know of the higher numbers before they are used.
            group.revision += 1;
            group.epochs.announce_again(group.revision);
        }
        let live = group.policies.live().iter();
        let state = State {
            request,
            instance: self.instance,
            revision: group.revision,
            time: Reading { clock: self.clock, now },
            group: group.record.name.clone(),
            name: gateway.record.name.clone(),
            epochs,
            policies: live.map(|entry| policy_version(entry.stage, &entry.item)).collect(),
            settings: GroupSettings::from(&group.record.settings),
        };
        session.sent = group.revision;
        session.sent_at = now;
        let live: BTreeSet<_> = group.epochs.live().iter().map(|entry| entry.item.id).collect();
        session.granted.retain(|epoch, _| live.contains(epoch));
        gateway.given.retain(|epoch, _| live.contains(epoch));
        let name = greedy.then(|| gateway.record.name.clone());
        let state = ToGateway::State(Box::new(state));
        debug_assert!(message::encoded_len(&state) <= MAX_FRAME, "no gateway would read it");
        self.transmits.push_back((to, state));
        if let Some(name) = name {
            self.warn(format!(
                "{name} has taken {MOST_GIVEN} sender numbers and gets no more in this epoch: does \
                 its daemon start again and again?"
            ));
        }
    }

    /// A member has fewer numbers left than it wants in an epoch that is to be used: it is sent more.
    /// Gives whether it has had too many, so that the group needs a new epoch.
    pub(super) fn refill(&mut self, to: PublicKey, now: u64) -> bool {
        let Some(gateway) = self.gateways.get_mut(&to) else { return false };
        let Some(group) = self.groups.get(&gateway.record.group) else { return false };
        let Some(session) = gateway.session.as_mut() else { return false };
        // The one in force, too, while another is being prepared: it seals in that one until then.
        let serving =
            group.epochs.live().iter().rev().filter(|entry| entry.stage != Stage::Retiring);
        let mut made = serving
            .filter_map(|entry| entry.item.made.as_ref().map(|made| (entry.item.id, made.check)));
        let lacks = |id, check| session.left(id, check) < session.wants;
        let lacking = made.find(|&(id, check)| session.holds(id, check) && lacks(id, check));
        let Some((epoch, _)) = lacking else { return false };
        if !session.may_refill(now) {
            return false;
        }
        if session.granted.get(&epoch).map_or(0, Vec::len) >= MOST_GRANTED {
            return true;
        }
        session.refill = Some(epoch);
        self.send_state(to, 0, now);
        false
    }
}

impl Gateway {
    /// It has had so many sender numbers in an epoch that it gets no more.
    pub(super) fn is_greedy(&self) -> bool {
        self.given.values().any(|&given| given >= MOST_GIVEN)
    }
}

fn policy_version(stage: Stage, item: &PolicyRecord) -> PolicyVersion {
    PolicyVersion {
        version: item.version,
        stage,
        policy: item.policy.clone(),
        mode: item.mode,
        non_ip: item.non_ip.clone(),
        fail: item.fail,
    }
}

/// Sender numbers for this process in this epoch, if it has none left. Gives whether a higher
/// limit must be announced.
fn grant(epoch: u64, made: &mut MadeEpoch, session: &mut Session, given: &mut u32) -> bool {
    let granted = session.granted.get(&epoch).map_or(0, Vec::len);
    // A daemon that went on from RAM has those of the process before it.
    let first = granted == 0 && session.left(epoch, made.check) == 0;
    let refill = session.refill.take_if(|wanted| *wanted == epoch).is_some();
    if !(first || refill) || granted >= MOST_GRANTED || *given >= MOST_GIVEN {
        return false;
    }
    let numbers = session.granted.entry(epoch).or_default();
    for _ in 0..session.wants {
        if made.next_sender <= Spi::MAX_SENDER {
            numbers.push(made.next_sender);
            made.next_sender += 1;
            *given += 1;
        }
    }
    // Early enough that all know the new limit when the first number above the old one is used.
    let raise = made.highest_sender < Spi::MAX_SENDER && made.next_sender > made.highest_sender / 2;
    while made.highest_sender < Spi::MAX_SENDER && made.next_sender > made.highest_sender / 2 {
        made.highest_sender = (made.highest_sender * 2).min(Spi::MAX_SENDER);
    }
    raise
}
