//! What tsg-bridge's `pipeline` does with a packet: judge, seal, open. Restated, as the data path is
//! not in this crate.

use crate::lease::Note;
use crate::member::Member;
use crate::packet::{Opened, Packet};
use crate::random::Chance;
use crate::services::{Topic, machine};
use tsg_control::gateway::{KeyView, pseudo_time};
use tsg_control::group::{Fail, Mode};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Flow};
use tsg_esp::freshness::Freshness;
use tsg_esp::spi::Spi;

/// Packets that are later than it is here by less, in milliseconds, are not worth a note.
const LATER: i32 = 500;

/// What the policy wants with a packet from the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Clear,
    Seal,
    Drop,
}

impl Member {
    /// What becomes of a packet from the LAN. Without a policy `fail` decides, which is closed.
    pub(crate) fn judge_outbound(&self, topic: Topic) -> Judgement {
        let Some(version) = self.gateway.active_policy() else { return Judgement::Drop };
        match version.policy.action(&topic.flow()) {
            Action::Drop => Judgement::Drop,
            Action::Bypass => Judgement::Clear,
            Action::Encrypt => match version.mode {
                Mode::Learn | Mode::ReceiveOnly => Judgement::Clear,
                Mode::Migrate if self.gateway.map().others.contains(&machine(topic.to())) => {
                    Judgement::Seal
                }
                Mode::Migrate => Judgement::Clear,
                Mode::Enforce => Judgement::Seal,
            },
        }
    }

    /// May a packet come in clear? While the policy changes, what one version allows is let in.
    pub(crate) fn lets_in(&self, flow: &Flow) -> bool {
        let keyless = !self.views.iter().any(|view| view.sealing);
        let allows = |version: &PolicyVersion| match version.policy.action(flow) {
            Action::Bypass => true,
            Action::Drop => false,
            Action::Encrypt => {
                version.mode != Mode::Enforce || (version.fail == Fail::Open && keyless)
            }
        };
        self.gateway.policies().iter().any(allows)
    }

    /// May what came sealed be let in?
    fn wants_sealed(&self, flow: &Flow) -> bool {
        let wants = |version: &PolicyVersion| version.policy.action(flow) == Action::Encrypt;
        self.gateway.policies().iter().any(wants)
    }

    fn usable(view: &KeyView, local: u64) -> bool {
        view.origin.is_some() && view.ends.is_none_or(|at| local < at)
    }

    /// It has an epoch to seal in.
    pub(crate) fn has_key(&self, t: u64) -> bool {
        let local = self.local(t);
        self.views.iter().any(|view| view.sealing && Self::usable(view, local))
    }

    /// Seals so many packets, of which one is shown; `None` if there is nothing to seal with.
    pub(crate) fn seal(
        &mut self,
        topic: Topic,
        t: u64,
        count: u64,
        chance: &mut Chance,
        notes: &mut Vec<Note>,
    ) -> Option<Packet> {
        let local = self.local(t);
        let view = self.views.iter().find(|view| view.sealing && Self::usable(view, local))?;
        let worker = chance.below(self.workers());
        let tek = *view.tek.expose();
        let (sender, sequence) = self.leases.take(worker, tek, &view.senders, count, notes)?;
        let used_up = |newer: &KeyView| !newer.prepared && newer.senders.is_empty();
        let packet = Packet {
            fell_back: self.views.iter().any(|newer| newer.id > view.id && used_up(newer)),
            error: view.error,
            number: 0,
            sequence,
            replayed: false,
            from: self.index,
            honest: !self.is_hostile(),
            ghost: false,
            sent: t,
            counts: false,
            epoch: view.id,
            tek,
            sender,
            pseudo: pseudo_time(local, view.origin?),
            topic,
        };
        Some(packet)
    }

    /// Opens a packet, in the order of docs/protocol.md, 1.7.
    pub(crate) fn open(&mut self, packet: &Packet, t: u64) -> Opened {
        let local = self.local(t);
        let byte = Spi::byte_of(packet.epoch);
        let Some(view) = self.views.iter().find(|view| Spi::byte_of(view.id) == byte) else {
            return Opened::UnknownEpoch;
        };
        if view.ends.is_some_and(|at| local >= at) {
            return Opened::Over;
        }
        let name = (view.id, packet.sender);
        let sequence = packet.sequence as u32;
        let known = self.windows.get(&name);
        if known.is_some_and(|window| window.check(sequence).is_err()) {
            return Opened::Replayed;
        }
        let Some(origin) = view.origin else { return Opened::NoTime };
        if !is_fresh(view, packet.pseudo, origin, local, self.window()) {
            return Opened::NotFresh;
        }
        if known.is_none() && packet.sender > view.highest_sender {
            return Opened::SenderTooHigh;
        }
        if *view.tek.expose() != packet.tek {
            return Opened::WrongKey;
        }
        let prepared = view.prepared;
        let ahead = packet.pseudo.wrapping_sub(pseudo_time(local, origin)).cast_signed();
        let later = view.open && ahead > LATER;
        if self.windows.entry(name).or_default().mark(sequence).is_err() {
            return Opened::Replayed;
        }
        Opened::Yes { prepared, later, wanted: self.wants_sealed(&packet.topic.flow()) }
    }

    fn window(&self) -> u32 {
        self.gateway.settings().map_or(4, |settings| settings.replay_window) * 1000
    }

    /// A packet that came too late: its sender does not know the time, and is told.
    pub(crate) fn is_asked_for_time(&self, packet: &Packet, t: u64) -> bool {
        let local = self.local(t);
        let mut views = self.views.iter();
        let view = views.find(|view| *view.tek.expose() == packet.tek);
        view.is_some_and(|view| {
            let tolerance = self.window() + if view.open { 0 } else { view.error };
            let here = view.origin.map_or(packet.pseudo, |origin| pseudo_time(local, origin));
            here.wrapping_sub(packet.pseudo).cast_signed() > tolerance.cast_signed()
        })
    }
}

/// Is a packet of this pseudo-time of now? After a power cut it may be of later than now.
fn is_fresh(view: &KeyView, time: u32, origin: i64, local: u64, window: u32) -> bool {
    let here = pseudo_time(local, origin);
    if !view.open {
        let fresh = Freshness { window_ms: window, clock_error_ms: view.error };
        return fresh.check(time, here, Some(view.floor)).is_ok();
    }
    let later = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() > 0;
    let end = view.ends.map(|at| pseudo_time(at, origin));
    !later(view.floor, time)
        && !later(here.wrapping_sub(window), time)
        && end.is_none_or(|end| !later(time, end) || later(here, end))
}
