//! Root's door: a Unix socket, one JSON object a line each way.
//!
//! `{"gateway_list":{}}` is answered by `{"ok":{"kind":"gateways","value":[…]}}`, or by
//! `{"error":{"kind":"not_found","message":"…"}}`. Each connection has a small thread of its own,
//! so that a client that does not read keeps nobody waiting.
//!
//! A backup is no line: behind the answer to `backup` the client sends an empty line, and is sent the file in
//! [`frames`].

mod connection;
pub(crate) mod frames;
mod socket;

#[cfg(fuzzing)]
pub(crate) use connection::operation;
pub use connection::{MOST_LINE, Reply};
pub use socket::Admin;
