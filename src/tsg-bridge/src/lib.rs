//! (skeleton)

pub mod cli;
pub mod config;
pub mod enrolment;
pub mod folders;
pub mod identity;
pub mod import;
pub mod logging;
pub mod uci;
