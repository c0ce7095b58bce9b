//! How other threads wake the control thread: soon, but no flood of packets keeps it busy.

use anyhow::{Context as _, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;

/// It is not woken again before this, in milliseconds.
const PAUSE: u64 = 100;

/// The bell, and when it was last answered.
pub(super) struct Wake {
    event: Arc<EventFd>,
    answered: u64,
}

impl Wake {
    pub(super) fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let event = Arc::new(EventFd::from_flags(flags).context("eventfd")?);
        Ok(Self { event, answered: 0 })
    }

    /// Rings the bell, from any thread.
    pub(super) fn bell(&self) -> Box<dyn Fn() + Send + Sync> {
        let event = Arc::clone(&self.event);
        Box::new(move || {
            // Full means that it rings already.
            let _ = event.write(1);
        })
    }

    /// What to wait for; nothing in the pause.
    pub(super) fn descriptor(&self, now: u64) -> Option<RawFd> {
        self.pause(now).is_none().then(|| self.event.as_raw_fd())
    }

    /// When the pause ends.
    pub(super) fn pause(&self, now: u64) -> Option<u64> {
        let ends = self.answered + PAUSE;
        (self.answered > 0 && now < ends).then_some(ends)
    }

    /// Did it ring? What rings in the pause is kept for later.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let rang = self.pause(now).is_none() && self.event.read().is_ok();
        if rang {
            self.answered = now;
        }
        rang
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_wakes_ten_times_a_second_and_nothing_is_lost() {
        let mut wake = Wake::new().unwrap();
        let bell = wake.bell();
        let mut woken = 0;
        for now in 5_000..6_000 {
            bell();
            assert_eq!(wake.descriptor(now).is_some(), wake.pause(now).is_none());
            woken += u32::from(wake.take(now));
        }
        assert_eq!(woken, 10);
        assert_eq!(wake.pause(5_950), Some(6_000));
        assert!(wake.take(6_000), "what rang in the pause");
        assert!(!wake.take(7_000));
    }
}
