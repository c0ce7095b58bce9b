//! What must hold of keys, numbers, packets and time, whatever happens. A check that fails says the
//! seed.

use crate::ghost::Ghost;
use crate::member::{Member, Secret};
use crate::packet::Packet;
use crate::plane::LATER;
use crate::tally::Tally;
use crate::trouble::{GROUPS, MANY_SENDERS};
use crate::truth::Truth;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tsg_control::gateway::{KeyView, pseudo_time};
use tsg_control::server::Server;
use tsg_esp::spi::Spi;

/// So long after the server's machine was resumed members may differ in the time of old epochs.
const MIXED_TIMES: u64 = 45_000;

/// So long after the server went back in time it may take until all are in an epoch that it made: a
/// member tells it what it has forgotten, and the next epoch waits for room and comes into force.
const COUNTS_ON: u64 = 60_000;

pub(crate) struct Checks {
    seed: u64,
    /// Which boot a sender number belongs to, by secret, and its last sequence number.
    owners: BTreeMap<(Secret, u32), (u64, u64)>,
    secrets: BTreeSet<Secret>,
    /// Epochs that a hostile member sealed in before they were in force.
    pub(crate) early: BTreeSet<Secret>,
    /// Sender numbers that a hostile or revoked member used.
    pub(crate) stolen: BTreeSet<(Secret, u32)>,
    /// What members held when the server's machine was last resumed from a snapshot.
    before_resumed: BTreeSet<Secret>,
    /// Who opened which packet.
    pub(crate) heard: HashSet<(u64, usize)>,
    pub(crate) ghosts: Vec<Ghost>,
    /// What operators were told.
    pub(crate) truth: Truth,
    /// What they may find instead, because nobody was told.
    pub(crate) open_end: Truth,
    /// Until then anybody may lose packets.
    pub(crate) excused: [u64; GROUPS.len()],
    pub(crate) tally: Tally,
}

impl Checks {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            owners: BTreeMap::new(),
            secrets: BTreeSet::new(),
            early: BTreeSet::new(),
            stolen: BTreeSet::new(),
            before_resumed: BTreeSet::new(),
            heard: HashSet::new(),
            ghosts: Vec::new(),
            truth: Truth::new(),
            open_end: Truth::new(),
            excused: [20_000; GROUPS.len()],
            tally: Tally::default(),
        }
    }

    pub(crate) fn demand(&self, holds: bool, t: u64, what: impl FnOnce() -> String) {
        assert!(
            holds,
            "{} at {t} ms\nreplay: TSG_SIM_SEED={} cargo test -p tsg-control --test simulation",
            what(),
            self.seed
        );
    }

    /// A hostile member seals something.
    pub(crate) fn forged(&mut self, packet: &Packet, views: &[KeyView]) {
        self.tally.hostile += 1;
        self.stolen.insert((packet.tek, packet.sender));
        if views.iter().any(|view| view.prepared && *view.tek.expose() == packet.tek) {
            self.early.insert(packet.tek);
        }
    }

    /// 1: no number twice, in one boot nor in two.
    pub(crate) fn sealed(&mut self, member: &Member, packet: &Packet) {
        self.tally.sealed += 1;
        self.tally.counted += u64::from(packet.counts);
        if self.secrets.insert(packet.tek) {
            self.tally.epochs += 1;
        }
        let name = (packet.tek, packet.sender);
        let sequence = packet.sequence;
        let (boot, last) = *self.owners.entry(name).or_insert((member.boot, 0));
        self.tally.crowded += u64::from(packet.sender > MANY_SENDERS);
        let fine = boot == member.boot
            && sequence > last
            && !member.spent.contains(&name)
            && Spi::new(packet.epoch, packet.sender).is_some();
        self.demand(fine, packet.sent, || {
            format!(
                "sender {} of epoch {} twice: {boot:x}, {:x}; {last}, {sequence}",
                packet.sender, packet.epoch, member.boot
            )
        });
        self.owners.insert(name, (boot, sequence));
    }

    /// 6: few epochs, told apart by their byte, never back.
    pub(crate) fn views(&self, member: &mut Member, t: u64) {
        let views = &member.views;
        self.demand(views.len() <= 3, t, || format!("{} epochs live", views.len()));
        let bytes: BTreeSet<_> = views.iter().map(|view| Spi::byte_of(view.id)).collect();
        self.demand(bytes.len() == views.len(), t, || "two epochs have one byte".to_owned());
        let group = member.gateway.names().map(|names| names.0.to_owned());
        if group != member.group {
            (member.group, member.newest) = (group, 0);
        }
        let newest = views.iter().filter(|view| !view.prepared).map(|view| view.id).max();
        // Someone who is thrown out can seal with what was only prepared, and so bring it into force
        // early; then it is replaced.
        let early = !self.early.is_empty();
        let back = newest.is_some_and(|id| id < member.newest)
            && t >= self.excused(member.group.as_deref())
            && !early
            && !member.is_hostile();
        self.demand(!back, t, || {
            format!("box {}: back from epoch {} to {newest:?}", member.index, member.newest)
        });
        member.newest = newest.unwrap_or(0);
        let spent = |view: &KeyView| {
            view.senders.iter().any(|n| member.spent.contains(&(*view.tek.expose(), *n)))
        };
        self.demand(!views.iter().any(spent), t, || {
            "a used-up sender number is offered".to_owned()
        });
    }

    /// 9: a packet is opened once, and not long after it was sealed.
    ///
    /// A daemon that has started knows what is from before by the key server's clock. Where that
    /// goes back, unnoticed, with its machine, so does what is known: until new epochs are in force.
    ///
    /// After a power cut, without the key server, how long ago it was sealed is not known: but nothing
    /// is opened from before the cut.
    pub(crate) fn once(&mut self, member: &Member, packet: &Packet, t: u64, resumed: u64) {
        let went_back = resumed > 0 && t < resumed + 60_000;
        let late = t > packet.sent + LATER && !went_back;
        if !packet.honest {
            return;
        }
        let new = self.heard.insert((packet.number, member.index));
        // It may have been sealed just before this daemon started by one whose clock is ahead of
        // it by more than a receiver can know.
        let view = member.views.iter().find(|view| view.id == packet.epoch);
        if view.is_some_and(|view| view.open) {
            let fine = new && packet.sent >= member.opened_until;
            return self.demand(fine || (went_back && packet.sent < resumed), t, || {
                format!(
                    "box {}, without power at {}, opens what was sent at {}",
                    member.index, member.opened_until, packet.sent
                )
            });
        }
        let known = view.map_or(0, |view| u64::from(view.error.min(500)));
        let ahead = packet.sent + u64::from(packet.error) + 3 >= member.restarted + known;
        let started_since = packet.sent < member.restarted;
        let behind = went_back && packet.sent < resumed && member.restarted < resumed;
        let new = new || (started_since && (ahead || behind));
        self.demand(new && !late, t, || {
            format!("box {} opens what was sent at {} again", member.index, packet.sent)
        });
    }

    /// 3: nobody who was reached opens what a revoked gateway sealed.
    pub(crate) fn opened(
        &mut self,
        member: &Member,
        packet: &Packet,
        t: u64,
        server_since: u64,
        harsh: bool,
    ) {
        self.tally.opened += 1;
        let fit = member.is_member() && t >= member.excused;
        if !packet.ghost || member.is_hostile() || self.is_out(member.index, fit) {
            return;
        }
        let ghost = self.ghosts.iter().find(|ghost| ghost.who == packet.from);
        let late = ghost.and_then(|ghost| ghost.deadline(member, server_since, harsh));
        self.demand(late.is_none_or(|at| t <= at), t, || {
            format!(
                "box {} opens epoch {} from revoked box {}, deadline {late:?}",
                member.index, packet.epoch, packet.from
            )
        });
    }

    /// 3, the other way: nobody who was reached seals what a revoked gateway can open.
    pub(crate) fn ghosts_hear(
        &mut self,
        packet: &Packet,
        member: &Member,
        server_since: u64,
        harsh: bool,
    ) {
        if !packet.honest || self.is_out(packet.from, packet.counts) {
            return;
        }
        for ghost in self.ghosts.iter().filter(|ghost| ghost.holds(&packet.tek)) {
            let late = ghost.deadline(member, server_since, harsh);
            self.demand(late.is_none_or(|at| packet.sent <= at), packet.sent, || {
                format!(
                    "revoked box {} reads epoch {} of box {}, deadline {late:?}",
                    ghost.who, packet.epoch, packet.from
                )
            });
        }
    }

    /// It was thrown out, or does not know yet that it is back.
    pub(crate) fn is_out(&self, who: usize, fit: bool) -> bool {
        self.ghosts.iter().any(|ghost| ghost.who == who && !(ghost.back && fit))
    }

    /// 7: pseudo-time agrees as far as the views say.
    ///
    /// After the server's machine was resumed from a snapshot its clock is behind and nobody
    /// knows: this holds again for those who have heard it since, in the epochs that followed. In
    /// those from before they may differ until a member has told the server, and the next epoch
    /// has had room (15 s) and has come into force (15 s): some have asked for the time of their
    /// old clock in between, others have not.
    pub(crate) fn times(&self, members: &[Member], resumed: u64, t: u64) {
        let mut all: BTreeMap<Secret, Vec<(usize, u32, [u32; 2])>> = BTreeMap::new();
        let reached = |member: &Member| member.is_member() && member.is_reached(t, 15_000);
        let fit = |member: &&Member| !member.is_off && (resumed == 0 || reached(member));
        let settled = t >= resumed + MIXED_TIMES;
        for member in members.iter().filter(fit) {
            let local = member.local(t);
            let judged = |view: &KeyView| match resumed {
                0 => true,
                _ => !self.before_resumed.contains(view.tek.expose()) || (settled && view.sealing),
            };
            let views = member.gateway.keys(local).into_iter();
            for view in views.filter(judged) {
                if let Some(origin) = view.origin {
                    let time = (member.index, pseudo_time(local, origin), known(&view));
                    all.entry(*view.tek.expose()).or_default().push(time);
                }
            }
        }
        for times in all.values() {
            // All agree if the latest that one could mean is not before the earliest of another.
            let base = times[0].1;
            let offset = |time: u32| i64::from(time.wrapping_sub(base).cast_signed());
            let low =
                times.iter().map(|&(who, time, [off, _])| (offset(time) - i64::from(off), who));
            let high =
                times.iter().map(|&(who, time, [_, off])| (offset(time) + i64::from(off), who));
            let (Some(low), Some(high)) = (low.max(), high.min()) else { continue };
            self.demand(low.0 <= high.0 + 2, t, || {
                format!("boxes {} and {} differ in time: {times:?}", low.1, high.1)
            });
        }
    }

    /// The server's machine is resumed from a snapshot.
    pub(crate) fn resumed(&mut self, members: &[Member]) {
        let held = members.iter().flat_map(|member| &member.views);
        self.before_resumed = held.map(|view| *view.tek.expose()).collect();
    }

    /// The server knows only what it knew some time ago.
    pub(crate) fn went_back(&mut self, server: &Server, now: u64, t: u64) {
        self.forget_those_inside(server, now);
        self.excuse_all(t + COUNTS_ON);
    }

    /// 8: no busy loops, no storms.
    pub(crate) fn count_step(&self, counter: &mut (u64, u64), t: u64, what: &str) {
        let count = counted(counter, t / 1_000);
        self.demand(count <= 60, t, || format!("{what}: a busy loop"));
    }

    pub(crate) fn count_message(&self, counter: &mut (u64, u64), t: u64) {
        let count = counted(counter, t / 60_000);
        self.demand(count <= 240, t, || "a storm of messages".to_owned());
    }
}

/// How far the time may be ahead, and behind. Who has it from others after a power cut may be ahead
/// as far as they are.
fn known(view: &KeyView) -> [u32; 2] {
    if view.open { [500, u32::MAX] } else { [view.error; 2] }
}

fn counted(counter: &mut (u64, u64), period: u64) -> u64 {
    if counter.0 != period {
        *counter = (period, 0);
    }
    counter.1 += 1;
    counter.1
}

pub(crate) fn brief(views: &[KeyView]) -> Vec<(u64, bool, bool, usize, bool)> {
    let brief = |view: &KeyView| {
        (view.id, view.prepared, view.sealing, view.senders.len(), view.origin.is_some())
    };
    views.iter().map(brief).collect()
}
