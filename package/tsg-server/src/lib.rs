//! The key server: lets gateways in, pushes policy, rotates keys.
//!
//! All decisions are made by [`tsg_control::server::Server`], which does no I/O. This crate is the
//! shell around it: sockets, a clock, a disk and a door for operators.
//!
//! * [`daemon`]: the one thread that owns the state machine and the database
//! * [`network`]: the ports that gateways connect to
//! * [`database`]: what must survive, durable before anybody is told
//! * [`operations`]: everything that an operator can ask for, whatever the door
//! * [`orders`]: the way from the doors to the main thread
//! * [`history`]: beside it, who reads what was long ago
//! * [`accounts`]: who may use the pages and the API
//! * [`alarms`]: what is wrong, since when, and when it is over
//! * [`notify`]: what the world outside is told of it: syslog, webhook, mail
//! * [`admin`]: the door for root, a Unix socket
//! * [`web`]: the pages and the API
//! * [`cli`]: the command line, a client of that socket
//! * [`seal`]: the secrets in the data folder, sealed
//! * [`backup`]: all that a new machine needs, in one encrypted file; its format is [`age`]'s
//! * [`identity`], [`clock`], [`process`]: what a daemon needs besides

pub mod accounts;
pub mod admin;
pub mod age;
pub mod alarms;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod database;
pub mod files;
pub mod history;
pub mod identity;
mod json;
pub mod network;
pub mod notify;
pub mod operations;
pub mod orders;
pub mod process;
mod prompt;
pub mod seal;
pub mod web;
