//! Audit trail, alarms and log to a syslog collector, as RFC 5424 has them.
//!
//! Audit entries are read from the database by their numbers, alarms from the outbox, and only the lines of the log wait in
//! memory: when the collector is away, these are lost first and the others not at all. How far the collector has the audit
//! trail is kept in a file ([`place`]).

mod lines;
mod message;
mod place;
mod sender;
mod sys;
mod wire;

pub(super) use sender::Work;

use super::channel::{Channel, Failure};
use super::said;
use super::target::Target;
use super::trust::Trust;
use crate::alarms::Event;
use anyhow::Result;
use message::Writer;
use rustls::ClientConfig;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wire::Wire;

/// Where collectors listen.
pub(super) const KINDS: [(&str, u16); 3] = [("udp", 514), ("tcp", 601), ("tls", 6514)];

/// The machine of the collector has so long to say that it has a test message.
const PATIENCE: Duration = Duration::from_secs(5);

/// A collector.
pub(super) struct Syslog {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    writer: Writer,
}

impl Syslog {
    pub(super) fn new(target: Target, trust: Option<&Trust>, server: &str) -> Result<Self> {
        let tls = trust.map(Trust::rustls).transpose()?;
        let writer = Writer::new(server, target.scheme == "udp");
        Ok(Self { target, tls, writer })
    }

    pub(super) fn shown(&self) -> String {
        self.target.to_string()
    }

    fn connect(&self) -> Result<Wire> {
        Wire::open(&self.target, self.tls.as_ref())
    }

    /// Sends one message by a connection of its own.
    fn try_once(&self, event: &Event) -> Result<String> {
        let mut wire = self.connect()?;
        wire.send(&self.writer.alarm(event))?;
        let deadline = Instant::now() + PATIENCE;
        while wire.is_under_way() {
            anyhow::ensure!(Instant::now() < deadline, "it was sent, and is not acknowledged");
            thread::sleep(Duration::from_millis(20));
            wire.check()?;
        }
        wire.close();
        Ok(match self.target.scheme {
            "udp" => "sent; UDP does not tell whether it arrived".to_owned(),
            _ => "the collector's machine has it".to_owned(),
        })
    }
}

/// Only for a test: what is told otherwise goes by [`sender`], all of it by one connection.
impl Channel for Syslog {
    fn most(&self) -> usize {
        1
    }

    fn an_hour(&self) -> u64 {
        u64::MAX
    }

    fn send(&self, events: &[Event]) -> Result<String, Failure> {
        let mut text = String::new();
        for event in events {
            text = self
                .try_once(event)
                .map_err(|error| Failure::Later(said(&format!("{error:#}"))))?;
        }
        Ok(text)
    }
}
