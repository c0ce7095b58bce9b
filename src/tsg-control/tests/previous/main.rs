//! Messages and files of earlier versions, read by today's code; and what later versions may write, read likewise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

mod later;
mod v0_1_0;
