//! What the threads of a tunnel have in common.

use super::mode::OtherMode;
use super::moment::Moment;
use super::other::Other;
use super::settings::Tunnel;
use super::status::Counts;
use super::way::Way;
use anyhow::{Context as _, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::sync::atomic::AtomicU16;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the threads have in common.
pub(super) struct Shared {
    pub(super) tunnel: Tunnel,
    pub(super) peer: Other,
    pub(super) way: Way,
    /// Who is in the other mode, as far as that can be told.
    pub(super) other_mode: Option<OtherMode>,
    /// The device's, in bytes; 0 while none is known.
    pub(super) mtu: AtomicU16,
    /// When something was sent last.
    pub(super) sent: Moment,
    counts: Mutex<Counts>,
    /// The path may take other lengths than before.
    bell: EventFd,
    /// The end for all.
    end: EventFd,
}

impl Shared {
    pub(super) fn new(
        tunnel: &Tunnel,
        peer: Other,
        way: Way,
        other_mode: Option<OtherMode>,
    ) -> Result<Self> {
        let event = || {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            EventFd::from_flags(flags).context("eventfd")
        };
        Ok(Self {
            tunnel: tunnel.clone(),
            peer,
            way,
            counts: Mutex::default(),
            other_mode,
            mtu: AtomicU16::new(0),
            sent: Moment::default(),
            bell: event()?,
            end: event()?,
        })
    }

    /// Counts what became of a batch.
    pub(super) fn count(&self, batch: &Counts) {
        self.counts().add(batch);
    }

    /// What became of all packets.
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the way to the other end looked at soon.
    pub(super) fn look_at_path(&self) {
        // Full means that it rings already.
        let _ = self.bell.write(1);
    }

    /// Whether somebody wanted that. The bell is still then.
    pub(super) fn is_path_to_be_looked_at(&self) -> bool {
        self.bell.read().is_ok()
    }

    pub(super) const fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Ends all threads.
    pub(super) fn finish(&self) {
        let _ = self.end.write(1);
    }

    /// Can be read once all threads are to end.
    pub(super) const fn end(&self) -> &EventFd {
        &self.end
    }
}

/// Ends all threads when it goes.
pub(super) struct Finish<'s>(pub(super) &'s Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
