//! How often one outsider or member may cost the server and the others something.

/// A limit on a rate: so many at once, and one more each time that a while has passed.
pub(super) struct Bucket {
    full: u64,
    /// Milliseconds after which there is room for one more.
    every: u64,
    /// In milliseconds, too: `every` of them are one.
    level: u64,
    at: u64,
}

impl Bucket {
    pub(super) const fn new(full: u64, every: u64, now: u64) -> Self {
        Self { full, every, level: full * every, at: now }
    }

    pub(super) fn take(&mut self, now: u64) -> bool {
        let gained = now.saturating_sub(self.at);
        self.level = self.level.saturating_add(gained).min(self.full * self.every);
        self.at = now;
        let enough = self.level >= self.every;
        if enough {
            self.level -= self.every;
        }
        enough
    }
}

/// What a member says can make its group begin anew, and there is no telling whether it lies. So
/// it is believed at once, and then after ever longer times.
#[derive(Default)]
pub(super) struct Belief {
    believed: u32,
    next: u64,
}

impl Belief {
    /// A member that has been believed once must wait for this many milliseconds.
    const AGAIN: u64 = 20_000;

    /// A day and a half, in the end.
    const MOST_DOUBLINGS: u32 = 13;

    pub(super) fn take(&mut self, now: u64) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.saturating_add(Self::AGAIN << self.believed.min(Self::MOST_DOUBLINGS));
        self.believed = self.believed.saturating_add(1);
        true
    }

    /// The clock that showed `before` counts from `now` on.
    pub(super) const fn rebase(&mut self, before: u64, now: u64) {
        self.next = now.saturating_add(self.next.saturating_sub(before));
    }
}
