//! The thread that talks with the collector: sends what there is, and remembers what the collector has.

use super::super::bell::Bell;
use super::super::channel::Meter;
use super::super::outbox::Outbox;
use super::super::pace::Backoff;
use super::super::said;
use super::Syslog;
use super::lines::Lines;
use super::place::Place;
use super::wire::Wire;
use crate::database::Lookout;
use anyhow::Result;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Of each kind, that are sent before the next look at the connection.
const BATCH: usize = 100;

/// A collector that ends takes along what it was sent a moment before. So that counts as told only when the connection has
/// stood for this long afterwards.
const SETTLE: Duration = Duration::from_secs(2);

/// It is looked this often whether the connection still stands, and whether what is under way has arrived.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_UNDER_WAY: Duration = Duration::from_millis(200);

/// When the server ends, the collector has so long to take the rest.
const FAREWELL: Duration = Duration::from_secs(1);

/// So many looks are told apart.
const MOST_UNSURE: usize = 1_000;

/// What the thread needs.
pub(in super::super) struct Work {
    pub(in super::super) syslog: Arc<Syslog>,
    pub(in super::super) reader: Lookout,
    pub(in super::super) folder: PathBuf,
    pub(in super::super) outbox: Arc<Outbox>,
    pub(in super::super) meter: Arc<Meter>,
    pub(in super::super) bell: Arc<Bell>,
    pub(in super::super) end: Arc<AtomicBool>,
}

/// The numbers up to which audit entries and alarms were sent.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    audit: u64,
    alarm: u64,
}

/// What the thread does.
pub(in super::super) struct Sender {
    work: Work,
    lines: Arc<Lines>,
    place: Place,
    wire: Option<Wire>,
    /// When it was made.
    connected: Instant,
    backoff: Backoff,
    start: Instant,
    sent: Mark,
    /// The collector has it up to there.
    told: Mark,
    /// Sent, and perhaps on its way: with the time.
    unsure: VecDeque<(Instant, Mark)>,
}

impl Work {
    /// From now on lines of the log wait for the collector.
    pub(in super::super) fn begin(self) -> Result<Sender> {
        let place = Place::open(&self.folder, &self.reader)?;
        let lines = Arc::new(Lines::new(Arc::clone(&self.bell), Arc::clone(&self.meter)));
        let waiting = Arc::clone(&lines);
        tsg_log::listen(move |level, text| waiting.put(level, text))?;
        let told = Mark { audit: place.number(), alarm: 0 };
        Ok(Sender {
            work: self,
            lines,
            place,
            wire: None,
            connected: Instant::now(),
            backoff: Backoff::default(),
            start: Instant::now(),
            sent: told,
            told,
            unsure: VecDeque::new(),
        })
    }
}

impl Sender {
    /// Until the server ends.
    pub(in super::super) fn run(mut self) {
        loop {
            self.work.outbox.save();
            let ending = self.work.end.load(Ordering::Acquire);
            let more = self.look();
            if ending && !more {
                return self.farewell();
            }
            if !more {
                let wait = if self.unsure.is_empty() { LOOK } else { LOOK_UNDER_WAY };
                self.work.bell.wait(wait);
            }
        }
    }

    /// Gives whether there is more to send at once.
    fn look(&mut self) -> bool {
        let clock = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.wire.as_ref().is_some_and(Wire::is_old) {
            self.wire = None;
        }
        if self.wire.is_none() {
            if self.backoff.left(clock) > 0 {
                return false;
            }
            match self.work.syslog.connect() {
                Ok(wire) => (self.wire, self.connected) = (Some(wire), Instant::now()),
                Err(error) => return self.broken(&error, clock),
            }
        }
        match self.send() {
            Ok(more) => {
                // One that takes connections and breaks them off again is not asked every second.
                if self.connected.elapsed() >= SETTLE {
                    self.backoff.worked();
                }
                more
            }
            Err(error) => self.broken(&error, clock),
        }
    }

    /// What is not sure to be there is sent again when there is a connection.
    fn broken(&mut self, error: &anyhow::Error, clock: u64) -> bool {
        self.wire = None;
        self.sent = self.told;
        self.unsure.clear();
        self.work.meter.failed(&said(&format!("{error:#}")));
        self.backoff.failed(clock);
        false
    }

    fn send(&mut self) -> Result<bool> {
        let Some(wire) = &mut self.wire else { return Ok(false) };
        wire.check()?;
        let is_udp = wire.is_udp();
        self.confirm(if is_udp { Duration::ZERO } else { SETTLE })?;
        let Some(wire) = &mut self.wire else { return Ok(false) };
        let Work { syslog, reader, outbox, meter, .. } = &self.work;
        let before = self.sent;
        let mut more = false;
        // The audit trail first, whatever else there is.
        let rows = reader.after(self.sent.audit, BATCH)?;
        more |= rows.len() == BATCH;
        for row in rows {
            wire.send(&syslog.writer.audit(&row))?;
            self.sent.audit = row.id;
            meter.sent(1);
        }
        let events = outbox.after(meter.name, self.sent.alarm, BATCH);
        more |= events.len() == BATCH;
        for event in events {
            wire.send(&syslog.writer.alarm(&event))?;
            self.sent.alarm = event.number;
            meter.sent(1);
        }
        let lines = self.lines.first(BATCH);
        more |= lines.len() == BATCH;
        for line in lines {
            wire.send(&syslog.writer.line(&line))?;
            self.lines.done(1);
            meter.sent(1);
        }
        if self.sent != before {
            if self.unsure.len() >= MOST_UNSURE {
                self.unsure.pop_back();
            }
            self.unsure.push_back((Instant::now(), self.sent));
        }
        Ok(more)
    }

    /// What was sent that long ago has arrived, if nothing is under way.
    fn confirm(&mut self, settle: Duration) -> Result<()> {
        if self.unsure.is_empty() || self.wire.as_ref().is_none_or(Wire::is_under_way) {
            return Ok(());
        }
        let sure = self.unsure.partition_point(|(at, _)| at.elapsed() >= settle);
        let Some((_, mark)) = self.unsure.drain(..sure).next_back() else { return Ok(()) };
        self.told = mark;
        self.work.outbox.done(self.work.meter.name, mark.alarm);
        self.place.move_to(mark.audit, &self.work.reader)
    }

    fn farewell(mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.wire.as_ref().is_some_and(Wire::is_under_way) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if let Err(error) = self.confirm(Duration::ZERO) {
            log::debug!("syslog: {error:#}");
        }
        if let Some(wire) = self.wire.take() {
            wire.close();
        }
        self.work.outbox.save();
    }
}
