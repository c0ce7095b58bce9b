//! The sequence numbers of a static key, leased on the disk ahead of use ([`Leases`]), outside what backups copy.

use crate::identity::prepare_folder;
use crate::pipeline::{EpochTag, Lease, Leases};
use anyhow::{Context as _, Result};
use std::path::Path;
use tsg_control::keys::tek_check;
use tsg_esp::crypto::{Spi, Tek};

/// What is to be done in the end.
const NEW_KEY: &str = "make a new key for both ends (docs/routed.md)";

/// There is one sender, this process.
const WORKER: usize = 0;

pub(super) struct Numbers {
    leases: Leases,
    /// The key's, in the record.
    tag: EpochTag,
    sender: u32,
    /// For the log.
    device: String,
    said: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Good,
    /// Three quarters are leased.
    Worn,
    /// All are used.
    Over,
    /// The record cannot be written, and why.
    NotStored(String),
}

impl Numbers {
    /// Leases the first for this start.
    ///
    /// # Errors
    /// Another process has this key, all numbers are used, or the record cannot be read or written.
    pub(super) fn open(
        device: &str,
        cache: &Path,
        (spi, tek): &(Spi, Tek),
    ) -> Result<(Self, Lease)> {
        let folder = cache.join(format!("tunnel-{:08x}", spi.value()));
        prepare_folder(cache)?;
        prepare_folder(&folder)?;
        let mut leases = Leases::lasting(&folder)?;
        let (tag, sender) = (EpochTag { id: 0, check: tek_check(tek) }, spi.value());
        let taken = leases.take(WORKER, tag, &[sender], 0);
        let lease = taken.ok().with_context(|| {
            let why = leases.trouble(0).unwrap_or_default();
            format!("cannot record sequence numbers, without which nothing is sealed: {why}")
        })?;
        let lease =
            lease.with_context(|| format!("the sequence numbers are used up: {NEW_KEY}"))?;
        let device = device.to_owned();
        if lease.first == 1 {
            log::warn!(
                "{device}: this host has not used this key yet, as far as it knows; if it was restored from a backup or \
                 cloned, {NEW_KEY}"
            );
        }
        Ok((Self { leases, tag, sender, device, said: State::Good }, lease))
    }

    /// The next block: up to, not including, the number given.
    pub(super) fn more(&mut self, now: u64) -> Option<u64> {
        let more = self.leases.extend(self.tag, self.sender, now).ok().flatten()?;
        Some(more.limit)
    }

    /// Says how it is, when that has changed. `spent`: what was leased is used.
    pub(super) fn tell(&mut self, spent: bool, now: u64) {
        let state = self.state(spent, now);
        if state == self.said {
            return;
        }
        let device = &self.device;
        match &state {
            State::Good => log::info!("{device}: sequence numbers are recorded again"),
            State::Worn => {
                log::warn!(
                    "{device}: three quarters of the sequence numbers are used up: {NEW_KEY}"
                );
            }
            State::Over => log::error!(
                "{device}: the sequence numbers are used up, and nothing goes out any more: {NEW_KEY}"
            ),
            State::NotStored(why) => log::error!(
                "{device}: cannot record sequence numbers, and nothing goes out when those at hand are used: {why}"
            ),
        }
        self.said = state;
    }

    #[cfg(test)]
    pub(super) fn set_leased(&mut self, up_to: u64) {
        self.leases.set_ceiling(self.tag, self.sender, up_to);
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.said == State::Over
    }

    fn state(&mut self, spent: bool, now: u64) -> State {
        match self.leases.trouble(now) {
            Some(why) => State::NotStored(why),
            None if spent && self.leases.is_over(self.tag, self.sender) => State::Over,
            None if self.leases.is_worn(self.tag, self.sender) => State::Worn,
            None => State::Good,
        }
    }
}
