//! A server, its boxes and everything between them, in virtual milliseconds.

use crate::agenda::{Agenda, Happening};
use crate::checks::{Checks, brief};
use crate::disk::Disk;
use crate::frame::Frame;
use crate::member::Member;
use crate::packet::Packet;
use crate::plan::Plan;
use crate::promises::Promises;
use crate::random::Chance;
use crate::rulebook::Rulebook;
use crate::snapshot::{Input, Log};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tsg_control::gateway::Event;
use tsg_control::keys::PublicKey;
use tsg_control::message::{Done, ToServer};
use tsg_control::server::Server;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) t: u64,
    pub(crate) server: Option<Server>,
    pub(crate) server_since: u64,
    /// When it last began with new epochs.
    pub(crate) anew: u64,
    /// The server's clock less the true time.
    pub(crate) server_ahead: i64,
    pub(crate) server_timer: Option<u64>,
    server_steps: (u64, u64),
    /// The server dies after so many more records and messages.
    pub(crate) dies_after: Option<u64>,
    /// Nothing can be stored before that.
    pub(crate) disk_full_until: u64,
    /// When the machine was resumed from a snapshot.
    pub(crate) resumed: u64,
    pub(crate) inbox: VecDeque<(PublicKey, ToServer)>,
    pub(crate) log: Log,
    pub(crate) disk: Disk,
    pub(crate) backups: Vec<Disk>,
    pub(crate) members: Vec<Member>,
    pub(crate) who: BTreeMap<PublicKey, usize>,
    /// No trouble from then on.
    pub(crate) quiet_from: u64,
    pub(crate) checks: Checks,
    pub(crate) promises: Promises,
    pub(crate) rulebook: Rulebook,
    /// What somebody recorded.
    pub(crate) recorded: VecDeque<Rc<Packet>>,
    agenda: Agenda,
    pub(crate) messages: u64,
    told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let plan = Plan::new(seed, &mut chance);
        let members: Vec<_> =
            (0..plan.boxes).map(|index| Member::new(index, &plan, &mut chance)).collect();
        let who = members.iter().map(|member| (member.key, member.index)).collect();
        let mut world = Self {
            checks: Checks::new(plan.seed),
            promises: Promises::default(),
            rulebook: Rulebook::default(),
            plan,
            t: 0,
            server: None,
            server_since: 0,
            anew: 0,
            server_ahead: 1_700_000_000_000,
            server_timer: None,
            server_steps: (0, 0),
            dies_after: None,
            disk_full_until: 0,
            resumed: 0,
            inbox: VecDeque::new(),
            log: Log::default(),
            disk: Disk::default(),
            backups: Vec::new(),
            members,
            who,
            quiet_from: 0,
            recorded: VecDeque::new(),
            agenda: Agenda::default(),
            messages: 0,
            told: std::env::var_os("TSG_SIM_TRACE").is_some(),
            chance,
        };
        world.begin();
        world
    }

    pub(crate) fn later(&mut self, at: u64, what: Happening) {
        self.agenda.add(at.max(self.t), what);
    }

    /// With `TSG_SIM_TRACE` a world tells what happens in it.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>8} {}", self.t, what());
        }
    }

    /// How far the server's crystal has run ahead.
    const fn server_drift(&self) -> i64 {
        self.t.cast_signed() * self.plan.ppm / 1_000_000
    }

    pub(crate) fn server_time(&self) -> u64 {
        self.t.saturating_add_signed(self.server_drift() + self.server_ahead)
    }

    /// Runs until the true time `end`.
    pub(crate) fn run(&mut self, end: u64) {
        while let Some((at, what)) = self.agenda.next(end) {
            self.t = at;
            self.happen(what);
        }
        self.t = end;
    }

    /// The server wants to be called at its own time `due`.
    pub(crate) fn set_server_timer(&mut self, due: Option<u64>) {
        self.server_timer = due;
        if let Some(due) = due {
            // A millisecond later rather than earlier: it must be due by the server's clock, too.
            let at = due.saturating_add_signed(-self.server_ahead - self.server_drift()) + 1;
            self.later(at, Happening::ServerTimer(due));
        }
    }

    fn server_timeout(&mut self, due: u64) {
        if self.server_timer != Some(due) {
            return;
        }
        let now = self.server_time();
        self.checks.count_step(&mut self.server_steps, self.t, "server");
        self.log.note_input(|| Input::Timeout, now);
        if let Some(server) = &mut self.server {
            server.handle_timeout(now);
        }
        self.server_turn();
    }

    fn gateway_timeout(&mut self, who: usize, due: u64) {
        let member = &mut self.members[who];
        if member.timer != Some(due) {
            return;
        }
        member.timer = None;
        self.checks.count_step(&mut member.steps, self.t, "gateway");
        member.gateway.handle_timeout(member.local(self.t));
        self.gateway_turn(who);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToServer { from, generation, frame } => {
                self.at_server(from, generation, frame);
            }
            Happening::ToGateway { to, generation, frame } => {
                self.at_gateway(to, generation, frame);
            }
            Happening::Connected { who, generation } => self.connected(who, generation),
            Happening::Heal(who) => self.heal(who),
            Happening::Talk(who) => self.talk(who),
            Happening::Packet { to, packet } => self.arrives(to, &packet),
            Happening::InClear { to, packet } => self.arrives_in_clear(to, packet),
            Happening::Power { who, alone } => self.power_on(who, alone),
            Happening::PowerCut(who) => self.power_cut(who),
            Happening::Flash(who) => self.tend_flash(who),
            Happening::ServerReads => self.server_reads(),
            Happening::ServerStarts => self.start_server(),
            Happening::Trouble => self.trouble(),
            Happening::Mischief(who) => self.mischief(who),
            Happening::Audit => self.audit(),
            Happening::Timer { who, due } => self.gateway_timeout(who, due),
            Happening::ServerTimer(due) => self.server_timeout(due),
        }
    }

    /// Carries out what a gateway wants after an event.
    pub(crate) fn gateway_turn(&mut self, who: usize) {
        if self.members[who].is_off {
            return;
        }
        while let Some(mut message) = self.members[who].gateway.poll_transmit() {
            match self.members[who].is_hostile() {
                true => self.members[who].twist(&mut message, &mut self.chance),
                false => self.checks.count_message(&mut self.members[who].said, self.t),
            }
            let frame = Frame::of(&message, self.messages());
            self.send_to_server(who, frame);
        }
        let member = &mut self.members[who];
        let mut commands = Vec::new();
        let before = brief(&member.views);
        let (mut told, mut save) = (false, false);
        while let Some(event) = member.gateway.poll_event() {
            match event {
                Event::Save => save = true,
                Event::Command(command) => commands.push(command.command),
                Event::Standing => told = true,
                Event::Keys | Event::Policy | Event::Machines | Event::TokenSpent => {}
            }
        }
        if save {
            member.save(self.t);
        }
        let more = !commands.is_empty();
        for command in commands {
            member.gateway.done(Done { command, ok: true, text: String::new() });
        }
        member.look(self.t);
        self.checks.views(member, self.t);
        let member = &self.members[who];
        told |= before != brief(&member.views);
        if told {
            self.tell(|| {
                format!("box {who}: {:?} {:?}", member.gateway.standing(), brief(&member.views))
            });
        }
        let member = &mut self.members[who];
        let due = member.gateway.poll_timeout();
        if due != member.timer {
            member.timer = due;
            if let Some(due) = due {
                let at = member.true_time(due);
                self.later(at, Happening::Timer { who, due });
            }
        }
        if more {
            self.gateway_turn(who);
        }
    }
}
