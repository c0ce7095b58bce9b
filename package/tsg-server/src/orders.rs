//! The way from every door to the main thread, which alone carries orders out.

use crate::operations::{Answer, Operation, Operator, Refusal, RefusalKind};
use anyhow::{Context, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// More orders do not wait at once.
const MOST_WAITING: usize = 64;

/// An operation on its way to the thread that carries it out.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub operation: Operation,
    /// For whom.
    pub operator: Operator,
    /// Where the answer goes.
    pub reply: Reply,
}

/// Takes the answer, and never blocks.
pub struct Reply(Box<dyn FnOnce(Result<Answer, Refusal>) + Send>);

/// The main thread's end.
#[derive(Debug)]
pub struct Orders {
    orders: Receiver<Order>,
    bell: Arc<EventFd>,
}

/// What a door needs to hand in an order.
#[derive(Clone)]
pub struct Letterbox {
    orders: SyncSender<Order>,
    bell: Arc<EventFd>,
}

impl Reply {
    /// The answer is given to this function.
    pub fn to(take: impl FnOnce(Result<Answer, Refusal>) + Send + 'static) -> Self {
        Self(Box::new(take))
    }

    /// Answers.
    pub fn give(self, answer: Result<Answer, Refusal>) {
        (self.0)(answer);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Letterbox")
    }
}

/// Both ends.
///
/// # Errors
/// The kernel has no eventfd left.
pub fn open() -> Result<(Orders, Letterbox)> {
    let (sender, orders) = sync_channel(MOST_WAITING);
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .context("cannot make an eventfd")?;
    let bell = Arc::new(bell);
    let letterbox = Letterbox { orders: sender, bell: Arc::clone(&bell) };
    Ok((Orders { orders, bell }, letterbox))
}

impl Letterbox {
    /// Hands an order in, and waits for what comes of it.
    ///
    /// # Errors
    /// The refusal, which may be that the server is ending.
    pub fn ask(&self, operation: Operation, operator: Operator) -> Result<Answer, Refusal> {
        let (sender, answer) = sync_channel(1);
        let reply = Reply::to(move |outcome| {
            // Who does not wait any more does not want to know.
            let _ = sender.try_send(outcome);
        });
        let sent = self.orders.send(Order { operation, operator, reply });
        if sent.is_err() || self.bell.write(1).is_err() {
            return Err(ending());
        }
        answer.recv().unwrap_or_else(|_| Err(ending()))
    }

    /// Hands an order in without waiting, whose answer its [`Reply`] takes.
    ///
    /// # Errors
    /// So many orders wait already, or the server is ending.
    pub fn hand_in(&self, order: Order) -> Result<(), Refusal> {
        match self.orders.try_send(order) {
            Ok(()) if self.bell.write(1).is_ok() => Ok(()),
            Ok(()) | Err(TrySendError::Disconnected(_)) => Err(ending()),
            Err(TrySendError::Full(_)) => {
                Err(Refusal::new(RefusalKind::Unavailable, "the key server is busy: try again"))
            }
        }
    }
}

/// Nobody answers any more.
pub(crate) fn ending() -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "the key server is ending")
}

impl Orders {
    /// Readable when there is an order.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Quiet again; call it before taking orders.
    pub fn silence(&self) {
        // EAGAIN: it was not ringing.
        let _ = self.bell.read();
    }

    /// Readable again: there is more to take.
    pub fn ring(&self) {
        let _ = self.bell.write(1);
    }

    /// The next order.
    pub fn next_order(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }
}
