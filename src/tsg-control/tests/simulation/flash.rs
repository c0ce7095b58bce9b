//! What tsg-bridge's `cache` leaves on flash for after a power cut: keys with sender numbers that no
//! boot has used, and times. Restated, as files are not in this crate; its times are a fifth of
//! those there, because storms are short here.

use tsg_control::gateway::{Gateway, Saved, Standing, Times};

/// The key server may take so long to answer before keys of an earlier boot are used.
pub(crate) const PATIENCE: u64 = 2_000;

/// The times on flash are good for so long…
const LEASE: u64 = 12_000;

/// …and are kept anew so long before that ends.
const MARGIN: u64 = 4_000;

#[derive(Debug, Default)]
pub(crate) struct Flash {
    keys: Option<Saved>,
    times: Times,
    /// The keys that lie there are of this boot.
    is_own: bool,
    /// Keys of an earlier boot, and from when on they may be used.
    waiting: Option<(Saved, Times, u64)>,
}

impl Flash {
    /// A daemon starts, with or without keys of its own boot in RAM.
    pub(crate) fn start(&mut self, has_keys: bool, now: u64) {
        self.is_own = false;
        let earlier = self.keys.clone().filter(|_| !has_keys);
        self.waiting = earlier.map(|keys| (keys, self.times.clone(), now + PATIENCE));
    }

    /// Goes on with the keys of before the power cut, if the key server does not answer. Gives whether
    /// it does so now.
    pub(crate) fn take_up(&mut self, gateway: &mut Gateway, senders: usize, now: u64) -> bool {
        if *gateway.standing() != Standing::Searching || gateway.names().is_some() {
            self.waiting = None;
        }
        let waiting = self.waiting.take_if(|(.., from)| now >= *from);
        let Some((mut keys, times, _)) = waiting else { return false };
        keys.begin_boot(&times, senders);
        gateway.restore(keys, now);
        self.keep(gateway, now);
        true
    }

    /// The keys have changed, or may have.
    pub(crate) fn follow(&mut self, gateway: &Gateway, now: u64) {
        if self.waiting.is_none() || *gateway.standing() != Standing::Searching {
            self.waiting = None;
            self.keep(gateway, now);
        }
    }

    /// Keeps the times anew when that is due.
    pub(crate) fn keep_times(&mut self, gateway: &Gateway, now: u64) {
        if self.is_own && self.are_times_due(gateway, now) {
            self.write_times(gateway, now);
        }
    }

    fn keep(&mut self, gateway: &Gateway, now: u64) {
        let keys = gateway.save_for_next_boot();
        let lies_there = self.is_own && keys == self.keys;
        if !lies_there || self.are_times_due(gateway, now) {
            self.write_times(gateway, now);
        }
        self.is_own = keys.is_some();
        self.keys = keys;
    }

    fn are_times_due(&self, gateway: &Gateway, now: u64) -> bool {
        !self.times.cover(&gateway.times(MARGIN, now))
    }

    fn write_times(&mut self, gateway: &Gateway, now: u64) {
        self.times = gateway.times(LEASE, now);
    }
}
