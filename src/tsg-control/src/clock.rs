//! The key server's time as a gateway knows it.
//!
//! A gateway has no clock worth trusting, only a counter that runs since boot. Every answer of the
//! key server carries the server's time; since it was given between question and answer, the
//! difference between the two clocks lies in an interval. Intervals are intersected, and grow with
//! age because crystals drift. Someone who delays answers can make the interval wide, never wrong.

use crate::message::Reading;

/// An answer that took longer than this, in milliseconds, says too little about the time.
pub const LONGEST_ROUND_TRIP: u64 = 1_000;

/// How far an estimate can be off that has no upper end.
const UNKNOWN: i64 = i64::MAX;

/// Two crystals drift apart by at most this, in parts per million.
pub const DRIFT_PPM: u64 = 200;

/// What is known of one clock of the key server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Which clock.
    pub clock: u64,
    /// Server's time less local time, in milliseconds, lies at or above this…
    low: i64,
    /// …and at or below this ([`UNKNOWN`]: nobody has said),
    high: i64,
    /// at this local time.
    at: u64,
    /// Server's time before which packets may have been opened by a process that this one knows
    /// nothing of; only as long as there is no upper end.
    floor: u64,
}

impl Estimate {
    /// From one answer: asked at `sent`, heard at `received`, local milliseconds.
    /// `None` if it took too long to mean anything.
    pub fn first(reading: Reading, sent: u64, received: u64) -> Option<Self> {
        let round_trip = received.checked_sub(sent)?;
        if round_trip > LONGEST_ROUND_TRIP {
            return None;
        }
        let now = i64::try_from(reading.now).ok()?;
        let low = now.checked_sub_unsigned(received)?;
        // Both readings are whole milliseconds: each may be short by one.
        Some(Self {
            clock: reading.clock,
            low: low - 1,
            high: low.checked_add_unsigned(round_trip)? + 1,
            at: received,
            floor: 0,
        })
    }

    /// It is `time` or later by this clock at local time `now`: all that is known after a power cut,
    /// until the key server answers. What was sealed before `floor` may have been opened before it.
    pub fn at_least(clock: u64, time: u64, floor: u64, now: u64) -> Self {
        let time = i64::try_from(time).unwrap_or(i64::MAX / 4);
        Self { clock, low: time.saturating_sub_unsigned(now), high: UNKNOWN, at: now, floor }
    }

    /// There is no upper end: nobody has said what time it is, only what it was.
    pub const fn is_open(&self) -> bool {
        self.high == UNKNOWN
    }

    /// Another sign that it is `time` or later. Says nothing to an estimate that has an upper end.
    pub fn raise(&mut self, time: u64, now: u64) {
        let told = Self::at_least(self.clock, time, self.floor, now);
        if self.is_open() && told.low > self.grown(now).low {
            *self = told;
        }
    }

    /// Server's time, see [`Estimate::at_least`].
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) const fn set_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// The least that the server's time can be at local time `now`.
    pub fn least(&self, now: u64) -> u64 {
        let grown = self.grown(now);
        u64::try_from(grown.low.saturating_add_unsigned(now)).unwrap_or(0)
    }

    /// What an estimate from a file says, see [`Estimate::parts`].
    pub const fn from_parts((clock, low, high, at): (u64, i64, i64, u64)) -> Self {
        Self { clock, low, high, at, floor: 0 }
    }

    /// The estimate as numbers, for a file that outlives the process but not the boot.
    pub const fn parts(&self) -> (u64, i64, i64, u64) {
        (self.clock, self.low, self.high, self.at)
    }

    /// Takes in another answer of the same clock.
    pub fn refine(&mut self, reading: Reading, sent: u64, received: u64) {
        let Some(new) = Self::first(reading, sent, received) else { return };
        if self.is_open() {
            // What others took the time to be says nothing beside an answer.
            *self = new;
            return;
        }
        let grown = self.grown(received);
        let both = Self { low: grown.low.max(new.low), high: grown.high.min(new.high), ..new };
        // No overlap: more drift than crystals have. The new answer is what counts.
        *self = if both.low <= both.high { both } else { new };
    }

    /// Server's time less local time: the middle of what is possible at local time `now`, or the
    /// least where there is no upper end.
    pub fn offset(&self, now: u64) -> i64 {
        let grown = self.grown(now);
        if self.is_open() {
            return grown.low;
        }
        grown.low + (grown.high - grown.low) / 2
    }

    /// How far [`Estimate::offset`] can be off at local time `now`, in milliseconds.
    pub fn error(&self, now: u64) -> u64 {
        let grown = self.grown(now);
        grown.high.saturating_sub(grown.low).unsigned_abs().div_ceil(2)
    }

    fn grown(&self, now: u64) -> Self {
        // Rounded up: whatever is lost here is lost again with every answer.
        let drift = (now.saturating_sub(self.at)).saturating_mul(DRIFT_PPM).div_ceil(1_000_000);
        let drift = i64::try_from(drift).unwrap_or(i64::MAX / 4);
        Self { low: self.low.saturating_sub(drift), high: self.high.saturating_add(drift), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(now: u64) -> Reading {
        Reading { clock: 1, now }
    }

    #[test]
    fn the_truth_lies_in_the_interval() {
        // The server is 5,000 ms ahead; the answer was given 30 ms after the question of 100 ms.
        let mut estimate = Estimate::first(reading(6_030), 1_000, 1_100).unwrap();
        assert!((estimate.offset(1_100) - 5_000).unsigned_abs() <= estimate.error(1_100));
        estimate.refine(reading(16_001), 11_000, 11_004);
        assert!((estimate.offset(11_004) - 5_000).abs() <= 3);
        assert!(estimate.error(11_004) <= 4);
    }

    #[test]
    fn a_delayed_answer_cannot_make_it_wrong() {
        let mut estimate = Estimate::first(reading(6_001), 1_000, 1_002).unwrap();
        for step in 1..100 {
            let sent = 1_000 + step * 10_000;
            // Held back for 900 ms on the way to the gateway.
            estimate.refine(reading(5_000 + sent), sent, sent + 900);
        }
        let now = 1_000_000;
        assert!((estimate.offset(now) - 5_000).unsigned_abs() <= estimate.error(now));
        assert!(estimate.error(now) < 250, "{}", estimate.error(now));
        let before = estimate;
        estimate.refine(reading(1), 1_000_000, 1_001_001);
        assert_eq!(estimate, before);
    }

    #[test]
    fn without_an_answer_it_is_only_known_what_time_it_was() {
        let mut estimate = Estimate::at_least(1, 50_000, 80_000, 1_000);
        assert!(estimate.is_open());
        assert_eq!(estimate.offset(1_000), 49_000);
        // Its own crystal may be the faster one: it never runs ahead by itself.
        assert_eq!(estimate.offset(1_001_000), 49_000 - 200);
        estimate.raise(40_000, 1_000);
        assert_eq!(estimate.offset(1_000), 49_000);
        estimate.raise(70_000, 2_000);
        assert_eq!((estimate.offset(2_000), estimate.least(2_500)), (68_000, 70_499));
        assert_eq!(estimate.floor(), 80_000);
        // The key server's word ends it.
        estimate.refine(reading(99_001), 2_000, 2_002);
        assert!(!estimate.is_open() && estimate.error(2_002) <= 2 && estimate.floor() == 0);
        let before = estimate;
        estimate.raise(500_000, 2_002);
        assert_eq!(estimate, before);
    }

    #[test]
    fn what_others_took_the_time_to_be_does_not_narrow_an_answer() {
        let mut estimate = Estimate::at_least(1, 50_000, 0, 1_000);
        // By one whose clock is 50 ms ahead: it is 70,000 at 2,000.
        estimate.raise(70_050, 2_000);
        estimate.refine(reading(70_100), 2_000, 2_200);
        assert!((estimate.offset(2_200) - 68_000).unsigned_abs() <= estimate.error(2_200));
    }

    #[test]
    fn uncertainty_grows_with_silence() {
        let estimate = Estimate::first(reading(6_001), 1_000, 1_002).unwrap();
        let day = 86_400_000;
        assert!((17_000..18_000).contains(&estimate.error(1_002 + day)));
    }
}
