//! One turn of the main thread: take in, make durable, tell.

use super::signals::Asked;
use super::{Daemon, LOOK_AT_CLOCK};
use crate::admin::Order;
use crate::clock::Reading;
use crate::database::AuditEntry;
use crate::network::Received;
use crate::operations::{self, Answer, Desk, Operator, Refusal, RefusalKind, Running};
use anyhow::Result;
use std::sync::mpsc::SyncSender;
use tsg_control::message::ToServer;
use tsg_control::server::{Level, Record};

/// Messages that are taken in before the next transaction.
const MOST_MESSAGES: usize = 512;

/// Orders that are taken in before the next transaction.
const MOST_ORDERS: usize = 16;

/// Lines of the state machine that are logged in a second.
const MOST_LINES: u32 = 100;

/// An answer that waits until it is true.
pub(super) struct Pending {
    outcome: Result<Answer, Refusal>,
    reply: SyncSender<Result<Answer, Refusal>>,
}

/// How much was logged in this second: a peer cannot fill the disk with lines.
#[derive(Default)]
pub(super) struct Talk {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl Daemon {
    /// Gives whether the daemon is to end.
    pub(super) fn turn(&mut self) -> Result<bool> {
        self.look_at_clock()?;
        let end = self.take_signals()?;
        self.take_messages()?;
        let now = self.now()?;
        self.take_orders(now);
        if self.server.poll_timeout(now).is_some_and(|due| due <= now + 50) {
            self.server.handle_timeout(now);
        }
        self.settle(now)?;
        Ok(end)
    }

    fn look_at_clock(&mut self) -> Result<()> {
        let reading = Reading::now()?;
        if reading.boot < self.next_look {
            return Ok(());
        }
        self.next_look = reading.boot + LOOK_AT_CLOCK;
        if let Some(jump) = self.clock.notice_jump(reading) {
            self.jumps += 1;
            log::warn!("the machine's clock jumped by {jump} ms");
            self.server.handle_clock_jump(self.clock.at(reading));
            self.note_changes("clock");
        }
        self.network.forget_silent(reading.boot);
        Ok(())
    }

    fn take_signals(&mut self) -> Result<bool> {
        while let Some(asked) = self.signals.next()? {
            match asked {
                Asked::End => return Ok(true),
                Asked::Nothing => {}
                Asked::Rekey(operator) => self.rekey_all(&operator, self.now()?),
            }
        }
        Ok(false)
    }

    fn rekey_all(&mut self, operator: &Operator, now: u64) {
        log::info!("{}: new epochs for all groups", operator.0);
        self.server.rekey_all(now);
        self.note_changes(&operator.0);
        self.batch.audit.push(AuditEntry {
            who: operator.0.clone(),
            action: "rekey".to_owned(),
            object: "all groups".to_owned(),
            outcome: "done".to_owned(),
        });
    }

    fn take_messages(&mut self) -> Result<()> {
        for _ in 0..MOST_MESSAGES {
            match self.network.receive(Reading::now()?.boot)? {
                Received::Message(from, message) => {
                    // Not before it was received: the answer tells a gateway what time it was
                    // after it had asked.
                    let now = self.now()?;
                    if let ToServer::Done(done) = &message {
                        self.outcomes.note(from, done);
                    }
                    self.server.handle_message(from, message, now);
                }
                Received::Dropped => {}
                Received::Nothing => break,
            }
        }
        self.note_changes("gateways");
        Ok(())
    }

    fn take_orders(&mut self, now: u64) {
        self.admin.silence();
        for _ in 0..MOST_ORDERS {
            let Some(order) = self.admin.next_order() else { return };
            self.carry_out(order, now);
        }
        // There may be more.
        self.admin.ring();
    }

    fn carry_out(&mut self, order: Order, now: u64) {
        let Order { operation, operator, reply } = order;
        let uptime = Reading::now().map_or(0, |at| at.boot.saturating_sub(self.started.boot));
        let mut desk = Desk {
            server: &mut self.server,
            database: &self.database,
            identity: &self.identity,
            outcomes: &mut self.outcomes,
            running: Running {
                listen: self.network.listen(),
                publish: self.network.publish(),
                uptime: uptime / 1000,
                clock_jumps: self.jumps,
                connections: self.network.connections(),
                dropped: self.network.dropped(),
            },
            now,
        };
        let outcome = operations::perform(&mut desk, &operation);
        if let Some(entry) = operations::entry(&operator, &operation, &outcome) {
            log::info!("{}: {} {}: {}", entry.who, entry.action, entry.object, entry.outcome);
            self.batch.audit.push(entry);
        }
        self.note_changes(&operator.0);
        self.answers.push(Pending { outcome, reply });
    }

    /// What the state machine wants to be durable, with who caused it.
    fn note_changes(&mut self, who: &str) {
        while let Some(record) = self.server.poll_record() {
            if let Record::Token(token) = &record
                && let Some(key) = token.used_by
            {
                self.batch.audit.push(AuditEntry {
                    who: format!("gateway {}", key.fingerprint()),
                    action: "enrol".to_owned(),
                    object: format!("token {} into {}", token.id, token.group),
                    outcome: "done".to_owned(),
                });
            }
            self.batch.changes.push((record, who.to_owned()));
        }
    }

    /// Makes everything durable, and only then tells anybody.
    pub(super) fn settle(&mut self, now: u64) -> Result<()> {
        self.note_changes("server");
        self.log_events(now);
        let batch = std::mem::take(&mut self.batch);
        if let Err(error) = self.database.store(&batch, now) {
            let text = format!("{error:#}; nothing was changed, and the key server ends");
            for pending in self.answers.drain(..) {
                let refusal = Refusal::new(RefusalKind::Unavailable, text.clone());
                let _ = pending.reply.try_send(Err(refusal));
            }
            return Err(error);
        }
        for (record, _) in &batch.changes {
            self.roster.note(record);
        }
        while let Some((to, message)) = self.server.poll_transmit() {
            self.network.send(to, &message);
        }
        while let Some(announcement) = self.server.poll_announcement() {
            self.network.announce(&announcement);
        }
        for pending in self.answers.drain(..) {
            // Who does not wait any more does not want to know.
            let _ = pending.reply.try_send(pending.outcome);
        }
        Ok(())
    }

    fn log_events(&mut self, now: u64) {
        if self.talk.second != now / 1000 {
            if self.talk.unsaid > 0 {
                log::warn!("{} lines were too many for the log", self.talk.unsaid);
            }
            self.talk = Talk { second: now / 1000, ..Talk::default() };
        }
        while let Some(event) = self.server.poll_event() {
            if self.talk.lines >= MOST_LINES {
                self.talk.unsaid += 1;
                continue;
            }
            self.talk.lines += 1;
            match event.level {
                Level::Warning => log::warn!("{}", event.text),
                Level::Info => log::info!("{}", event.text),
            }
        }
    }
}
