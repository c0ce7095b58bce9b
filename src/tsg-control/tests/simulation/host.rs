//! The machine that the key server runs on: it stores, sends, dies and starts again.

use crate::agenda::Happening;
use crate::world::World;
use tsg_control::server::Server;

impl World {
    /// Makes records durable, then sends; the server may die at any point of this.
    pub(crate) fn server_turn(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        while let Some(record) = server.poll_record() {
            if self.dies() {
                self.checks.died_within_a_turn(&server, self.server_time());
                return self.server_gone();
            }
            self.disk.put(record);
        }
        // It is as good as dead: what operators were told until now must still be true then.
        if self.dies_after.is_some() {
            self.checks.acknowledged(&server, self.server_time());
        }
        while let Some((key, message)) = server.poll_transmit() {
            if self.dies() {
                return self.server_gone();
            }
            if let Some(&to) = self.who.get(&key) {
                self.send_to_gateway(to, &message);
            }
        }
        while server.poll_announcement().is_some() {}
        while let Some(event) = server.poll_event() {
            self.tell(|| format!("server: {}", event.text));
        }
        let now = self.server_time();
        self.set_server_timer(server.poll_timeout(now));
        self.server = Some(server);
    }

    /// The server is going to die after some more records and messages.
    pub(crate) fn doom(&mut self) {
        let Some(server) = &self.server else { return };
        self.checks.acknowledged(server, self.server_time());
        self.dies_after = Some(self.chance.between(1, 12));
    }

    fn dies(&mut self) -> bool {
        if let Some(left) = &mut self.dies_after {
            *left = left.saturating_sub(1);
        }
        self.dies_after == Some(0)
    }

    /// It is dead: connections break, and it starts again after a while.
    pub(crate) fn server_gone(&mut self) {
        self.tell(|| "the server dies".to_owned());
        self.server = None;
        self.server_timer = None;
        self.dies_after = None;
        // Who was to be left behind when it died stays so until it is back.
        if self.t < self.checks.excused {
            self.checks.excused = u64::MAX;
        }
        for member in &mut self.members {
            member.link.up = false;
            member.link.generation += 1;
        }
        let wait = match self.chance.below(4) {
            0 => self.chance.between(40_000, 70_000),
            _ => self.chance.between(100, 5_000),
        };
        self.later(self.t + wait, Happening::ServerStarts);
    }

    pub(crate) fn start_server(&mut self) {
        let old = self.plan.backups && !self.backups.is_empty() && self.chance.happens(300);
        let old = old && self.t + 100_000 < self.quiet_from.max(200_000);
        if old {
            let which = self.chance.below(self.backups.len());
            self.disk = self.backups[which].clone();
            self.checks.restored_backup(self.t);
            self.promises.forget();
        }
        self.tell(|| format!("the server starts{}", if old { " from a backup" } else { "" }));
        let now = self.server_time();
        let random = Box::new(self.chance.split());
        let server = Server::new(self.disk.stored.clone(), random, now);
        if !old {
            self.checks.remembered(&server, now);
        }
        self.server = Some(server);
        self.server_since = self.t;
        self.promises.postpone(self.t);
        if self.checks.excused == u64::MAX {
            self.checks.excused = self.t + 25_000;
        }
        self.server_turn();
        for who in 0..self.plan.boxes {
            let member = &mut self.members[who];
            if member.views.iter().all(|view| view.prepared) {
                // It rebooted meanwhile, and the new epoch may wait for others.
                member.excused = member.excused.max(self.t + 20_000);
            }
            if !member.link.cut {
                self.break_link(who);
            }
        }
    }
}
