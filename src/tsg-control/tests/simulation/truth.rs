//! What operators were told, and what the server says after it died.

use crate::checks::Checks;
use std::collections::{BTreeMap, BTreeSet};
use tsg_control::server::Server;

pub(crate) type Truth = BTreeMap<String, String>;

impl Checks {
    /// 5: what an operator was told is on disk.
    pub(crate) fn acknowledged(&mut self, server: &Server, now: u64) {
        for group in server.groups(now) {
            let few = group.epochs.len() <= 3;
            self.demand(few, now, || format!("{} epochs live", group.epochs.len()));
        }
        self.truth = truth(server, now);
        self.open_end.clear();
    }

    pub(crate) fn died_within_a_turn(&mut self, server: &Server, now: u64) {
        self.open_end = truth(server, now);
        self.open_end.insert("died".to_owned(), String::new());
    }

    pub(crate) fn remembered(&mut self, server: &Server, now: u64) {
        self.tally.crashes += 1;
        let found = truth(server, now);
        let keys: BTreeSet<_> = found.keys().chain(self.truth.keys()).collect();
        for key in keys {
            let fine = found.get(key) == self.truth.get(key)
                || (!self.open_end.is_empty() && found.get(key) == self.open_end.get(key));
            self.demand(fine, now, || {
                format!(
                    "after a crash {key} is {:?}, was {:?}",
                    found.get(key),
                    self.truth.get(key)
                )
            });
        }
        self.forget_those_inside(server, now);
        self.acknowledged(server, now);
    }

    /// Who is in after all was not thrown out, as far as this server knows.
    pub(crate) fn forget_those_inside(&mut self, server: &Server, now: u64) {
        let inside: BTreeSet<_> = server
            .gateways(now)
            .into_iter()
            .filter(|view| view.reason.is_none() && !view.group.is_empty())
            .map(|view| view.key)
            .collect();
        self.ghosts.retain(|ghost| ghost.back || !inside.contains(&ghost.key));
    }
}

fn truth(server: &Server, now: u64) -> Truth {
    let gateways = server.gateways(now).into_iter().filter(|view| !view.group.is_empty());
    let gateways = gateways.map(|view| {
        (
            format!("gateway {}", view.key),
            format!(
                "{} in {}, revoked: {:?}, pinned: {:?}",
                view.name, view.group, view.reason, view.pinned
            ),
        )
    });
    let groups = server.groups(now).into_iter().map(|view| {
        (
            format!("group {}", view.name),
            format!("policy {}: {:?}, {:?}", view.policy_version, view.policy, view.settings),
        )
    });
    let tokens = server.tokens().into_iter();
    let tokens = tokens.map(|view| (format!("token {}", view.id), format!("{:?}", view.used_by)));
    gateways.chain(groups).chain(tokens).collect()
}
