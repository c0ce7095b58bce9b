//! What operators, cables and power supplies do at random.

use crate::agenda::Happening;
use crate::hostile::Vice;
use crate::member::WORKERS;
use crate::orders::{Order, group_index};
use crate::promises::PATIENCE;
use crate::services;
use crate::snapshot::Input;
use crate::world::World;
use tsg_control::gateway::Standing;
use tsg_control::keys::PublicKey;
use tsg_control::message::CommandKind;
use tsg_control::token::TokenSecret;
use tsg_esp::spi::Spi;

pub(crate) const GROUPS: [&str; 2] = ["plant", "lab"];

/// Beyond this sender number a group gets a new epoch.
pub(crate) const MANY_SENDERS: u32 = Spi::MAX_SENDER / 4 * 3;

impl World {
    /// Two groups, and one that is to come with a token.
    pub(crate) fn begin(&mut self) {
        self.start_server();
        for name in GROUPS {
            self.order(Order::AddGroup(name));
        }
        self.begin_rulebook(None);
        for name in GROUPS {
            let policy = services::policy(&mut self.chance);
            self.order_policy(name, policy);
        }
        self.start_late();
        for who in 0..self.plan.boxes - 1 {
            let group = GROUPS[usize::from(who >= self.plan.lab_from)];
            self.order(Order::Approve(self.members[who].key, group));
        }
        let token = self.token("plant");
        self.restart(self.plan.boxes - 1, true, token);
        let hostile = if self.plan.hostile {
            self.chance.between(1, 1 + self.plan.boxes as u64 / 8)
        } else {
            0
        };
        for _ in 0..hostile {
            let who = self.chance.below(self.plan.boxes - 1);
            self.members[who].vices = Vice::some(&mut self.chance);
            self.later(1_000, Happening::Mischief(who));
            self.tell(|| format!("box {who} has vices: {:?}", self.members[who].vices));
        }
        self.later(5_000, Happening::Audit);
        for who in 0..self.plan.boxes {
            self.break_link(who);
            let first = self.chance.between(0, 500);
            self.later(first, Happening::Talk(who));
            if self.members[who].flash.is_some() {
                self.later(first, Happening::Flash(who));
            }
        }
        self.later(30_000, Happening::Trouble);
    }

    /// The server goes on from where its groups have had many epochs.
    fn start_late(&mut self) {
        for group in &mut self.disk.stored.groups {
            group.last_epoch = self.plan.last_epoch;
        }
        if let Some(server) = self.server.take() {
            self.checks.acknowledged(&server, self.server_time());
        }
        self.start_server();
    }

    /// Nothing bad happens from now on, and what is broken is repaired.
    pub(crate) fn calm(&mut self) {
        self.dies_after = None;
        self.disk_full_until = 0;
        for who in 0..self.plan.boxes {
            self.power_on(who, None);
            if self.members[who].link.cut {
                self.heal(who);
            }
        }
        if self.server.is_none() {
            self.later(self.t, Happening::ServerStarts);
        }
    }

    pub(crate) fn trouble(&mut self) {
        let pause = self.chance.between(300, 9_000);
        self.later(self.t + pause, Happening::Trouble);
        self.checks.times(&self.members, self.resumed, self.t);
        if self.t + 5_000 > self.quiet_from {
            return;
        }
        let who = self.chance.below(self.plan.boxes);
        let what = self.chance.below(13);
        self.tell(|| format!("trouble {what} for box {who}"));
        match what {
            0 | 1 if self.members[who].is_off => {}
            0 if self.t < self.resumed + 12_000 => {}
            0 if self.plan.restarts => {
                let reboot = self.chance.happens(400);
                self.restart(who, reboot, None);
            }
            2 | 3 if self.plan.snapshots => self.snapshot(),
            1 if self.plan.breaks => {
                self.members[who].link.up = false;
                self.break_link(who);
            }
            2 if self.plan.partitions => {
                let until = self.t + self.chance.between(5_000, 90_000);
                self.cut(who, until.min(self.quiet_from));
            }
            3 if self.plan.crashes && self.chance.happens(700) => self.doom(),
            3 if self.plan.crashes && self.chance.happens(500) => self.fill_disk(),
            4 if self.plan.jumps => self.clock_jump(),
            // Where packets overtake each other, such a leap leaves the slow ones behind.
            5 if !self.plan.rough => self.wear(who),
            6 | 7 if self.plan.revocations => self.membership(who),
            8 => self.rekey(who),
            9 | 10 => self.change_group(who),
            12 if self.plan.power_cuts => self.power_cut(who),
            _ => self.other_orders(who),
        }
        if self.chance.happens(200) {
            self.backups.push(self.disk.clone());
        }
    }

    pub(crate) fn restart(&mut self, who: usize, reboot: bool, token: Option<TokenSecret>) {
        let process = self.chance.next();
        let t = self.t;
        let member = &mut self.members[who];
        member.restart(reboot, token, t, process);
        member.excused = member.excused.max(t + if reboot { 45_000 } else { 5_000 });
        member.link.up = false;
        member.link.waiting.clear();
        if !member.link.cut {
            self.break_link(who);
        }
        self.replay(who);
        self.gateway_turn(who);
    }

    fn clock_jump(&mut self) {
        let far = [5_000, 3_600_000, 30 * 86_400_000][self.chance.below(3)];
        self.server_ahead += if self.chance.happens(500) { far } else { -far };
        let now = self.server_time();
        self.begins_anew();
        self.log.note_input(|| Input::ClockJump, now);
        if let Some(server) = &mut self.server {
            server.handle_clock_jump(now);
            self.rulebook.clock_jumped(self.t);
            self.promises.postpone(self.t);
            self.server_turn();
        }
    }

    /// The data path has sealed a lot; that of all, when nobody can have other sender numbers.
    fn wear(&mut self, who: usize) {
        let few = self.chance.between(0, 5);
        let all = self.server.is_none();
        for member in self.members.iter_mut().filter(|member| all || member.index == who) {
            (0..WORKERS).for_each(|worker| member.leases.wear(worker, few));
        }
    }

    fn membership(&mut self, who: usize) {
        let key = self.members[who].key;
        let now = self.server_time();
        let Some(server) = &self.server else { return };
        let known = server.gateways(now).into_iter().find(|view| view.key == key);
        match known {
            Some(view) if !view.group.is_empty() && view.reason.is_none() => {
                let group = server.groups(now).into_iter().find(|group| group.name == view.group);
                let delay = u64::from(group.map_or(5, |group| group.settings.revoke_delay)) * 1000;
                let revoke = self.chance.happens(700);
                self.order_out(who, &view.group, delay, revoke);
            }
            Some(_) | None => {
                self.members[who].excused = self.t + 100_000;
                let group = GROUPS[self.chance.below(2)];
                for ghost in self.checks.ghosts.iter_mut().filter(|ghost| ghost.who == who) {
                    ghost.back = true;
                }
                self.order(Order::Approve(key, group));
            }
        }
    }

    fn rekey(&mut self, who: usize) {
        match who % 10 {
            0..5 => self.order_rekey("plant"),
            5 => self.order_rekey("lab"),
            _ => GROUPS.into_iter().for_each(|group| self.order_rekey(group)),
        }
    }

    fn change_group(&mut self, who: usize) {
        let group = GROUPS[usize::from(who % 10 > 7)];
        let changes: &[(&'static str, &[&'static str])] = &[
            ("mode", &["enforce", "migrate", "enforce", "receive-only", "enforce", "learn"]),
            ("default_action", &["bypass", "drop"]),
            ("encap", &["udp", "protocol"]),
            ("cipher", &["auto", "chacha20-poly1305"]),
            ("revoke_delay", &["1", "2", "5"]),
            ("island_time", &["0", "3600", "infinite"]),
            ("key_lifetime", &["60", "300", "24h"]),
        ];
        match self.chance.below(changes.len() * 2) {
            at if at < changes.len() => {
                let (name, values) = changes[at];
                let value = values[self.chance.below(values.len())];
                self.order(Order::Set(group, name, value));
            }
            _ => {
                let policy = services::policy(&mut self.chance);
                self.order_policy(group, policy);
            }
        }
    }

    fn other_orders(&mut self, who: usize) {
        let key = self.members[who].key;
        let kind = [CommandKind::Reload, CommandKind::Reregister, CommandKind::Diagnostics]
            [self.chance.below(3)]
        .clone();
        let port = self.chance.next() as u8;
        match self.chance.below(7) {
            5 | 6 if self.plan.crowded => self.few_senders(),
            0 => self.come_with_token(who, key),
            1 => {
                self.members[who].hears_machines(&[[10, 0, who as u8, port].into()], self.t);
                self.gateway_turn(who);
            }
            2 => drop(self.order(Order::Pin(key, vec![[10, 1, who as u8, port].into()]))),
            3 => drop(self.order(Order::Rename(key, format!("box-{who}-{port}")))),
            _ => drop(self.order(Order::Command(key, kind))),
        }
    }

    /// Sender numbers come to where the group needs a new epoch, or to their end.
    fn few_senders(&mut self) {
        let group = GROUPS[self.chance.below(2)];
        let (near, last) = match self.chance.below(4) {
            0 => (40, Spi::MAX_SENDER),
            _ => (200, MANY_SENDERS),
        };
        let first = last - self.chance.between(0, near) as u32;
        self.order(Order::Senders(group, first));
        self.order_rekey(group);
        if last == Spi::MAX_SENDER {
            // There are none for all, until the epoch after that. What nobody can bring about: it
            // takes four million numbers while one rekey lasts.
            self.checks.excuse(group_index(group), self.t + 2 * PATIENCE);
        }
    }

    /// A gateway that is not let in reboots with a token.
    fn come_with_token(&mut self, who: usize, key: PublicKey) {
        let now = self.server_time();
        let Some(server) = &self.server else { return };
        let inside =
            server.gateways(now).into_iter().any(|view| view.key == key && !view.group.is_empty());
        let member = &self.members[who];
        if !inside && !member.is_off && *member.gateway.standing() == Standing::Pending {
            let token = self.token("lab");
            self.members[who].excused = self.t + 100_000;
            self.restart(who, true, token);
        }
    }

    fn token(&mut self, group: &'static str) -> Option<TokenSecret> {
        let expires = self.server_time() / 1000 + 600;
        self.order(Order::Token(group, expires))?.token
    }
}
