//! What the workers look at: keys, policy, map and settings of one moment. Never changed, only
//! replaced.

use crate::config::Oversize;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use tsg_control::gateway::{KeyView, pseudo_time};
use tsg_control::group::{Carriage, Fail, Mode};
use tsg_control::keys::tek_check;
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Flow, Policy, Rule};
use tsg_control::timeline::Stage;
use tsg_esp::DropReason;
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::freshness::Freshness;
use tsg_esp::spi::Spi;

/// Packets that are later than it is here by less, in milliseconds, are not worth a note.
const LATER: i32 = 500;

/// The state of the gateway as the data path sees it.
#[derive(Debug)]
pub struct View {
    /// Live epochs, oldest first.
    pub epochs: Vec<EpochView>,
    /// Live policy versions, oldest first.
    pub policies: Vec<PolicyVersion>,
    /// The gateway's own rules: what they want can only be stricter.
    pub local: Policy,
    /// How old a sealed packet may be, in milliseconds.
    pub window: u32,
    /// Machines heard on this gateway's LAN side.
    pub mine: HashSet<IpAddr>,
    /// Machines that other gateways of the group report.
    pub others: HashSet<IpAddr>,
    /// The key server has said which machines these are.
    pub has_map: bool,
    /// The largest IP packet on the WAN side.
    pub path_mtu: u16,
    /// What to do with packets that are too big once sealed.
    pub oversize: Oversize,
    /// What happens without a policy.
    pub fail: Fail,
}

impl Default for View {
    fn default() -> Self {
        Self {
            epochs: Vec::new(),
            policies: Vec::new(),
            local: Policy::default(),
            window: 4_000,
            mine: HashSet::new(),
            others: HashSet::new(),
            has_map: false,
            path_mtu: 1_500,
            oversize: Oversize::Icmp,
            fail: Fail::Closed,
        }
    }
}

/// Tells an epoch from all others. Its number alone does not: every group counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochTag {
    /// Its number in the group.
    pub id: u64,
    /// What its TEK is recognised by.
    pub check: [u8; 8],
}

impl EpochTag {
    /// Of this epoch.
    pub fn of(key: &KeyView) -> Self {
        Self { id: key.id, check: tek_check(&key.tek) }
    }
}

/// An epoch as the data path uses it.
#[derive(Debug)]
pub struct EpochView {
    /// Its number and its TEK's mark.
    pub tag: EpochTag,
    /// What its SPIs begin with.
    pub byte: u8,
    /// Its TEK.
    pub tek: Arc<Tek>,
    /// Its cipher.
    pub suite: Suite,
    /// How its packets look.
    pub form: Form,
    /// Seal with this one.
    pub sealing: bool,
    /// Not in force yet, as far as this gateway was told.
    pub prepared: bool,
    /// Sender numbers of this gateway.
    pub senders: Vec<u32>,
    /// No sender is above.
    pub highest_sender: u32,
    /// Its time is only known to be so late or later.
    pub open: bool,
    origin: i64,
    error: u32,
    floor: u32,
    ends: Option<u64>,
}

impl EpochView {
    /// `None` while the key server's time is not known: nothing can be done with the epoch.
    pub fn new(key: KeyView) -> Option<Self> {
        Some(Self {
            tag: EpochTag::of(&key),
            byte: Spi::byte_of(key.id),
            form: Form { encap: encap(key.carriage), aad: Aad::WithAddresses },
            suite: key.suite,
            sealing: key.sealing,
            prepared: key.prepared,
            senders: key.senders,
            highest_sender: key.highest_sender,
            origin: key.origin?,
            open: key.open,
            error: key.error,
            floor: key.floor,
            ends: key.ends,
            tek: key.tek,
        })
    }

    /// Its time is not over.
    pub fn lives(&self, now: u64) -> bool {
        self.ends.is_none_or(|at| now < at)
    }

    /// Pseudo-time at local time `now`.
    pub const fn time(&self, now: u64) -> u32 {
        pseudo_time(now, self.origin)
    }

    /// Is a packet of this pseudo-time of now, and of after this gateway's start?
    pub(super) fn check_time(&self, time: u32, now: u64, window: u32) -> Result<(), DropReason> {
        if self.open {
            return self.check_open_time(time, now, window);
        }
        let fresh = Freshness { window_ms: window, clock_error_ms: self.error };
        fresh.check(time, self.time(now), Some(self.floor))
    }

    /// A packet may be of later than it is here, up to the end of the epoch.
    fn check_open_time(&self, time: u32, now: u64, window: u32) -> Result<(), DropReason> {
        let here = self.time(now);
        let later = |a: u32, b: u32| (a.wrapping_sub(b) as i32) > 0;
        if later(self.floor, time) || later(here.wrapping_sub(window), time) {
            return Err(DropReason::Stale);
        }
        let end = self.ends.map(|at| self.time(at));
        if end.is_some_and(|end| later(time, end) && !later(here, end)) {
            return Err(DropReason::Future);
        }
        Ok(())
    }

    /// Is a packet of this pseudo-time, which is authentic, news of how late it is?
    pub(super) fn is_later(&self, time: u32, now: u64) -> bool {
        self.open && (time.wrapping_sub(self.time(now)) as i32) > LATER
    }

    /// Has its sender another idea of the time, an earlier one than is borne? What is only from before
    /// this gateway's start is something else.
    pub(super) fn is_behind(&self, time: u32, now: u64, window: u32) -> bool {
        let fresh = Freshness { window_ms: window, clock_error_ms: self.error };
        let tolerance = if self.open { window } else { fresh.tolerance_ms() };
        (self.time(now).wrapping_sub(time) as i32) > tolerance as i32
    }
}

const fn encap(carriage: Carriage) -> Encap {
    match carriage {
        Carriage::Protocol(number) => Encap::Protocol(number),
        Carriage::Udp(port) => Encap::Udp { port },
    }
}

/// What the policy wants with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It passes in clear.
    Clear,
    /// The same, and who talks by it is taken note of: the group learns.
    Learn,
    /// A rule wants it sealed, but the group's mode does not seal it (yet).
    NotYet,
    /// It is sealed.
    Seal,
    /// It is sealed, if the map knows its destination; otherwise it passes in clear.
    SealIfKnown,
    /// It is dropped.
    Drop,
}

/// Where a machine was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// Here, or nowhere.
    NotElsewhere,
    /// By another gateway and not here: sealed packets for it are for that gateway.
    Elsewhere,
    /// Here, and by another gateway too: it moved, or there are gateways in series.
    Contested,
}

impl View {
    /// The epoch to seal in.
    pub fn sealing(&self) -> Option<&EpochView> {
        self.epochs.iter().rev().find(|epoch| epoch.sealing)
    }

    /// The live epoch whose SPIs begin with this byte.
    pub fn epoch(&self, byte: u8) -> Option<&EpochView> {
        self.epochs.iter().rev().find(|epoch| epoch.byte == byte)
    }

    /// How sealed packets may look.
    pub fn forms(&self) -> impl Iterator<Item = Form> {
        let known = self.epochs.is_empty().then_some(Form::TRANSPARENT);
        self.epochs.iter().map(|epoch| epoch.form).chain(known)
    }

    /// The policy version in force.
    pub fn in_force(&self) -> Option<&PolicyVersion> {
        self.policies.iter().rev().find(|version| version.stage == Stage::Active)
    }

    /// Whether the same becomes of every packet, whatever keys and map are.
    pub fn judges_as(&self, other: &Self) -> bool {
        self.in_force() == other.in_force() && self.local == other.local
    }

    /// What happens without a key or a policy.
    pub fn fail(&self) -> Fail {
        self.in_force().map_or(self.fail, |version| version.fail)
    }

    /// What becomes of a packet from the LAN.
    pub fn judge_outbound(&self, flow: &Flow) -> Judgement {
        let Some(version) = self.in_force() else {
            return match self.fail {
                Fail::Closed => Judgement::Drop,
                Fail::Open => Judgement::Clear,
            };
        };
        match self.action(version, flow) {
            Action::Drop => Judgement::Drop,
            Action::Bypass if version.mode == Mode::Learn => Judgement::Learn,
            Action::Bypass => Judgement::Clear,
            Action::Encrypt => match version.mode {
                Mode::Learn | Mode::ReceiveOnly => Judgement::NotYet,
                Mode::Migrate => Judgement::SealIfKnown,
                Mode::Enforce => Judgement::Seal,
            },
        }
    }

    /// May a packet come in clear from the WAN? While the policy changes, what the old or the new
    /// one allows is let in.
    pub fn lets_in(&self, flow: &Flow) -> Result<(), super::Reason> {
        if self.policies.is_empty() {
            return match self.fail {
                Fail::Closed => Err(super::Reason::NoKey),
                Fail::Open => Ok(()),
            };
        }
        let allows = |version: &PolicyVersion| match self.action(version, flow) {
            Action::Bypass => true,
            Action::Drop => false,
            Action::Encrypt => {
                version.mode != Mode::Enforce
                    || (version.fail == Fail::Open && self.sealing().is_none())
            }
        };
        if self.policies.iter().any(allows) {
            return Ok(());
        }
        let dropped = |v: &PolicyVersion| self.action(v, flow) == Action::Drop;
        let all_drop = self.policies.iter().all(dropped);
        Err(if all_drop { super::Reason::Policy } else { super::Reason::InClear })
    }

    /// May what came sealed be let in? Only if some live policy version wants it sealed.
    pub fn wants_sealed(&self, flow: &Flow) -> bool {
        self.policies.iter().any(|version| self.action(version, flow) == Action::Encrypt)
    }

    /// May a later fragment that came sealed be let in? Its sender had seen the whole packet; what shows of it here
    /// must be what a live policy version could have sealed.
    pub(super) fn could_be_sealed(&self, fragment: &Flow) -> bool {
        let could = |policy: &Policy, action| policy.could(fragment, action);
        self.policies.iter().any(|version| {
            let (theirs, ours) = (&version.policy, &self.local);
            let milder = |policy| could(policy, Action::Bypass) || could(policy, Action::Encrypt);
            could(theirs, Action::Encrypt) && milder(ours)
                || could(ours, Action::Encrypt) && milder(theirs)
        })
    }

    /// What the map says of this machine.
    pub(super) fn mapped(&self, machine: IpAddr) -> Mapped {
        match (self.others.contains(&machine), self.mine.contains(&machine)) {
            (false, _) => Mapped::NotElsewhere,
            (true, false) => Mapped::Elsewhere,
            (true, true) => Mapped::Contested,
        }
    }

    /// Some policy does not insist on what it wants sealed.
    pub(super) fn is_lax(&self) -> bool {
        self.policies.iter().any(|version| version.mode != Mode::Enforce)
    }

    /// The group wants to know who uses what.
    pub fn learns(&self) -> bool {
        self.in_force().is_some_and(|version| version.mode == Mode::Learn)
    }

    /// The rule that decides on `flow`, if it is one that seals.
    pub fn deciding_rule(&self, flow: &Flow) -> Option<&Rule> {
        let theirs = self.in_force().map(|version| &version.policy);
        let both = [theirs, Some(&self.local)].into_iter().flatten();
        let decides = |policy: &&Policy| policy.action(flow) == Action::Encrypt;
        both.into_iter().find(decides).and_then(|policy| policy.deciding_rule(flow))
    }

    fn action(&self, version: &PolicyVersion, flow: &Flow) -> Action {
        version.policy.action(flow).max(self.local.action(flow))
    }
}
