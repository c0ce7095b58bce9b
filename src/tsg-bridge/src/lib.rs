//! The gateway: one room per concern. `run` puts them together; docs/ has the picture.
#![cfg_attr(
    not(feature = "tunnel"),
    allow(dead_code, unused_imports, reason = "what the tunnel alone takes of the other rooms")
)]

pub mod arguments;
pub mod attach;
pub mod boottime;
pub mod cli;
pub mod config;
pub mod enrolment;
pub mod folders;
pub mod gate;
mod group_keys;
pub mod identity;
pub mod import;
mod interface;
mod machine;
pub mod netlink;
pub mod offloads;
pub mod pipeline;
mod ports;
pub mod rules;
pub mod run;
pub mod server;
mod setup;
#[cfg(feature = "tunnel")]
pub mod tunnel;
pub mod ubus;
pub mod uci;
