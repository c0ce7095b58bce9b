//! A moment that several threads write and read. Not every router has atomic numbers of 64 bits, so it is kept to an
//! eighth of a second.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Milliseconds in an eighth of a second.
const EIGHTH: u64 = 125;

/// The moment, or none.
#[derive(Default)]
pub(super) struct Moment(AtomicU32);

impl Moment {
    const NONE: u32 = 0;

    /// In milliseconds of the boot's clock, not later than it was.
    pub(super) fn get(&self) -> Option<u64> {
        let eighths = self.0.load(Relaxed);
        (eighths != Self::NONE).then(|| u64::from(eighths) * EIGHTH)
    }

    pub(super) fn set(&self, now: u64) {
        // Kept to 17 years after the boot.
        let eighths = u32::try_from(now / EIGHTH).unwrap_or(u32::MAX).max(1);
        // A write costs the other threads more than a look.
        if self.0.load(Relaxed) != eighths {
            self.0.store(eighths, Relaxed);
        }
    }

    /// Sets it if there is none.
    pub(super) fn begin(&self, now: u64) {
        if self.get().is_none() {
            self.set(now);
        }
    }

    pub(super) fn end(&self) {
        if self.get().is_some() {
            self.0.store(Self::NONE, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_first_one_until_it_ends() {
        let moment = Moment::default();
        assert_eq!(moment.get(), None);
        moment.begin(1_124);
        moment.begin(9_000);
        assert_eq!(moment.get(), Some(1_000));
        moment.set(9_000);
        assert_eq!(moment.get(), Some(9_000));
        moment.end();
        assert_eq!(moment.get(), None);
        // Right after the boot is a moment, too.
        moment.begin(0);
        assert!(moment.get().is_some());
    }
}
