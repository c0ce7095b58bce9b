//! Doors for the fuzzers (tests/fuzz), and in no other build.

use super::program::{Exit, assemble};
use super::{reference, tc};
use crate::rules::Plan;
use anyhow::Result;

/// The port that a program is for: one of these LAN ports, or the WAN port if there are none.
fn exit(lan: &[u32]) -> Exit {
    match lan {
        [] => Exit::Wan { apart: Vec::new() },
        lan => Exit::Lan { apart: lan.to_vec() },
    }
}

/// The instructions that the kernel is given.
///
/// # Errors
/// The policy is too large for a gate.
pub fn program(plans: &[&Plan], lan: &[u32]) -> Result<Vec<[u8; 8]>> {
    Ok(assemble(plans, &exit(lan))?.iter().map(super::asm::Instruction::bytes).collect())
}

/// What they must do: stop this frame, that has the daemon's mark or not and came in by interface `ingress`?
pub fn stops(plans: &[&Plan], lan: &[u32], frame: &[u8], marked: bool, ingress: u32) -> bool {
    reference::stops(plans, &exit(lan), frame, marked, ingress)
}

/// Reads the kernel's answers about filters and hooks from this body of a message.
pub fn answers(body: &[u8]) -> (Option<u32>, Option<(u32, u32)>) {
    (tc::program_in(body), tc::drops_of(body))
}
