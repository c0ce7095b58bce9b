//! Lines of the log that wait for the collector: a bounded number, so that whoever logs never waits.

use super::super::bell::Bell;
use super::super::channel::Meter;
use super::super::wall;
use log::Level;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More lines do not wait: the next ones are lost, and counted.
const MOST: usize = 1_000;

/// A line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) level: Level,
    pub(super) text: String,
}

/// Those that wait.
#[derive(Debug)]
pub(super) struct Lines {
    waiting: Mutex<VecDeque<Line>>,
    bell: Arc<Bell>,
    meter: Arc<Meter>,
}

impl Lines {
    pub(super) fn new(bell: Arc<Bell>, meter: Arc<Meter>) -> Self {
        Self { waiting: Mutex::default(), bell, meter }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, from whatever thread.
    pub(super) fn put(&self, level: Level, text: &str) {
        if level > Level::Info {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() >= MOST {
            return self.meter.lost(1);
        }
        waiting.push_back(Line { at: wall(), level, text: text.to_owned() });
        drop(waiting);
        self.bell.ring();
    }

    /// The first ones, at most so many. They stay until they are [`Self::done`].
    pub(super) fn first(&self, most: usize) -> Vec<Line> {
        self.waiting().iter().take(most).cloned().collect()
    }

    /// The first so many were sent.
    pub(super) fn done(&self, count: usize) {
        self.waiting().drain(..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_waits_and_the_rest_is_counted() {
        let meter = Arc::new(Meter::new("syslog", String::new()));
        let lines = Lines::new(Arc::default(), Arc::clone(&meter));
        lines.put(Level::Debug, "not for the collector");
        for number in 0..MOST + 3 {
            lines.put(Level::Info, &number.to_string());
        }
        assert_eq!(meter.view(0, 0).lost, 3);
        assert_eq!(lines.first(2).iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        lines.done(2);
        lines.put(Level::Warn, "room again");
        assert_eq!(lines.first(1)[0].text, "2");
        assert_eq!(lines.first(MOST).last().unwrap().text, "room again");
        assert_eq!(meter.view(0, 0).lost, 3);
    }
}
