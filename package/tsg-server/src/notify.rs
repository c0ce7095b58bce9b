//! What the key server tells the world outside by itself: audit trail, alarms and log to a syslog collector; alarms to a
//! webhook and by mail.
//!
//! Each channel has a thread of its own, so that no receiver, however slow, keeps the main thread waiting. Alarms wait in
//! the [`Outbox`], which a restart does not empty; audit entries wait in the database.
//!
//! Not here: what is an alarm ([`crate::alarms`]), and the log on this machine (`tsg_log`).

mod bell;
mod channel;
mod mail;
mod open;
mod outbox;
mod pace;
mod syslog;
mod target;
mod trust;
mod webhook;

pub use channel::ChannelView;
pub use open::Options;

use crate::alarms::{Alarm, Event, Kind, State};
use crate::clock::Reading;
use crate::operations::{Answer, Refusal, RefusalKind};
use crate::orders::Reply;
use bell::Bell;
use channel::{Channel, Meter};
use outbox::Outbox;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// When the server ends, what is being told may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// The main thread's end of all channels.
pub struct Notifier {
    outbox: Arc<Outbox>,
    channels: Vec<(Arc<Meter>, Arc<dyn Channel>)>,
    bells: Vec<Arc<Bell>>,
    threads: Vec<Receiver<()>>,
    end: Arc<AtomicBool>,
    testing: Arc<AtomicBool>,
}

/// What came of a test alarm on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// `syslog`, `webhook` or `mail`.
    pub channel: String,
    /// The receiver.
    pub to: String,
    /// It was taken, as far as that can be told.
    pub arrived: bool,
    /// What the receiver said, or why it did not arrive.
    pub text: String,
}

impl Notifier {
    /// One that tells nobody.
    pub fn silent() -> Self {
        Self::new(Arc::new(Outbox::default()))
    }

    fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            channels: Vec::new(),
            bells: Vec::new(),
            threads: Vec::new(),
            end: Arc::new(AtomicBool::new(false)),
            testing: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Alarms that were raised and are not over, and the number of the next event: from before the start.
    pub fn raised(&self) -> (Vec<Alarm>, u64) {
        self.outbox.raised()
    }

    /// To be told by all channels.
    pub fn tell(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.outbox.push(events);
            self.ring();
        }
    }

    /// There is more in the audit trail.
    pub fn audit_grew(&self) {
        self.ring();
    }

    fn ring(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// How each channel is.
    pub fn channels(&self) -> Vec<ChannelView> {
        let now = wall();
        let view = |(meter, _): &(Arc<Meter>, _)| meter.view(self.outbox.waiting(meter.name), now);
        self.channels.iter().map(view).collect()
    }

    /// Alarms about the channels themselves.
    pub(crate) fn troubles(&self, now: u64) -> Vec<Alarm> {
        let alarm = |(meter, _): &(Arc<Meter>, _)| {
            let text = format!("{} to {}: {}", meter.name, meter.to, meter.error()?);
            Some(Alarm::of_server(Kind::Channel, meter.name, &text, now))
        };
        self.channels.iter().filter_map(alarm).collect()
    }

    /// Sends a test alarm by all channels, and answers with what came of it.
    pub(crate) fn test(&self, who: &str, reply: Reply) {
        if self.channels.is_empty() {
            let text = "there is no channel: start the server with --syslog, --alarm-webhook or --alarm-mail";
            return reply.give(Err(Refusal::new(RefusalKind::Conflict, text)));
        }
        if self.testing.swap(true, Ordering::AcqRel) {
            let text = "a test is under way: try again in a minute";
            return reply.give(Err(Refusal::new(RefusalKind::Conflict, text)));
        }
        let (channels, testing) = (self.channels.clone(), Arc::clone(&self.testing));
        let text = format!("this is a test, ordered by {who}: nothing is wrong");
        let alarm = Alarm::of_server(Kind::Test, "", &text, wall());
        let event = Event { number: 0, state: State::Raised, at: alarm.since, alarm };
        // It ends by itself, when the slowest channel's patience does.
        thread::spawn(move || {
            let tested = try_all(&channels, &event);
            testing.store(false, Ordering::Release);
            reply.give(Ok(Answer::AlarmTest(tested)));
        });
    }

    /// Starts a thread, which ends soon after `end` is set and its bell rings.
    fn start(
        &mut self,
        name: &str,
        bell: Arc<Bell>,
        body: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        let (ended, wait) = sync_channel::<()>(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            body();
            drop(ended);
        })?;
        self.bells.push(bell);
        self.threads.push(wait);
        Ok(())
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        self.ring();
        let deadline = Instant::now() + FAREWELL;
        for thread in &self.threads {
            let left = deadline.saturating_duration_since(Instant::now());
            // One that waits for its receiver ends with the process.
            let _ = thread.recv_timeout(left);
        }
        self.outbox.close();
    }
}

fn try_all(channels: &[(Arc<Meter>, Arc<dyn Channel>)], event: &Event) -> Vec<Tested> {
    let one = |(meter, channel): &(Arc<Meter>, Arc<dyn Channel>)| {
        let outcome = channel.send(std::slice::from_ref(event));
        let (arrived, text) = match outcome {
            Ok(text) => (true, text),
            Err(failure) => (false, failure.to_string()),
        };
        Tested { channel: meter.name.to_owned(), to: meter.to.clone(), arrived, text }
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            channels.iter().map(|channel| scope.spawn(move || one(channel))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// The machine's time, in milliseconds since 1970.
fn wall() -> u64 {
    Reading::now().map_or(0, |now| now.wall)
}

/// The name of this machine, as receivers are told it.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let good = |name: &String| {
        (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    name.filter(good).unwrap_or_else(|| "tsg-server".to_owned())
}

/// What somebody outside said, on one line and not too long.
fn said(text: &str) -> String {
    const MOST: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(MOST).map(plain).collect()
}
