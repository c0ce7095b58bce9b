//! Samples of a group, one for each ten seconds.

use super::{EVERY, MOST_SAMPLES, Sample};
use std::collections::VecDeque;

/// The last hour of a group.
#[derive(Debug, Default)]
pub(super) struct Bins {
    /// The number of the first sample: the time by which it began, in tens of seconds.
    first: u64,
    samples: VecDeque<Sample>,
}

impl Bins {
    /// Adds what was counted between two times, evenly.
    pub(super) fn spread(&mut self, came: Sample, from: u64, to: u64) {
        let to = to.max(from + 1);
        let length = to - from;
        let last = (to - 1) / EVERY;
        let begin = (from / EVERY).max((last + 1).saturating_sub(MOST_SAMPLES as u64));
        let mut given = came.part((begin * EVERY).saturating_sub(from), length);
        for number in begin..=last {
            // All until the end of this sample; so no packet is lost by rounding.
            let passed = ((number + 1) * EVERY).min(to).saturating_sub(from);
            let until = came.part(passed, length);
            if let Some(sample) = self.sample(number) {
                sample.add(until.since(given));
            }
            given = until;
        }
    }

    /// It is the time of this sample: older ones than an hour go. Gives whether there is anything left to show.
    pub(super) fn advance(&mut self, now: u64) -> bool {
        // The clock was set back.
        if self.first > now {
            self.samples.clear();
        }
        let oldest = (now + 1).saturating_sub(MOST_SAMPLES as u64);
        let old = usize::try_from(oldest.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.samples.drain(..old.min(self.samples.len()));
        self.first = self.first.max(oldest);
        self.samples.iter().any(|sample| *sample != Sample::default())
    }

    /// Those before this one, with zeroes for what nobody has reported; nothing if there is nothing before it.
    pub(super) fn until(&self, end: u64) -> Vec<Sample> {
        let count = usize::try_from(end.saturating_sub(self.first)).unwrap_or(0);
        if self.samples.is_empty() || count > 2 * MOST_SAMPLES {
            return Vec::new();
        }
        let all = self.samples.iter().copied().chain(std::iter::repeat(Sample::default()));
        all.take(count).collect()
    }

    fn sample(&mut self, number: u64) -> Option<&mut Sample> {
        if self.samples.is_empty() {
            self.first = number;
        }
        // Somebody reports a longer time than those before.
        if number < self.first && self.first - number <= MOST_SAMPLES as u64 {
            (number..self.first).for_each(|_| self.samples.push_front(Sample::default()));
            self.first = number;
        }
        let mut at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if at >= 2 * MOST_SAMPLES {
            // The clock was set ahead.
            self.samples.clear();
            (self.first, at) = (number, 0);
        }
        if at >= self.samples.len() {
            self.samples.resize(at + 1, Sample::default());
        }
        self.samples.get_mut(at)
    }
}

impl Sample {
    fn part(self, of: u64, whole: u64) -> Self {
        let part = |count: u64| {
            let part = u128::from(count) * u128::from(of) / u128::from(whole);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        Self {
            sealed: part(self.sealed),
            opened: part(self.opened),
            dropped: part(self.dropped),
            bypassed: part(self.bypassed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(count: u64) -> Sample {
        Sample { sealed: count, ..Sample::default() }
    }

    fn shown(bins: &Bins, end: u64) -> Vec<u64> {
        bins.until(end).iter().map(|sample| sample.sealed).collect()
    }

    #[test]
    fn no_packet_is_lost_by_rounding() {
        let mut cases = 0;
        for (count, from, to) in
            [(7, 0, 60_000), (1, 5_000, 65_000), (100, 12_345, 13_000), (9, 7, 7)]
        {
            let mut bins = Bins::default();
            bins.spread(sealed(count), from, to);
            assert_eq!(shown(&bins, 20).iter().sum::<u64>(), count, "{from} to {to}");
            cases += 1;
        }
        println!("{cases} cases");
        let mut bins = Bins::default();
        bins.spread(sealed(60), 5_000, 35_000);
        bins.spread(sealed(30), 5_000, 35_000);
        assert_eq!(shown(&bins, 4), [15, 30, 30, 15]);
    }

    #[test]
    fn who_was_cut_off_counted_meanwhile() {
        let mut bins = Bins::default();
        bins.spread(sealed(6), 600_000, 660_000);
        bins.spread(sealed(660), 0, 660_000);
        assert_eq!(shown(&bins, 66), [[10; 60].as_slice(), &[11; 6]].concat());
        // Of what is longer ago than an hour only the last hour is there.
        let mut bins = Bins::default();
        bins.spread(sealed(7_200), 0, 7_200_000);
        assert_eq!(shown(&bins, 720), [10; MOST_SAMPLES]);
    }

    #[test]
    fn an_hour_is_kept() {
        let mut bins = Bins::default();
        for minute in 0..200 {
            bins.spread(sealed(6), minute * 60_000, (minute + 1) * 60_000);
            assert!(bins.advance(minute * 6 + 6));
            assert!(bins.samples.len() <= MOST_SAMPLES);
        }
        assert_eq!(shown(&bins, 200 * 6).iter().sum::<u64>(), MOST_SAMPLES as u64 - 1);
        assert!(!bins.advance(200 * 6 + 1_000), "an hour later");
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        let mut bins = Bins::default();
        bins.spread(sealed(6), 1_000_000_000, 1_000_060_000);
        assert!(!bins.advance(10), "set back");
        bins.spread(sealed(6), 100_000, 160_000);
        assert_eq!(shown(&bins, 16).len(), 6);
        bins.spread(sealed(6), 1_000_000_000, 1_000_060_000);
        assert_eq!(shown(&bins, 100_006).iter().sum::<u64>(), 6);
    }
}
