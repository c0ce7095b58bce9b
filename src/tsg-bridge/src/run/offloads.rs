//! Keeps the offloads of the gateway's ports as they are wanted, also on a port that comes back or that somebody has
//! changed.

use crate::config::Config;
use crate::folders::Folders;
use crate::offloads::{self, Wanted};

/// Nothing tells of features that somebody changes, so the ports are asked so often, in milliseconds.
const ASK: u64 = 5_000;

pub(super) struct Offloads {
    folders: Folders,
    wanted: Wanted,
    /// The ports, and the numbers of those that were there when they were set; none before the first time.
    set: Option<Vec<(String, Option<u32>)>>,
    /// When, local time.
    set_at: u64,
    troubles: Vec<String>,
}

impl Offloads {
    pub(super) fn new(config: &Config, folders: &Folders) -> Self {
        Self {
            folders: folders.clone(),
            wanted: Wanted::of(config),
            set: None,
            set_at: 0,
            troubles: Vec::new(),
        }
    }

    /// The configuration was read again.
    pub(super) fn follow(&mut self, config: &Config) {
        self.wanted = Wanted::of(config);
        self.set = None;
    }

    /// Sets them if a port has come since the last time, or if that was long ago. Says what cannot be done once.
    pub(super) fn verify(&mut self, now: u64) {
        let ports = self.wanted.ports();
        let ports: Vec<_> =
            ports.into_iter().map(|(port, number)| (port.to_owned(), number)).collect();
        if self.set.as_ref() == Some(&ports) && now < self.set_at + ASK {
            return;
        }
        self.set = Some(ports);
        self.set_at = now;
        self.bring_about();
    }

    /// The daemon goes: only what its rules need stays.
    pub(super) fn leave(&mut self, config: &Config) {
        self.wanted = Wanted::after(config);
        self.bring_about();
    }

    fn bring_about(&mut self) {
        // What could not be done at all is tried again when the ports are asked again, and not with each look: somebody
        // who holds the lock is waited for.
        let done = offloads::apply(&self.folders, &self.wanted);
        let troubles = done.unwrap_or_else(|error| vec![format!("{error:#}")]);
        for trouble in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            log::warn!("offloads: {trouble}");
        }
        self.troubles = troubles;
    }
}
