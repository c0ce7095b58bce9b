//! Root's door: a Unix socket, one JSON object a line each way.
//!
//! `{"gateway_list":{}}` is answered by `{"ok":{"kind":"gateways","value":[…]}}`, or by
//! `{"error":{"kind":"not_found","message":"…"}}`. Each connection has a small thread of its own,
//! so that a client that does not read keeps nobody waiting.

mod connection;
mod socket;

#[cfg(fuzzing)]
pub(crate) use connection::operation;
pub use connection::{MOST_LINE, Reply};
pub use socket::Admin;

use crate::operations::{Answer, Operation, Operator, Refusal};
use std::sync::mpsc::SyncSender;

/// An operation on its way to the thread that carries it out.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub operation: Operation,
    /// For whom.
    pub operator: Operator,
    /// Where the answer goes; taking it never blocks.
    pub reply: SyncSender<Result<Answer, Refusal>>,
}
