//! The attaches on real bridges: two gateways with a trivial handler between two hosts, in network
//! namespaces of their own. What the wire between the gateways carries is read by tcpdump.
//!
//! Needs root, `ip`, `nft`, `iptables`, `tcpdump` and `python3`:
//! `cargo test -p tsg-bridge --test attach -- --include-ignored`.

#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::print_stdout, clippy::wildcard_enum_match_arm)]

mod boot;
mod child;
mod faults;
mod lab;
mod memory;
mod packets;
mod survival;
