//! The packet layer as its users see it, with ciphers that are not the gateway's.

mod fragments;
mod headers;
mod known;
mod mss;
mod open_order;
mod round_trip;
mod rustcrypto;
mod tamper;
mod too_big;
mod traffic;
mod vectors;
