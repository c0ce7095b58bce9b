//! Both ends, each against the other and against one that says what it should not.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

mod client;
mod server;
