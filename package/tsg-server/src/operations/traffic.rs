//! What all gateways sealed, opened and dropped in the last hour, by group. In memory only.
//!
//! A gateway reports once a minute, so what it counted is spread over the time since its last report, which is longer if
//! it was cut off. The last [`UNKNOWN`] are not shown: not everybody has reported them yet.

mod bins;

use bins::Bins;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tsg_control::keys::PublicKey;
use tsg_control::server::{Counted, Server};

/// Milliseconds between two looks at what was reported, and the length of a sample.
const EVERY: u64 = 10_000;

/// An hour of samples.
const MOST_SAMPLES: usize = 360;

/// More reasons of a group are not told apart.
const MOST_REASONS: usize = 64;

/// What the others are counted as.
const OTHERS: &str = "drop_other";

/// Samples at the end that are not complete: as long as a gateway takes to report.
const UNKNOWN: usize = 7;

/// Packets in ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Sealed.
    pub sealed: u64,
    /// Opened.
    pub opened: u64,
    /// Dropped, for whatever reason.
    pub dropped: u64,
    /// Let through in clear.
    pub bypassed: u64,
}

/// Drops for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// In the last minutes.
    pub recent: u64,
    /// Since this server process began.
    pub total: u64,
}

/// The last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficView {
    /// When the newest sample ended, by the server's clock, milliseconds since 1970.
    pub at: u64,
    /// Seconds that a sample is long.
    pub every: u64,
    /// Samples of each group, the oldest first.
    pub groups: BTreeMap<String, Vec<Sample>>,
    /// Of each group, since this server process began.
    pub totals: BTreeMap<String, Sample>,
    /// Drops of each group by their counter, such as `drop_stale`.
    pub drops: BTreeMap<String, BTreeMap<String, Drops>>,
}

/// What a gateway had counted when it reported last.
#[derive(Debug)]
struct Last {
    at: u64,
    sample: Sample,
    drops: BTreeMap<String, u64>,
}

/// The samples.
#[derive(Debug, Default)]
pub struct Traffic {
    looked: u64,
    last: HashMap<PublicKey, Last>,
    groups: BTreeMap<String, Bins>,
    totals: BTreeMap<String, Sample>,
    drops: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Traffic {
    /// Takes in what was reported, if it is time to look.
    pub(crate) fn follow(&mut self, server: &Server, now: u64) {
        if now.abs_diff(self.looked) < EVERY {
            return;
        }
        self.looked = now;
        let mut last = HashMap::new();
        for counted in server.counted() {
            let before = self.last.remove(counted.key);
            last.insert(*counted.key, self.take(&counted, before));
        }
        self.last = last;
        self.groups.retain(|_, bins| bins.advance(now / EVERY));
    }

    fn take(&mut self, counted: &Counted<'_>, before: Option<Last>) -> Last {
        let now = Last {
            at: counted.at,
            sample: Sample::of(counted.counters),
            drops: drops(counted.counters).map(|(name, n)| (name.clone(), *n)).collect(),
        };
        // What was counted before this server process saw it is not of now.
        let Some(before) = before else { return now };
        if before.at >= now.at {
            return if before.at == now.at { before } else { now };
        }
        let restarted = now.sample.is_of_another_process(before.sample);
        let came = now.sample.since(if restarted { Sample::default() } else { before.sample });
        self.totals.entry(counted.group.to_owned()).or_default().add(came);
        self.groups.entry(counted.group.to_owned()).or_default().spread(came, before.at, now.at);
        let sums = self.drops.entry(counted.group.to_owned()).or_default();
        for (name, &count) in now.drops.iter().filter(|(_, count)| **count > 0) {
            let had = before.drops.get(name).copied().filter(|_| !restarted).unwrap_or(0);
            // Who makes names up gets no more room.
            let is_new = !sums.contains_key(name) && sums.len() >= MOST_REASONS;
            let name = if is_new { OTHERS } else { name.as_str() };
            let sum = sums.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(count.saturating_sub(had));
        }
        now
    }

    /// `recent` are the drops of the last minutes.
    pub(super) fn view(&self, recent: BTreeMap<String, BTreeMap<String, u64>>) -> TrafficView {
        let newest = (self.looked / EVERY).saturating_sub(UNKNOWN as u64);
        let mut drops: BTreeMap<String, BTreeMap<String, Drops>> = BTreeMap::new();
        for (group, sums) in &self.drops {
            let own = drops.entry(group.clone()).or_default();
            for (name, &total) in sums.iter().filter(|(_, total)| **total > 0) {
                own.entry(name.clone()).or_default().total = total;
            }
        }
        for (group, counts) in recent {
            let own = drops.entry(group).or_default();
            for (name, count) in counts {
                own.entry(name).or_default().recent = count;
            }
        }
        drops.retain(|_, own| !own.is_empty());
        let samples = self.groups.iter().map(|(name, bins)| (name.clone(), bins.until(newest)));
        TrafficView {
            at: newest * EVERY,
            every: EVERY / 1000,
            groups: samples.filter(|(_, samples)| !samples.is_empty()).collect(),
            totals: self.totals.clone(),
            drops,
        }
    }
}

fn drops(counters: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, &u64)> {
    counters.iter().filter(|(name, _)| name.starts_with("drop_"))
}

impl Sample {
    fn of(counters: &BTreeMap<String, u64>) -> Self {
        let count = |name: &str| counters.get(name).copied().unwrap_or(0);
        let dropped = drops(counters).fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        Self {
            sealed: count("sealed"),
            opened: count("opened"),
            dropped,
            bypassed: count("bypassed"),
        }
    }

    /// A gateway that was started anew counts from zero.
    const fn is_of_another_process(self, before: Self) -> bool {
        self.sealed < before.sealed || self.opened < before.opened
    }

    fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    pub(crate) fn add(&mut self, other: Self) {
        *self = self.with(other, u64::saturating_add);
    }

    fn with(self, other: Self, sum: fn(u64, u64) -> u64) -> Self {
        Self {
            sealed: sum(self.sealed, other.sealed),
            opened: sum(self.opened, other.opened),
            dropped: sum(self.dropped, other.dropped),
            bypassed: sum(self.bypassed, other.bypassed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    /// As if this were all that the gateways have reported.
    fn report(traffic: &mut Traffic, number: u8, at: u64, counts: &[(&str, u64)]) {
        let (key, counters) = (PublicKey([number; 32]), counters(counts));
        let counted = Counted { key: &key, group: "plant", counters: &counters, at };
        let before = traffic.last.remove(&key);
        let last = traffic.take(&counted, before);
        traffic.last.insert(key, last);
        traffic.looked = at;
    }

    #[test]
    fn a_report_is_of_all_the_time_since_the_one_before() {
        let mut traffic = Traffic::default();
        report(&mut traffic, 1, 1_000_000, &[("sealed", 500), ("drop_stale", 1)]);
        report(&mut traffic, 1, 1_060_000, &[("sealed", 1_100), ("drop_stale", 4)]);
        traffic.looked = 1_200_000;
        let view = traffic.view(BTreeMap::new());
        let sealed: Vec<_> = view.groups["plant"].iter().map(|sample| sample.sealed).collect();
        assert_eq!(sealed[..6], [100; 6]);
        assert_eq!(sealed.iter().sum::<u64>(), 600);
        assert_eq!(view.at, 1_130_000);
        assert_eq!((view.totals["plant"].sealed, view.totals["plant"].dropped), (600, 3));
        assert_eq!(view.drops["plant"]["drop_stale"], Drops { recent: 0, total: 3 });
        // The same report is not counted twice, and one of a new process from zero.
        report(&mut traffic, 1, 1_060_000, &[("sealed", 1_100), ("drop_stale", 4)]);
        report(&mut traffic, 1, 1_120_000, &[("sealed", 60), ("drop_policy", 2)]);
        let recent = [("plant".to_owned(), counters(&[("drop_policy", 2)]))].into();
        let view = traffic.view(recent);
        assert_eq!((view.totals["plant"].sealed, view.totals["plant"].dropped), (660, 5));
        assert_eq!(view.drops["plant"]["drop_policy"], Drops { recent: 2, total: 2 });
    }

    #[test]
    fn what_is_not_complete_is_not_shown() {
        let mut traffic = Traffic::default();
        report(&mut traffic, 1, 1_000_000, &[]);
        report(&mut traffic, 1, 1_060_000, &[("sealed", 60)]);
        assert!(traffic.view(BTreeMap::new()).groups.is_empty());
        traffic.looked = 1_100_000;
        let view = traffic.view(BTreeMap::new());
        assert_eq!(view.groups["plant"].len(), 3, "{view:?}");
    }

    #[test]
    fn counters_that_lie_do_no_harm() {
        let mut traffic = Traffic::default();
        report(&mut traffic, 1, 1_000_000, &[("sealed", 0)]);
        report(&mut traffic, 1, 1_060_000, &[("sealed", u64::MAX), ("drop_x", u64::MAX)]);
        report(&mut traffic, 1, 1_120_000, &[("sealed", 5), ("drop_x", u64::MAX)]);
        traffic.looked = 1_300_000;
        let view = traffic.view(BTreeMap::new());
        assert_eq!(view.totals["plant"].sealed, u64::MAX);
        assert_eq!(view.drops["plant"]["drop_x"].total, u64::MAX);
        for minute in 3..100 {
            let name = format!("drop_{minute}");
            report(
                &mut traffic,
                1,
                1_000_000 + minute * 60_000,
                &[("sealed", 9), (name.as_str(), 1)],
            );
        }
        let drops = &traffic.view(BTreeMap::new()).drops["plant"];
        assert_eq!((drops.len(), drops[OTHERS].total), (MOST_REASONS + 1, 97 - 63));
    }

    #[test]
    fn all_drops_are_added_up() {
        let counters =
            counters(&[("drop_replay", 2), ("drop_stale", 3), ("sealed", 7), ("dropped", 100)]);
        assert_eq!(Sample::of(&counters), Sample { sealed: 7, dropped: 5, ..Sample::default() });
    }
}
