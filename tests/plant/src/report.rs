//! The numbers of one poller, and the line of JSON in which they leave.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;

use crate::clock::unix_ms;

/// What happened to the polls so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// No answer within the time-out, or no connection.
    pub(crate) lost: u64,
    /// An answer that is not what was asked for.
    pub(crate) wrong: u64,
    pub(crate) duplicates: u64,
    /// Connections made after the first one.
    pub(crate) reconnects: u64,
    /// The last reason for a loss.
    pub(crate) last_error: Option<String>,
    sources: BTreeSet<IpAddr>,
    last_answer_ms: u64,
    latencies_us: Vec<u32>,
}

/// The line that a test reads.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'a str,
    target: &'a str,
    done: bool,
    sent: u64,
    answered: u64,
    lost: u64,
    wrong: u64,
    duplicates: u64,
    reconnects: u64,
    /// Wall clock of the last good answer, milliseconds since 1970.
    last_answer_ms: u64,
    now_ms: u64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
    sources: &'a BTreeSet<IpAddr>,
    last_error: Option<&'a str>,
}

impl Tally {
    /// A poll was answered well, after `latency`, by `source`.
    pub(crate) fn answer(&mut self, source: IpAddr, latency: Duration) {
        self.answered += 1;
        self.sources.insert(source);
        self.last_answer_ms = unix_ms();
        self.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// One of several answers came from `source`.
    pub(crate) fn hear(&mut self, source: IpAddr) {
        self.sources.insert(source);
    }

    /// A poll is lost, because of `reason`.
    pub(crate) fn lose(&mut self, reason: impl ToString) {
        self.lost += 1;
        self.last_error = Some(reason.to_string());
    }

    /// Prints the numbers as one line of JSON; `done` says that it is the last one.
    pub(crate) fn print(&self, kind: &str, target: &str, done: bool) -> Result<()> {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        print_line(&Line {
            kind,
            target,
            done,
            sent: self.sent,
            answered: self.answered,
            lost: self.lost,
            wrong: self.wrong,
            duplicates: self.duplicates,
            reconnects: self.reconnects,
            last_answer_ms: self.last_answer_ms,
            now_ms: unix_ms(),
            p50_us: percentile(&sorted, 50),
            p99_us: percentile(&sorted, 99),
            max_us: sorted.last().copied().unwrap_or(0),
            sources: &self.sources,
            last_error: self.last_error.as_deref(),
        })
    }
}

/// Prints anything as one line of JSON and flushes it.
pub(crate) fn print_line(value: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), 100);
        assert_eq!(percentile(&sorted, 99), 198);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }
}
