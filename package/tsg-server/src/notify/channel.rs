//! One way to a receiver: how it is tried, and what is counted.

use super::bell::Bell;
use super::outbox::Outbox;
use super::pace::{Backoff, Pace};
use super::wall;
use crate::alarms::Event;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What could not be told for so long, in milliseconds, is not told any more.
const STALE: u64 = 86_400_000;

/// With nothing to do, it is looked this often whether something has become stale, or has to be kept.
const LOOK: Duration = Duration::from_secs(60);

/// While messages are lost and others get through, that is said this often, in milliseconds.
const SAY_LOST: u64 = 60_000;

/// How alarms reach a receiver.
pub(super) trait Channel: Send + Sync {
    /// So many events fit into one message. More are handed over only when the pace does not allow one message for each.
    fn most(&self) -> usize;

    /// So many messages the receiver gets in an hour, beside those that were held up and come as one.
    fn an_hour(&self) -> u64;

    /// Tells these. Gives what the receiver says.
    fn send(&self, events: &[Event]) -> Result<String, Failure>;
}

/// Why a receiver was not told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may go better later.
    Later(String),
    /// The receiver does not want this message.
    Never(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(text) | Self::Never(text) => f.write_str(text),
        }
    }
}

/// How a channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    /// `syslog`, `webhook` or `mail`.
    pub channel: String,
    /// The receiver.
    pub to: String,
    /// Messages that were handed over since the start.
    pub sent: u64,
    /// Tries that failed.
    pub failed: u64,
    /// What could not be told and is not told any more.
    pub lost: u64,
    /// Alarms that wait to be told.
    pub waiting: usize,
    /// For so many seconds nothing gets through; nothing if it works.
    pub failing: Option<u64>,
    /// Why.
    pub error: Option<String>,
}

/// Counts what a channel does, and says in the log when it stops working and when it works again.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) name: &'static str,
    pub(super) to: String,
    sent: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    state: Mutex<Condition>,
}

#[derive(Debug, Default)]
struct Condition {
    /// Since when it fails, and why.
    failing: Option<(u64, String)>,
    /// How many losses were said, and when last.
    said: u64,
    said_at: u64,
}

impl Meter {
    pub(super) fn new(name: &'static str, to: String) -> Self {
        let zero = || AtomicU64::new(0);
        Self { name, to, sent: zero(), failed: zero(), lost: zero(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Condition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many messages were handed over.
    pub(super) fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
        let (lost, now) = (self.lost.load(Ordering::Relaxed), wall());
        let mut state = self.state();
        let again = state.failing.take().is_some();
        let unsaid = lost - state.said;
        let say = unsaid > 0 && (again || now.saturating_sub(state.said_at) >= SAY_LOST);
        if say {
            (state.said, state.said_at) = (lost, now);
        }
        drop(state);
        let Self { name, to, .. } = self;
        if again {
            log::info!("{name} to {to} works again");
        }
        if say {
            log::warn!("{name} to {to}: {unsaid} messages were lost");
        }
    }

    pub(super) fn failed(&self, error: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let since = state.failing.as_ref().map(|(since, _)| *since);
        state.failing = Some((since.unwrap_or_else(wall), error.to_owned()));
        drop(state);
        if since.is_none() {
            let Self { name, to, .. } = self;
            log::warn!("{name} to {to} does not work: {error}; what is to be told waits");
        }
    }

    pub(super) fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Why it does not work, if it does not.
    pub(super) fn error(&self) -> Option<String> {
        self.state().failing.as_ref().map(|(_, error)| error.clone())
    }

    pub(super) fn view(&self, waiting: usize, now: u64) -> ChannelView {
        let failing = self.state().failing.clone();
        ChannelView {
            channel: self.name.to_owned(),
            to: self.to.clone(),
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            waiting,
            failing: failing.as_ref().map(|(since, _)| now.saturating_sub(*since) / 1000),
            error: failing.map(|(_, error)| error),
        }
    }
}

/// Tells what is in the outbox until the server ends.
pub(super) fn deliver(
    channel: &dyn Channel,
    meter: &Meter,
    outbox: &Outbox,
    bell: &Bell,
    end: &AtomicBool,
) {
    let start = Instant::now();
    let clock = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (mut backoff, mut pace) = (Backoff::default(), Pace::new(channel.an_hour(), 0));
    // Messages had to wait for the pace: then they are told in one.
    let mut held = false;
    loop {
        outbox.save();
        if end.load(Ordering::Acquire) {
            return;
        }
        meter.lost(outbox.forget(meter.name, wall().saturating_sub(STALE)));
        let waiting = outbox.after(meter.name, 0, usize::MAX);
        let Some(first) = waiting.first() else {
            held = false;
            bell.wait(LOOK);
            continue;
        };
        let slow = pace.left(clock());
        held |= slow > 0;
        let wait = Duration::from_millis(slow.max(backoff.left(clock()))).min(LOOK);
        if !wait.is_zero() {
            bell.wait(wait);
            continue;
        }
        let count = if held { waiting.len() } else { waiting.len().min(channel.most()) };
        let told = waiting.get(..count).unwrap_or_default();
        let last = told.last().unwrap_or(first).number;
        match channel.send(told) {
            Ok(_) => {
                outbox.done(meter.name, last);
                meter.sent(1);
                pace.take(clock());
                backoff.worked();
            }
            Err(Failure::Never(error)) => {
                meter.failed(&error);
                meter.lost(count as u64);
                outbox.done(meter.name, last);
            }
            Err(Failure::Later(error)) => {
                meter.failed(&error);
                backoff.failed(clock());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::tests::event;
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Fake {
        told: Sender<Vec<u64>>,
        answers: Mutex<Vec<Result<String, Failure>>>,
        an_hour: u64,
    }

    impl Channel for Fake {
        fn most(&self) -> usize {
            1
        }

        fn an_hour(&self) -> u64 {
            self.an_hour
        }

        fn send(&self, events: &[Event]) -> Result<String, Failure> {
            self.told.send(events.iter().map(|event| event.number).collect()).unwrap();
            self.answers.lock().unwrap().pop().unwrap_or_else(|| Ok(String::new()))
        }
    }

    /// What is told, one message after the other, and what was counted in the end: sent, failed, lost.
    fn told(
        an_hour: u64,
        events: u64,
        mut answers: Vec<Result<String, Failure>>,
        messages: usize,
    ) -> (Vec<Vec<u64>>, [u64; 3]) {
        answers.reverse();
        let meter = Arc::new(Meter::new("webhook", "test".to_owned()));
        let outbox = Outbox::in_memory(&[Arc::clone(&meter)]);
        outbox.push((1..=events).map(event).collect());
        let (sender, heard) = channel();
        let fake = Fake { told: sender, answers: Mutex::new(answers), an_hour };
        let (bell, end) = (Bell::default(), AtomicBool::new(false));
        let told = thread::scope(|scope| {
            scope.spawn(|| deliver(&fake, &meter, &outbox, &bell, &end));
            let told = (0..messages).map(|_| heard.recv_timeout(PATIENCE).unwrap()).collect();
            while outbox.waiting("webhook") > 0 && events <= an_hour {
                thread::yield_now();
            }
            end.store(true, Ordering::Release);
            bell.ring();
            told
        });
        let view = meter.view(0, 0);
        (told, [view.sent, view.failed, view.lost])
    }

    #[test]
    fn each_event_is_told_until_it_was_taken() {
        let later = || Err(Failure::Later("busy".to_owned()));
        let (messages, counted) = told(60, 2, vec![later(), Ok(String::new())], 3);
        assert_eq!((messages, counted), (vec![vec![1], vec![1], vec![2]], [2, 1, 0]));
    }

    #[test]
    fn what_is_not_wanted_does_not_hold_up_the_rest() {
        let never = Err(Failure::Never("400".to_owned()));
        let (messages, counted) = told(60, 2, vec![never], 2);
        assert_eq!((messages, counted), (vec![vec![1], vec![2]], [1, 1, 1]));
    }

    #[test]
    fn beyond_the_pace_the_rest_comes_in_one() {
        // One each tenth of a second.
        let (messages, _) = told(36_000, 40_000, Vec::new(), 1);
        assert_eq!(messages[0], [39_001], "the oldest were lost: the outbox holds 1,000");
        let mut all = Vec::new();
        // Two at once, and another one after half an hour: what waits then waits for that.
        for message in told(2, 5, Vec::new(), 2).0 {
            all.extend(message);
        }
        assert_eq!(all, [1, 2]);
    }
}
