//! The end of a turn: make everything durable, and only then tell anybody.
//!
//! While the disk is full, what could not be stored waits here, and nobody is told of it; gateways
//! are still told the time, and operators what is wrong (docs/decisions/0008).

use super::Daemon;
use super::turn::Pending;
use crate::clock::Reading;
use crate::database::{self, Batch};
use crate::operations::{Refusal, RefusalKind};
use anyhow::Result;
use tsg_control::message::ToGateway;
use tsg_control::server::Record;

/// Orders are refused when less than this is left on the disk, in bytes: what is left is for what the
/// server has to store by itself.
pub(crate) const RESERVE: u64 = 16 << 20;

/// While the disk is full, it is tried again after this many milliseconds.
const TRY_AGAIN: u64 = 1_000;

impl Daemon {
    /// Makes everything durable, and only then tells anybody.
    pub(super) fn settle(&mut self, now: u64) -> Result<()> {
        self.note_changes("server");
        self.log_events(now);
        let boot = Reading::now()?.boot;
        let stored = match self.full_until {
            Some(again) if boot < again => false,
            Some(_) | None => self.store(now, boot)?,
        };
        if stored {
            self.tell();
        } else {
            self.tell_that_it_waits();
        }
        Ok(())
    }

    /// Gives whether everything is durable.
    fn store(&mut self, now: u64, boot: u64) -> Result<bool> {
        let Err(error) = self.database.store(&self.batch, now) else {
            if self.full_until.take().is_some() {
                log::warn!("there is room on the disk again: {} changes stored", self.batch.len());
            }
            let batch = std::mem::take(&mut self.batch);
            for (record, _) in &batch.changes {
                self.network.note(record);
            }
            if !batch.audit.is_empty() {
                self.notifier.audit_grew();
            }
            if !batch.accounts.is_empty() {
                self.directory.show(&self.accounts);
            }
            return Ok(true);
        };
        if database::is_full(&error) {
            if self.full_until.replace(boot + TRY_AGAIN).is_none() {
                log::error!(
                    "{error:#}; nothing new comes into force until there is room: delete \
                     something on that disk, or enlarge it"
                );
            }
            return Ok(false);
        }
        let text = format!("{error:#}; whether it was stored is not known; the key server ends");
        for pending in self.answers.drain(..) {
            let refusal = Refusal::new(RefusalKind::Unavailable, text.clone());
            pending.reply.give(Err(refusal));
        }
        Err(error)
    }

    fn tell(&mut self) {
        while let Some((to, message)) = self.server.poll_transmit() {
            self.network.send(&to, &message);
        }
        while let Some(announcement) = self.server.poll_announcement() {
            self.network.announce(&announcement);
        }
        for pending in self.answers.drain(..) {
            pending.reply.give(pending.outcome);
        }
    }

    /// Only what is true whether or not the disk has it. Gateways say with their next sign of
    /// life what they lack.
    fn tell_that_it_waits(&mut self) {
        while let Some((to, message)) = self.server.poll_transmit() {
            if matches!(message, ToGateway::Pulse(_)) {
                self.network.send(&to, &message);
            }
        }
        while self.server.poll_announcement().is_some() {}
        for Pending { outcome, reply, changes } in self.answers.drain(..) {
            let waits = || {
                let text = "the disk is full: the order is kept in memory, and comes into force \
                            when there is room, if the key server runs until then";
                Refusal::new(RefusalKind::Unavailable, text)
            };
            reply.give(if changes { Err(waits()) } else { outcome });
        }
    }

    /// Why no order can be taken now.
    pub(super) fn no_room(&self) -> Option<Refusal> {
        let free = self.database.free();
        if free >= RESERVE && self.full_until.is_none() {
            return None;
        }
        let text = format!(
            "the disk of {} has {} KiB left, {} MiB are needed: nothing was changed; delete \
             something on that disk, or enlarge it",
            self.database.path().display(),
            free >> 10,
            RESERVE >> 20
        );
        Some(Refusal::new(RefusalKind::Unavailable, text))
    }

    /// A change is to be durable. While the disk is full, only the newest of a group is kept.
    pub(super) fn keep(&mut self, record: Record, who: &str) {
        if self.full_until.is_some()
            && let Record::Group(new) = &record
            && let Some(waiting) = waiting_group(&mut self.batch, &new.name)
        {
            // Who caused it stays: while the disk is full, no order gives a group another policy.
            *waiting = record;
            return;
        }
        self.batch.changes.push((record, who.to_owned()));
    }
}

/// The newest record of this group that waits, unless the group was removed after it: one that is older would be overwritten by
/// what is behind it. What else is behind it is of gateways and tokens, and all of it is stored at once.
fn waiting_group<'a>(batch: &'a mut Batch, name: &str) -> Option<&'a mut Record> {
    let mut newest_first = batch.changes.iter_mut().rev().map(|(record, _)| record);
    let is_of_group = |record: &&mut Record| match record {
        Record::Group(group) => group.name == name,
        Record::GroupGone(gone) => gone == name,
        Record::Gateway(_) | Record::GatewayGone(_) | Record::Token(_) | Record::TokenGone(_) => {
            false
        }
    };
    newest_first.find(is_of_group).filter(|record| matches!(record, Record::Group(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::keys::PublicKey;
    use tsg_control::server::GroupRecord;

    fn group(name: &str, last_epoch: u64) -> Record {
        let policy =
            r#"{"version":1,"policy":{"rules":[]},"mode":"migrate","non_ip":"pass","fail":"open"}"#;
        Record::Group(GroupRecord {
            name: name.to_owned(),
            settings: tsg_control::group::Settings::default(),
            policy: serde_json::from_str(policy).unwrap(),
            previous: None,
            last_epoch,
            epochs: Vec::new(),
        })
    }

    fn batch(records: Vec<Record>) -> Batch {
        let by = |record| (record, "somebody".to_owned());
        Batch { changes: records.into_iter().map(by).collect(), ..Batch::default() }
    }

    #[test]
    fn the_newest_record_of_a_group_is_replaced() {
        // As a revocation leaves it: the group has to leave somebody behind, he is out, and there is a new epoch.
        let out = Record::GatewayGone(PublicKey([1; 32]));
        let mut batch =
            batch(vec![group("plant", 1), out.clone(), group("plant", 2), group("mill", 7)]);
        *waiting_group(&mut batch, "plant").unwrap() = group("plant", 3);
        let records: Vec<_> = batch.changes.into_iter().map(|(record, _)| record).collect();
        assert_eq!(records, [group("plant", 1), out, group("plant", 3), group("mill", 7)]);
    }

    #[test]
    fn what_was_removed_does_not_come_back() {
        let gone = || Record::GroupGone("plant".to_owned());
        let mut removed = batch(vec![group("plant", 1), group("mill", 1), gone()]);
        assert_eq!(waiting_group(&mut removed, "plant"), None);
        // Of other groups there is still no more than one record.
        assert_eq!(waiting_group(&mut removed, "mill"), Some(&mut group("mill", 1)));
        let mut again = batch(vec![gone(), group("plant", 2)]);
        assert_eq!(waiting_group(&mut again, "plant"), Some(&mut group("plant", 2)));
        assert_eq!(waiting_group(&mut batch(Vec::new()), "plant"), None);
    }
}
