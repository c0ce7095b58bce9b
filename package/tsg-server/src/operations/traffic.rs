//! What all gateways sealed, opened and dropped in the last hour, by group. In memory only.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tsg_control::keys::PublicKey;
use tsg_control::server::Server;

/// Milliseconds between two samples.
const EVERY: u64 = 10_000;

/// An hour of them.
const MOST_SAMPLES: usize = 360;

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

/// The last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficView {
    /// When the newest sample was taken, by the server's clock, milliseconds since 1970.
    pub at: u64,
    /// Seconds between two samples.
    pub every: u64,
    /// Samples of each group, the oldest first.
    pub groups: BTreeMap<String, Vec<Sample>>,
    /// Of each group, since this server process began.
    pub totals: BTreeMap<String, Sample>,
}

/// The samples.
#[derive(Debug, Default)]
pub struct Traffic {
    at: u64,
    last: HashMap<PublicKey, Sample>,
    groups: BTreeMap<String, VecDeque<Sample>>,
    totals: BTreeMap<String, Sample>,
}

impl Traffic {
    /// Takes a sample if it is time to.
    pub(crate) fn follow(&mut self, server: &Server, now: u64) {
        if now.abs_diff(self.at) < EVERY {
            return;
        }
        self.at = now;
        let mut last = HashMap::new();
        let mut sums: BTreeMap<&str, Sample> = BTreeMap::new();
        for (key, group, counters) in server.counted() {
            let counted = Sample::of(counters);
            // What was counted before this server process saw it is not of now.
            let before = self.last.get(key).copied().unwrap_or(counted);
            sums.entry(group).or_default().add(counted.since(before));
            last.insert(*key, counted);
        }
        self.last = last;
        for (group, sum) in &sums {
            self.totals.entry((*group).to_owned()).or_default().add(*sum);
        }
        for (group, samples) in &mut self.groups {
            samples.push_back(sums.remove(group.as_str()).unwrap_or_default());
            samples.drain(..samples.len().saturating_sub(MOST_SAMPLES));
        }
        self.groups.retain(|_, samples| samples.iter().any(|sample| *sample != Sample::default()));
        for (group, sample) in sums {
            self.groups.insert(group.to_owned(), VecDeque::from([sample]));
        }
    }

    pub(super) fn view(&self) -> TrafficView {
        let samples = |(name, samples): (&String, &VecDeque<Sample>)| {
            (name.clone(), samples.iter().copied().collect())
        };
        TrafficView {
            at: self.at,
            every: EVERY / 1000,
            groups: self.groups.iter().map(samples).collect(),
            totals: self.totals.clone(),
        }
    }
}

impl Sample {
    fn of(counters: &BTreeMap<String, u64>) -> Self {
        let count = |name: &str| counters.get(name).copied().unwrap_or(0);
        let drops = counters.iter().filter(|(name, _)| name.starts_with("drop_"));
        let dropped = drops.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        Self {
            sealed: count("sealed"),
            opened: count("opened"),
            dropped,
            bypassed: count("bypassed"),
        }
    }

    /// A gateway that was started anew counts from zero.
    fn since(self, before: Self) -> Self {
        let restarted = self.sealed < before.sealed || self.opened < before.opened;
        let before = if restarted { Self::default() } else { before };
        Self {
            sealed: self.sealed.saturating_sub(before.sealed),
            opened: self.opened.saturating_sub(before.opened),
            dropped: self.dropped.saturating_sub(before.dropped),
            bypassed: self.bypassed.saturating_sub(before.bypassed),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sealed = self.sealed.saturating_add(other.sealed);
        self.opened = self.opened.saturating_add(other.opened);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.bypassed = self.bypassed.saturating_add(other.bypassed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sealed: u64, opened: u64) -> Sample {
        Sample { sealed, opened, ..Sample::default() }
    }

    #[test]
    fn only_what_was_counted_since_counts() {
        assert_eq!(counted(10, 20).since(counted(4, 20)), counted(6, 0));
        assert_eq!(counted(3, 1).since(counted(10, 20)), counted(3, 1), "it was started anew");
    }

    #[test]
    fn all_drops_are_added_up() {
        let counters = [("drop_replay", 2), ("drop_stale", 3), ("sealed", 7), ("dropped", 100)];
        let counters = counters.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(Sample::of(&counters), Sample { sealed: 7, dropped: 5, ..Sample::default() });
    }
}
