//! Questions about what was long ago: a thread of its own answers them from the database, so that nobody's search
//! through years of audit trail keeps the main thread from the gateways.
//!
//! It reads what is durable: an order's line is there before the order is answered.

use crate::database::Lookout;
use crate::operations::{self, Operation, Refusal, RefusalKind};
use crate::orders::{Order, ending};
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// More questions do not wait at once.
const MOST_WAITING: usize = 32;

/// The thread, and the way to it.
pub struct History {
    orders: Option<SyncSender<Order>>,
    interrupt: rusqlite::InterruptHandle,
    ended: Arc<AtomicBool>,
    /// Somebody has the whole trail checked: it takes seconds, and its answer would be the same for everybody.
    checking: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl History {
    /// Begins to read in this folder.
    ///
    /// # Errors
    /// The database cannot be opened once more.
    pub fn open(folder: &Path) -> Result<Self> {
        let lookout = Lookout::open(folder)?;
        let interrupt = lookout.interrupt();
        let (orders, asked) = sync_channel(MOST_WAITING);
        let (ended, checking) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (end, check) = (Arc::clone(&ended), Arc::clone(&checking));
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || answer(&lookout, &asked, &end, &check))
            .context("cannot start the thread that reads the audit trail")?;
        Ok(Self { orders: Some(orders), interrupt, ended, checking, thread: Some(thread) })
    }

    /// Takes a question that [`operations::looks_back`] knows.
    pub fn take(&self, order: Order) {
        let Some(orders) = &self.orders else { return };
        let is_check = matches!(order.operation, Operation::AuditVerify {});
        if is_check && self.checking.swap(true, Ordering::Relaxed) {
            return order
                .reply
                .give(Err(busy("the audit trail is being checked for somebody else")));
        }
        match orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(order)) => {
                if is_check {
                    self.checking.store(false, Ordering::Relaxed);
                }
                order.reply.give(Err(busy("many questions about the audit trail wait already")));
            }
            Err(TrySendError::Disconnected(order)) => order.reply.give(Err(ending())),
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(self.orders.take());
        let Some(thread) = self.thread.take() else { return };
        // A question that begins just now is not interrupted by the first try.
        while !thread.is_finished() {
            self.interrupt.interrupt();
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = thread.join();
    }
}

fn busy(why: &str) -> Refusal {
    Refusal::new(RefusalKind::Unavailable, format!("{why}: try again in a moment"))
}

fn answer(lookout: &Lookout, asked: &Receiver<Order>, ended: &AtomicBool, checking: &AtomicBool) {
    for Order { operation, reply, .. } in asked {
        let answer = if ended.load(Ordering::Relaxed) {
            Err(ending())
        } else {
            operations::look_back(lookout.reader(), &operation)
        };
        if matches!(operation, Operation::AuditVerify {}) {
            checking.store(false, Ordering::Relaxed);
        }
        reply.give(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{AuditEntry, AuditFilter, Batch, Database};
    use crate::operations::{Answer, Operator};
    use crate::orders::Reply;
    use std::sync::mpsc::channel;

    fn ask(history: &History, operation: Operation) -> Receiver<Result<Answer, Refusal>> {
        let (sender, answer) = channel();
        let reply = Reply::to(move |outcome| sender.send(outcome).unwrap());
        history.take(Order { operation, operator: Operator("ann".to_owned()), reply });
        answer
    }

    fn line(number: u32) -> AuditEntry {
        AuditEntry {
            who: "ann".to_owned(),
            action: "rekey".to_owned(),
            object: format!("group {number}"),
            outcome: "done".to_owned(),
        }
    }

    #[test]
    fn what_was_stored_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let history = History::open(folder.path()).unwrap();
        for number in 1..=3 {
            let batch = Batch { audit: vec![line(number)], ..Batch::default() };
            database.store(&batch, 1).unwrap();
            let filter = AuditFilter { most: 1, ..AuditFilter::default() };
            let found = ask(&history, Operation::AuditList(filter)).recv().unwrap().unwrap();
            let Answer::Audit(rows) = found else { panic!("{found:?}") };
            assert_eq!(rows[0].object, format!("group {number}"));
        }
    }

    #[test]
    fn one_check_of_the_whole_trail_at_once_and_none_when_the_server_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        let audit = (0..30_000).map(line).collect();
        database.store(&Batch { audit, ..Batch::default() }, 1).unwrap();
        let history = History::open(folder.path()).unwrap();
        let answers: Vec<_> = (0..20).map(|_| ask(&history, Operation::AuditVerify {})).collect();
        let refused =
            answers.iter().filter_map(|answer| answer.try_recv().ok()).find_map(Result::err);
        assert!(refused.unwrap().message.contains("being checked"));
        drop(history);
        // Interrupted, or done before.
        let first = answers[0].recv().unwrap();
        assert!(
            !matches!(&first, Ok(Answer::AuditVerdict(verdict)) if !verdict.broken.is_empty()),
            "{first:?}"
        );
    }
}
