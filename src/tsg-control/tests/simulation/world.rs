//! A server, ten boxes and everything between them, in virtual milliseconds.

use crate::checks::{Checks, brief};
use crate::disk::Disk;
use crate::member::{Member, Packet};
use crate::plan::Plan;
use crate::random::Chance;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tsg_control::gateway::Event;
use tsg_control::keys::PublicKey;
use tsg_control::message::{self, Done};
use tsg_control::server::Server;

pub(crate) const BOXES: usize = 10;

/// What is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    ToServer {
        from: usize,
        generation: u64,
        frame: Vec<u8>,
    },
    ToGateway {
        to: usize,
        generation: u64,
        frame: Vec<u8>,
    },
    Connected {
        who: usize,
        generation: u64,
    },
    Heal(usize),
    /// A box sends a packet to all others.
    Talk(usize),
    Packet {
        to: usize,
        packet: Packet,
    },
    ServerStarts,
    /// An operator, a cable or a power supply does something.
    Trouble,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) t: u64,
    pub(crate) server: Option<Server>,
    pub(crate) server_since: u64,
    /// The server's clock less the true time.
    pub(crate) server_ahead: i64,
    pub(crate) server_timer: Option<u64>,
    server_steps: (u64, u64),
    /// The server dies after so many more records and messages.
    pub(crate) dies_after: Option<u64>,
    pub(crate) disk: Disk,
    pub(crate) backups: Vec<Disk>,
    pub(crate) members: Vec<Member>,
    timers: Vec<u64>,
    pub(crate) who: BTreeMap<PublicKey, usize>,
    /// No trouble from then on.
    pub(crate) quiet_from: u64,
    pub(crate) checks: Checks,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let plan = Plan::new(seed, &mut chance);
        let members: Vec<_> = (0..BOXES).map(|index| Member::new(index, &mut chance)).collect();
        let who = members.iter().map(|member| (member.key, member.index)).collect();
        let mut world = Self {
            checks: Checks::new(plan.seed),
            plan,
            t: 0,
            server: None,
            server_since: 0,
            server_ahead: 1_700_000_000_000,
            server_timer: None,
            server_steps: (0, 0),
            dies_after: None,
            disk: Disk::default(),
            backups: Vec::new(),
            members,
            timers: vec![0; BOXES],
            who,
            quiet_from: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            told: std::env::var_os("TSG_SIM_TRACE").is_some(),
            chance,
        };
        world.begin();
        world
    }

    pub(crate) fn later(&mut self, at: u64, what: Happening) {
        self.next += 1;
        self.queue.push(Reverse((at.max(self.t), self.next)));
        self.happenings.insert(self.next, what);
    }

    /// With `TSG_SIM_TRACE` a world tells what happens in it.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>8} {}", self.t, what());
        }
    }

    pub(crate) fn server_time(&self) -> u64 {
        self.t.saturating_add_signed(self.server_ahead)
    }

    /// Runs until the true time `end`.
    pub(crate) fn run(&mut self, end: u64) {
        loop {
            let queued = self.queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            let timer = self.server_timer.unwrap_or(u64::MAX);
            let gateway = (0..BOXES).min_by_key(|&who| self.timers[who]).unwrap_or(0);
            let at = queued.min(timer).min(self.timers[gateway]);
            if at > end {
                self.t = end;
                return;
            }
            self.t = self.t.max(at);
            if queued == at {
                let Some(Reverse((_, number))) = self.queue.pop() else { continue };
                let Some(what) = self.happenings.remove(&number) else { continue };
                self.happen(what);
            } else if timer == at {
                let now = self.server_time();
                self.checks.count_step(&mut self.server_steps, self.t, "server");
                if let Some(server) = &mut self.server {
                    server.handle_timeout(now);
                }
                self.server_turn();
            } else {
                let member = &mut self.members[gateway];
                self.checks.count_step(&mut member.steps, self.t, "gateway");
                member.gateway.handle_timeout(member.local(self.t));
                self.gateway_turn(gateway);
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToServer { from, generation, frame } => {
                self.at_server(from, generation, &frame);
            }
            Happening::ToGateway { to, generation, frame } => {
                self.at_gateway(to, generation, &frame);
            }
            Happening::Connected { who, generation } => self.connected(who, generation),
            Happening::Heal(who) => self.heal(who),
            Happening::Talk(who) => self.talk(who),
            Happening::Packet { to, packet } => self.arrives(to, &packet),
            Happening::ServerStarts => self.start_server(),
            Happening::Trouble => self.trouble(),
        }
    }

    /// Carries out what a gateway wants after an event.
    pub(crate) fn gateway_turn(&mut self, who: usize) {
        while let Some(message) = self.members[who].gateway.poll_transmit() {
            self.checks.count_message(&mut self.members[who].said, self.t);
            self.send_to_server(who, message::encode(&message).to_vec());
        }
        let member = &mut self.members[who];
        let mut commands = Vec::new();
        let before = brief(&member.views);
        let mut told = false;
        while let Some(event) = member.gateway.poll_event() {
            match event {
                Event::Save => member.saved = member.gateway.save(),
                Event::Command(command) => commands.push(command.command),
                Event::Standing => told = true,
                Event::Keys | Event::Policy | Event::Machines | Event::TokenSpent => {}
            }
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
        let member = &self.members[who];
        let due = member.gateway.poll_timeout().unwrap_or(u64::MAX / 2);
        self.timers[who] = member.true_time(due);
        if more {
            self.gateway_turn(who);
        }
    }
}
