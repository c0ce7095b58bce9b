//! The key server as a program: started, talked to as gateways and operators do, killed.
//!
//! Every test has its own server on loopback with its own data folder. The gateways in here are
//! the real state machine on a real CURVE socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

mod alarms;
mod announcements;
mod backups;
mod bundle;
mod crashes;
mod daemon;
mod disk;
mod enrolment;
mod gateway;
mod golden;
mod hostile;
mod many;
mod previous;
mod receivers;
mod rekeys;
mod restore;
mod sealing;
mod second_factor;
mod sockets;
mod syslog;
mod web;
