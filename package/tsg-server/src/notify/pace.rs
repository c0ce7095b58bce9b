//! How often a receiver is tried, and how much it is told. Times are milliseconds of a clock that only ever runs.

/// The first wait after a failure, and the longest.
const FIRST: u64 = 1_000;
const LONGEST: u64 = 300_000;

/// An hour.
const HOUR: u64 = 3_600_000;

/// Waits ever longer between two tries.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: u64,
}

impl Backoff {
    pub(super) fn failed(&mut self, now: u64) {
        self.until = now + (FIRST << self.failures.min(9)).min(LONGEST);
        self.failures += 1;
    }

    pub(super) const fn worked(&mut self) {
        (self.failures, self.until) = (0, 0);
    }

    /// Milliseconds until the next try.
    pub(super) const fn left(&self, now: u64) -> u64 {
        self.until.saturating_sub(now)
    }
}

/// So many messages at once, and so many in each hour.
#[derive(Debug)]
pub(super) struct Pace {
    /// Milliseconds that one message costs.
    each: u64,
    /// What is there to spend, at most an hour.
    left: u64,
    at: u64,
}

impl Pace {
    pub(super) const fn new(an_hour: u64, now: u64) -> Self {
        Self { each: HOUR / an_hour, left: HOUR, at: now }
    }

    pub(super) fn take(&mut self, now: u64) {
        self.fill(now);
        self.left = self.left.saturating_sub(self.each);
    }

    /// Milliseconds until there is room for one more.
    pub(super) fn left(&mut self, now: u64) -> u64 {
        self.fill(now);
        self.each.saturating_sub(self.left)
    }

    fn fill(&mut self, now: u64) {
        self.left = (self.left + now.saturating_sub(self.at)).min(HOUR);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_ever_more_seldom_and_never_given_up() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.failed(0);
            waits.push(backoff.left(0) / 1000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.left(400_000), 0);
        backoff.worked();
        assert_eq!(backoff.left(0), 0);
    }

    #[test]
    fn an_hour_has_room_for_so_many() {
        let mut pace = Pace::new(12, 0);
        for _ in 0..12 {
            assert_eq!(pace.left(0), 0);
            pace.take(0);
        }
        assert_eq!(pace.left(0), HOUR / 12);
        assert_eq!(pace.left(HOUR / 12), 0);
        pace.take(HOUR / 12);
        assert!(pace.left(HOUR / 12) > 0);
        assert_eq!(pace.left(3 * HOUR), 0);
    }
}
