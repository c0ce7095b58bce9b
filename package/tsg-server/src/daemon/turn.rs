//! One turn of the main thread: take in, then [`super::store`].

use super::signals::Asked;
use super::{Daemon, LOOK_AT_CLOCK};
use crate::clock::Reading;
use crate::database::AuditEntry;
use crate::network::Received;
use crate::operations::{self, Answer, Desk, Operation, Operator, Refusal, Running};
use crate::orders::{Order, Reply};
use anyhow::Result;
use tsg_control::message::ToServer;
use tsg_control::server::{Level, Record};

/// Messages that are taken in before the next transaction.
const MOST_MESSAGES: usize = 512;

/// Orders that are taken in before the next transaction, and for how many milliseconds: gateways wait meanwhile.
const MOST_ORDERS: usize = 16;
const LONGEST_FOR_ORDERS: u64 = 20;

/// Lines of the state machine that are logged in a second, of each level.
const MOST_LINES: u32 = 50;

/// An answer that waits until it is true.
pub(super) struct Pending {
    pub(super) outcome: Result<Answer, Refusal>,
    pub(super) reply: Reply,
    /// The order changed something.
    pub(super) changes: bool,
}

/// How much was logged in this second: a peer cannot fill the disk with lines, and what is only good
/// to know does not keep warnings out.
#[derive(Default)]
pub(super) struct Talk {
    second: u64,
    warnings: u32,
    infos: u32,
    unsaid: u64,
}

impl Talk {
    /// May one more line of this level be logged?
    fn may_say(&mut self, level: Level) -> bool {
        let lines = match level {
            Level::Warning => &mut self.warnings,
            Level::Info => &mut self.infos,
        };
        let may = *lines < MOST_LINES;
        *lines += u32::from(may);
        self.unsaid += u64::from(!may);
        may
    }

    /// Time has passed. Gives how many lines of the second before were too many.
    fn begin(&mut self, second: u64) -> u64 {
        if self.second == second {
            return 0;
        }
        std::mem::replace(self, Self { second, ..Self::default() }).unsaid
    }
}

impl Daemon {
    /// Gives whether the daemon is to end.
    pub(super) fn turn(&mut self) -> Result<bool> {
        self.look_at_clock()?;
        let end = self.take_signals()?;
        self.take_messages()?;
        let now = self.now()?;
        self.take_orders(now)?;
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
        self.traffic.follow(&self.server, self.clock.at(reading));
        self.look_for_alarms(reading);
        self.network.look_around(reading.boot)
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
            match self.network.receive(&self.identity, Reading::now()?.boot)? {
                Received::Message(from, message) => {
                    // Not before it was received: the answer tells a gateway what time it was
                    // after it had asked.
                    let now = self.now()?;
                    if self.full_until.is_some() && !matches!(message, ToServer::Heartbeat(_)) {
                        // It would have to be stored, or answered with what is not.
                        continue;
                    }
                    // Only who was asked to do something has done it.
                    let unasked = matches!(&message, ToServer::Done(done)
                        if !self.outcomes.note(from, done));
                    if !unasked {
                        self.server.handle_message(from, message, now);
                    }
                }
                Received::Unreadable(from, error) => {
                    self.server.handle_unreadable(from, error, self.now()?);
                }
                Received::Dropped => {}
                Received::Nothing => break,
            }
        }
        self.note_changes("gateways");
        Ok(())
    }

    fn take_orders(&mut self, now: u64) -> Result<()> {
        self.orders.silence();
        let until = Reading::now()?.boot + LONGEST_FOR_ORDERS;
        for _ in 0..MOST_ORDERS {
            let Some(order) = self.orders.next_order() else { return Ok(()) };
            if operations::looks_back(&order.operation) {
                self.history.take(order);
                continue;
            }
            self.carry_out(order, now);
            if Reading::now()?.boot >= until {
                break;
            }
        }
        // There may be more.
        self.orders.ring();
        Ok(())
    }

    fn carry_out(&mut self, order: Order, now: u64) {
        let Order { operation, operator, reply } = order;
        let changes = operations::changes(&operation);
        if let Some(refusal) = self.no_room().filter(|_| changes) {
            log::warn!("{}: {refusal}", operator.0);
            self.answers.push(Pending { outcome: Err(refusal), reply, changes: false });
            return;
        }
        if let Operation::AlarmTest {} = operation {
            return self.test_alarm(&operator, reply);
        }
        let uptime = Reading::now().map_or(0, |at| at.boot.saturating_sub(self.started.boot));
        let mut desk = Desk {
            server: &mut self.server,
            database: &self.database,
            identity: &self.identity,
            outcomes: &mut self.outcomes,
            accounts: &mut self.accounts,
            account_changes: &mut self.batch.accounts,
            traffic: &self.traffic,
            alarms: &self.alarms,
            notifier: &self.notifier,
            operator: &operator,
            running: Running {
                listen: self.network.listen(),
                publish: self.network.publish(),
                uptime: uptime / 1000,
                clock_jumps: self.jumps,
                connections: self.network.connections(),
                dropped: self.network.dropped(),
                secrets: &self.secrets,
            },
            now,
        };
        let outcome = operations::perform(&mut desk, &operation);
        for entry in operations::entries(&operator, &operation, &outcome) {
            self.note(entry);
        }
        self.note_changes(&operator.0);
        self.answers.push(Pending { outcome, reply, changes });
    }

    /// A line for the audit trail, and for the log on this machine: elsewhere the trail is told as such.
    fn note(&mut self, entry: AuditEntry) {
        let AuditEntry { who, action, object, outcome } = &entry;
        log::info!(target: tsg_log::HERE, "{who}: {action} {object}: {outcome}");
        self.batch.audit.push(entry);
    }

    /// Receivers may be slow: another thread answers.
    fn test_alarm(&mut self, operator: &Operator, reply: Reply) {
        self.note(AuditEntry {
            who: operator.0.clone(),
            action: "alarm test".to_owned(),
            object: "all channels".to_owned(),
            outcome: "ordered".to_owned(),
        });
        self.notifier.test(&operator.0, reply);
    }

    /// What the state machine wants to be durable, with who caused it.
    pub(super) fn note_changes(&mut self, who: &str) {
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
            self.keep(record, who);
        }
    }

    pub(super) fn log_events(&mut self, now: u64) {
        let unsaid = self.talk.begin(now / 1000);
        if unsaid > 0 {
            log::warn!("{unsaid} lines were too many for the log");
        }
        while let Some(event) = self.server.poll_event() {
            if !self.talk.may_say(event.level) {
                continue;
            }
            match event.level {
                Level::Warning => log::warn!("{}", event.text),
                Level::Info => log::info!("{}", event.text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chatter_does_not_keep_warnings_out() {
        let mut talk = Talk::default();
        let said = (0..1_000).filter(|_| talk.may_say(Level::Info)).count();
        assert_eq!(said as u64, u64::from(MOST_LINES));
        assert!(talk.may_say(Level::Warning));
        assert_eq!(talk.begin(0), 0);
        assert_eq!(talk.begin(1), 1_000 - u64::from(MOST_LINES));
        assert_eq!(talk.begin(2), 0);
        assert!(talk.may_say(Level::Info));
    }
}
