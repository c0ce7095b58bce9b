//! What operators order, as values: so that it can be told, and given once more.

use crate::checks::Checks;
use crate::ghost::Ghost;
use crate::promises::Change;
use crate::trouble::GROUPS;
use crate::world::World;
use std::net::IpAddr;
use tsg_control::keys::PublicKey;
use tsg_control::message::CommandKind;
use tsg_control::policy::Policy;
use tsg_control::server::{OrderError, Server};
use tsg_control::token::TokenSecret;

#[derive(Clone, Debug)]
pub(crate) enum Order {
    AddGroup(&'static str),
    Approve(PublicKey, &'static str),
    Revoke(PublicKey),
    Remove(PublicKey),
    Rekey(&'static str),
    /// The next epoch begins with this sender number.
    Senders(&'static str, u32),
    Set(&'static str, &'static str, &'static str),
    Policy(&'static str, Policy),
    Pin(PublicKey, Vec<IpAddr>),
    Rename(PublicKey, String),
    Command(PublicKey, CommandKind),
    Token(&'static str, u64),
}

/// What an order gave.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) version: u64,
    pub(crate) token: Option<TokenSecret>,
}

impl Order {
    pub(crate) fn apply(&self, server: &mut Server, now: u64) -> Result<Given, OrderError> {
        let mut given = Given::default();
        match self.clone() {
            Self::AddGroup(name) => server.add_group(name, now)?,
            Self::Approve(key, group) => drop(server.approve(key, group, now / 1000, now)?),
            Self::Revoke(key) => server.revoke(key, "lost", now)?,
            Self::Remove(key) => server.remove(key, now)?,
            Self::Rekey(group) => drop(server.rekey(group, now)?),
            Self::Senders(group, first) => server.begin_senders_at(group, first)?,
            Self::Set(group, name, value) => {
                server.set_group(group, &[(name.to_owned(), value.to_owned())], now)?;
            }
            Self::Policy(group, policy) => given.version = server.set_policy(group, policy, now)?,
            Self::Pin(key, machines) => server.pin(key, machines, now)?,
            Self::Rename(key, name) => server.rename(key, &name, now)?,
            Self::Command(key, kind) => drop(server.command(key, kind, now)?),
            Self::Token(group, expires) => {
                given.token = Some(server.create_token(group, expires)?.1);
            }
        }
        Ok(given)
    }
}

impl World {
    /// An operator orders something; the answer is given once it is on disk.
    pub(crate) fn order(&mut self, order: Order) -> Option<Given> {
        let now = self.server_time();
        let server = self.server.as_mut()?;
        self.log.note(&order, now);
        let given = order.apply(server, now);
        if let Order::Policy(group, _) | Order::Set(group, ..) = &order {
            let views = server.groups(now).into_iter().filter(|view| view.name == *group);
            for view in views {
                let (number, mode) = (view.policy_version, view.settings.mode);
                self.rulebook.give(group, number, &view.policy, mode, self.t);
            }
        }
        self.tell(|| format!("{order:?}: {:?}", given.as_ref().map(|given| given.version)));
        self.server_turn();
        given.ok()
    }

    pub(crate) fn order_rekey(&mut self, group: &'static str) {
        let last = self.last_epoch(group);
        if self.order(Order::Rekey(group)).is_some() && self.server.is_some() {
            self.promise(group, Change::Epoch(last));
        }
    }

    pub(crate) fn order_policy(&mut self, group: &'static str, policy: Policy) {
        let given = self.order(Order::Policy(group, policy));
        if let Some(given) = given.filter(|_| self.server.is_some()) {
            self.promise(group, Change::Policy(given.version));
        }
    }

    /// Throws a member out; who listens to it from then on is judged.
    pub(crate) fn order_out(&mut self, who: usize, group: &str, delay: u64, revoke: bool) {
        let (t, key) = (self.t, self.members[who].key);
        let ghost = Ghost::of(&self.members[who], t, delay, &self.plan);
        self.checks.ghosts.retain(|ghost| ghost.who != who);
        self.checks.ghosts.push(ghost);
        self.checks.tally.ghosts += 1;
        self.checks.excuse(group_index(group), t + delay + 15_000);
        self.members[who].excused = t + 100_000;
        self.order(if revoke { Order::Revoke(key) } else { Order::Remove(key) });
    }
}

/// Which of the groups this is.
pub(crate) fn group_index(name: &str) -> usize {
    GROUPS.iter().position(|group| *group == name).unwrap_or(0)
}

impl Checks {
    /// Until then members of this group may lose packets.
    pub(crate) fn excuse(&mut self, group: usize, until: u64) {
        self.excused[group] = self.excused[group].max(until);
    }

    pub(crate) fn excuse_all(&mut self, until: u64) {
        for group in 0..GROUPS.len() {
            self.excuse(group, until);
        }
    }

    pub(crate) fn excused(&self, group: Option<&str>) -> u64 {
        group.map_or(0, |name| self.excused[group_index(name)])
    }
}
