//! The packet layer as its users see it, with ciphers that are not the gateway's.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

mod delivery;
mod example;
mod fragments;
mod headers;
mod inside;
mod known;
mod mss;

mod round_trip;
mod rustcrypto;
mod segments;
mod tamper;
mod too_big;
mod traffic;
mod tunnel;
mod vectors;
