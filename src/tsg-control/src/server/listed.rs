//! Many gateways let in at once, by a list of their fingerprints: a roll-out of hundreds of boxes.

use super::Server;
use super::orders::{Answer, OrderError};
use crate::keys::Fingerprint;
use std::collections::{BTreeMap, BTreeSet};

/// A list has at most this many fingerprints: no more gateways than that wait at once.
pub const MOST_LISTED: usize = super::MOST_PENDING;

/// What a list of fingerprints came to; in the list's order, each of them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// They waited, and are members now.
    pub approved: Vec<ListedGateway>,
    /// They were members before.
    pub members: Vec<ListedGateway>,
    /// They were thrown out once, and stay so.
    pub revoked: Vec<ListedGateway>,
    /// Nobody with these has asked to join.
    pub absent: Vec<Fingerprint>,
}

/// A gateway of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGateway {
    /// The name that it has here.
    pub name: String,
    /// As in the list.
    pub fingerprint: Fingerprint,
    /// Its group.
    pub group: String,
}

impl Server {
    /// Lets all gateways into a group that wait and whose fingerprint is listed. The others stay as they are: who was
    /// thrown out comes back by [`Server::approve`] only, as somebody had a reason.
    ///
    /// # Errors
    /// There is no such group, or the list is empty or longer than [`MOST_LISTED`].
    pub fn approve_listed(
        &mut self,
        listed: &[Fingerprint],
        group: &str,
        wall: u64,
        now: u64,
    ) -> Answer<Listed> {
        self.group(group)?;
        if listed.is_empty() {
            return Err(OrderError::Invalid("there is no fingerprint in the list".to_owned()));
        }
        if listed.len() > MOST_LISTED {
            let text = format!("at most {MOST_LISTED} fingerprints can be listed at once");
            return Err(OrderError::Invalid(text));
        }
        let wanted: BTreeSet<_> = listed.iter().copied().collect();
        let keys = self.gateways.keys().chain(self.pending.keys());
        let by_print: BTreeMap<_, _> = keys
            .map(|key| (key.fingerprint(), *key))
            .filter(|(print, _)| wanted.contains(print))
            .collect();
        let mut done = BTreeSet::new();
        let mut came = Listed::default();
        for print in listed.iter().copied().filter(|print| done.insert(*print)) {
            let Some(key) = by_print.get(&print).copied() else {
                came.absent.push(print);
                continue;
            };
            let of = |name: &str, group: &str| ListedGateway {
                name: name.to_owned(),
                fingerprint: print,
                group: group.to_owned(),
            };
            match self.gateways.get(&key).map(|gateway| &gateway.record) {
                Some(known) if known.revoked.is_some() => {
                    came.revoked.push(of(&known.name, &known.group));
                }
                Some(known) => came.members.push(of(&known.name, &known.group)),
                None => came.approved.push(of(&self.let_in(key, group, wall), group)),
            }
        }
        if !came.approved.is_empty() {
            // Once for all of them: each step looks at every group and every member.
            self.map_changed(group, now);
            self.advance(now);
        }
        Ok(came)
    }
}
