//! One box: a gateway, its clock, its link to the server and what its data path remembers.

use crate::flash::Flash;
use crate::frame::Frame;
use crate::hostile::Vice;
use crate::lease::{Leases, Note};
use crate::packet::Packet;
use crate::plan::Plan;
use crate::random::Chance;
use crate::services::machine;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use tsg_control::gateway::{Gateway, Identity, KeyView, Saved, Standing};
use tsg_control::keys::PublicKey;
use tsg_control::message::ToServer;
use tsg_control::token::TokenSecret;
use tsg_esp::replay::Window;

/// Threads of a gateway that has so many sender numbers.
pub(crate) const WORKERS: usize = 2;

/// Power cuts without a key server for which a box has sender numbers.
const POWER_CUTS: usize = 4;

pub(crate) type Secret = [u8; 32];

/// A connection: what is on its way when it breaks is lost, which `generation` tells.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    pub(crate) cut: bool,
    pub(crate) generation: u64,
    pub(crate) since: u64,
    pub(crate) last: [u64; 2],
    pub(crate) waiting: Vec<Frame<ToServer>>,
}

pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) key: PublicKey,
    pub(crate) gateway: Gateway,
    pub(crate) aes: bool,
    pub(crate) process: u64,
    pub(crate) vices: Vec<Vice>,
    senders: u8,
    /// Sender numbers that it wants to put aside.
    kept: u8,
    /// Counts boots: sender numbers belong to one.
    pub(crate) boot: u64,
    booted: u64,
    uptime: u64,
    ppm: i64,
    pub(crate) link: Link,
    pub(crate) saved: Option<Saved>,
    /// It keeps keys for after a power cut.
    pub(crate) flash: Option<Flash>,
    pub(crate) is_off: bool,
    /// When the power went, last.
    pub(crate) power_lost: u64,
    /// When it last lost its power and knew what time that was.
    pub(crate) opened_until: u64,
    /// What somebody recorded of the time just before.
    pub(crate) tape: Vec<Rc<Packet>>,
    pub(crate) views: Vec<KeyView>,
    pub(crate) viewed: u64,
    pub(crate) leases: Leases,
    /// What was heard, by epoch and sender; the daemon's memory.
    pub(crate) windows: HashMap<(u64, u32), Box<Window>>,
    pub(crate) spent: BTreeSet<(Secret, u32)>,
    /// The epochs that it has held since it booted.
    pub(crate) held: BTreeSet<Secret>,
    /// Until then it may lose packets.
    pub(crate) excused: u64,
    /// A thread of it used up its sender number, and there was no other since.
    pub(crate) is_dry: bool,
    /// When its daemon last started: sequence numbers jump by a block then.
    pub(crate) restarted: u64,
    pub(crate) timer: Option<u64>,
    pub(crate) steps: (u64, u64),
    pub(crate) said: (u64, u64),
    /// The newest epoch that was in force here since it last had to forget all.
    pub(crate) newest: u64,
    pub(crate) group: Option<String>,
    /// Until then it knew all that the server said.
    pub(crate) knew: u64,
    /// The machine that it hears.
    machine: Option<IpAddr>,
}

impl Member {
    pub(crate) fn new(index: usize, plan: &Plan, chance: &mut Chance) -> Self {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&(index as u16 + 1).to_be_bytes());
        key[2..10].copy_from_slice(&chance.next().to_be_bytes());
        let aes = !chance.happens(150);
        let senders = [1, 2, 4, 16][chance.below(4)];
        let uptime = [0, 1_000, 86_400_000, 60 * 86_400_000][chance.below(4)];
        let process = chance.next();
        let flash = (plan.power_cuts && chance.happens(600)).then(Flash::default);
        let kept = if flash.is_some() { POWER_CUTS * workers(senders) } else { 0 };
        Self {
            index,
            key: PublicKey(key),
            gateway: Gateway::new(identity(index, aes, senders, kept as u8, None), process, uptime),
            kept: kept as u8,
            flash,
            is_off: false,
            power_lost: 0,
            opened_until: 0,
            tape: Vec::new(),
            aes,
            process,
            vices: Vec::new(),
            senders,
            boot: (index as u64) << 32,
            booted: 0,
            uptime,
            ppm: plan.ppm + [-199, 0, 199][chance.below(3)] * i64::from(chance.happens(900)),
            link: Link::default(),
            saved: None,
            views: Vec::new(),
            viewed: 0,
            leases: Leases::default(),
            windows: HashMap::new(),
            spent: BTreeSet::new(),
            held: BTreeSet::new(),
            excused: 25_000,
            is_dry: false,
            restarted: 0,
            timer: None,
            steps: (0, 0),
            said: (0, 0),
            newest: 0,
            group: None,
            knew: 0,
            machine: plan.is_mapped(index).then(|| machine(index)),
        }
    }

    /// This box's own milliseconds at the true time `t`.
    pub(crate) fn local(&self, t: u64) -> u64 {
        let real = (t - self.booted).cast_signed();
        self.uptime + (real + real * self.ppm / 1_000_000).cast_unsigned()
    }

    /// The true time at which the box's own clock shows `local`.
    pub(crate) fn true_time(&self, local: u64) -> u64 {
        let own = i128::from(local.saturating_sub(self.uptime));
        let real = own * 1_000_000 / i128::from(1_000_000 + self.ppm);
        let mut t = self.booted.saturating_add(u64::try_from(real).unwrap_or(u64::MAX / 4));
        while self.local(t) < local {
            t += 1;
        }
        t
    }

    pub(crate) fn power_off(&mut self, t: u64) {
        (self.is_off, self.power_lost, self.timer) = (true, t, None);
        if self.views.iter().any(|view| view.origin.is_some() && !view.open) {
            self.opened_until = t;
        }
    }

    /// The daemon starts again; after a reboot nothing is left of before.
    pub(crate) fn restart(
        &mut self,
        reboot: bool,
        token: Option<TokenSecret>,
        t: u64,
        process: u64,
    ) {
        if reboot {
            if !self.is_off {
                self.power_off(t);
            }
            self.is_off = false;
            self.boot += 1;
            self.booted = t;
            // It took a while to boot, at most since the power went.
            self.uptime = (process % 20_000).min(t - self.power_lost);
            self.saved = None;
            self.leases.reboot();
            self.spent.clear();
            self.held.clear();
            self.newest = 0;
        }
        let local = self.local(t);
        self.leases.restart();
        self.restarted = t;
        self.windows.clear();
        self.process = process;
        let identity = identity(self.index, self.aes, self.senders, self.kept, token);
        self.gateway = Gateway::new(identity, process, local);
        if let Some(flash) = &mut self.flash {
            flash.start(self.saved.is_some(), local);
        }
        if let Some(saved) = self.saved.clone() {
            self.gateway.restore(saved, local);
        }
        self.viewed = 0;
        self.timer = None;
        self.hears_machines(&[], t);
    }

    /// What must survive has changed.
    pub(crate) fn save(&mut self, t: u64) {
        self.saved = self.gateway.save();
        let local = self.local(t);
        if let Some(flash) = &mut self.flash {
            flash.follow(&self.gateway, local);
        }
    }

    /// Its sealing threads.
    pub(crate) fn workers(&self) -> usize {
        workers(self.senders)
    }

    /// The machines behind it are its own and these.
    pub(crate) fn hears_machines(&mut self, others: &[IpAddr], t: u64) {
        let machines = others.iter().copied().chain(self.machine).collect();
        let local = self.local(t);
        self.gateway.handle_machines(machines, local);
    }

    pub(crate) fn look(&mut self, t: u64) {
        self.views = self.gateway.keys(self.local(t));
        self.viewed = t;
        self.is_dry &= self.lacks_numbers();
        let epochs: Vec<_> = self.views.iter().map(|view| view.id).collect();
        let secrets: Vec<_> = self.views.iter().map(|view| *view.tek.expose()).collect();
        self.held.extend(&secrets);
        self.leases.keep(&secrets);
        self.windows.retain(|(epoch, _), _| epochs.contains(epoch));
    }

    pub(crate) fn policy(&self) -> u64 {
        self.gateway.active_policy().map_or(0, |policy| policy.version)
    }

    /// It is connected for so long, and nothing happened to it.
    pub(crate) const fn is_reached(&self, t: u64, long: u64) -> bool {
        self.link.up && t >= self.link.since + long && t >= self.excused
    }

    /// What its threads say of their sender numbers in this epoch goes to the gateway. Gives how many
    /// it has not heard of before: almost used up, and used up.
    pub(crate) fn tell_of_numbers(&mut self, epoch: u64, notes: &[Note], t: u64) -> (u64, u64) {
        let mut news = (0, 0);
        let (local, tek) = (self.local(t), self.views.iter().find(|view| view.id == epoch));
        let tek = tek.map(|view| *view.tek.expose());
        for note in notes {
            match *note {
                Note::Worn(sender) => {
                    news.0 += u64::from(self.gateway.handle_worn(epoch, sender, local));
                }
                Note::Exhausted(sender) => {
                    news.1 += 1;
                    self.spent.extend(tek.map(|tek| (tek, sender)));
                    self.gateway.handle_exhausted(epoch, sender, local);
                }
            }
        }
        self.look(t);
        if news.1 > 0 && self.lacks_numbers() {
            // It waits for the server to give it some.
            self.excused = self.excused.max(t + 5_000);
            self.is_dry = true;
        }
        news
    }

    /// In an epoch in force there is no sender number for a thread that needs one.
    fn lacks_numbers(&self) -> bool {
        let mut in_force = self.views.iter().filter(|view| !view.prepared);
        in_force.any(|view| !self.leases.has_spare(*view.tek.expose(), &view.senders))
    }

    pub(crate) fn is_member(&self) -> bool {
        *self.gateway.standing() == Standing::Member
    }
}

fn workers(senders: u8) -> usize {
    usize::from(senders).min(WORKERS)
}

fn identity(
    index: usize,
    aes: bool,
    senders: u8,
    kept: u8,
    token: Option<TokenSecret>,
) -> Identity {
    Identity {
        name: format!("gateway-{index}"),
        version: "0.1.0".to_owned(),
        aes,
        senders,
        kept,
        token,
    }
}
