//! When to poll, when to report, when to stop.

use std::{future, time::Duration};

use anyhow::{Result, ensure};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

/// What comes next in a poller's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time for a poll.
    Poll,
    /// Somebody wants to see the numbers.
    Report,
    /// Enough.
    Stop,
}

/// The source of [`Event`]s.
pub(crate) struct Schedule {
    /// How long a poll may take.
    pub(crate) timeout: Duration,
    ticks: Interval,
    progress: Option<Interval>,
    end: Option<Instant>,
    on_request: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Schedule {
    /// `rate` in polls a second, `seconds` in seconds, the others in milliseconds.
    pub(crate) fn new(
        rate: f64,
        seconds: Option<f64>,
        timeout: u64,
        progress: Option<u64>,
    ) -> Result<Self> {
        ensure!(rate > 0.0 && rate <= 100_000.0, "a rate is between 0 and 100,000 a second");
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
        // Late polls are caught up, so that a run has as many as it should have.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let length = seconds.map(Duration::try_from_secs_f64).transpose()?;
        ensure!(progress != Some(0), "progress is at least every millisecond");
        Ok(Self {
            timeout: Duration::from_millis(timeout),
            ticks,
            progress: progress.map(|ms| interval(Duration::from_millis(ms))),
            end: length.map(|length| Instant::now() + length),
            on_request: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next event. Cancel safe.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            () = at(self.end) => Event::Stop,
            _ = self.on_request.recv() => Event::Report,
            () = tick(self.progress.as_mut()) => Event::Report,
            _ = self.ticks.tick() => Event::Poll,
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => future::pending().await,
    }
}

async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => future::pending().await,
    }
}
