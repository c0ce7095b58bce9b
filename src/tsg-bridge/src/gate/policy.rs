//! The policy in eBPF: the same three-valued walk through the rules as the Rust matcher's, written out.
//!
//! `R0` tells whether the ports show, `R3` and `R4` are the ports, `R9` the protocol, `R8` the rank of the strictest
//! action so far, `R7` becomes 1 when a rule has surely matched, `R5` when one only perhaps matches.

use super::asm::{Assembler, Label, Reg, Size, When};
use super::program::{NO_PROTO, slot};
use Reg::{R0, R1, R2, R3, R4, R5, R7, R8, R9, R10};
use core::net::IpAddr;
use tsg_control::policy::{Action, Block, Policy, Ports, Rule};

/// Do the ports of a packet show?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It may have some.
    No = 0,
    /// They are in their slots.
    Yes = 1,
    /// Its protocol has none.
    HasNone = 2,
}

/// Actions as numbers, the stricter the larger.
pub(super) const fn rank(action: Action) -> u32 {
    match action {
        Action::Bypass => 0,
        Action::Encrypt => 1,
        Action::Drop => 2,
    }
}

/// The strictest that a policy ever says.
pub(super) fn strictest(policy: &Policy) -> Action {
    policy.rules.iter().map(|rule| rule.action).fold(policy.default_action, Action::max)
}

/// Leaves in `R8` what the policies say of the packet in the slots: the strictest, for both orientations.
pub(super) fn judge(asm: &mut Assembler, policies: &[Policy], v4: bool) {
    asm.set(R8, rank(Action::Bypass));
    asm.load(Size::Double, R0, R10, slot::SHOWN);
    asm.load(Size::Double, R3, R10, slot::SRC_PORT);
    asm.load(Size::Double, R4, R10, slot::DEST_PORT);
    for policy in policies {
        one_way(asm, policy, v4, false);
        asm.store(slot::MATCHED, R7);
        one_way(asm, policy, v4, true);
        default(asm, policy.default_action);
    }
}

fn one_way(asm: &mut Assembler, policy: &Policy, v4: bool, swapped: bool) {
    asm.set(R7, 0);
    for one in policy.rules.iter() {
        let next = asm.label();
        rule(asm, one, v4, swapped, next);
        asm.place(next);
    }
}

/// For what no rule has surely matched, either way round.
fn default(asm: &mut Assembler, action: Action) {
    if action != Action::Bypass {
        let next = asm.label();
        asm.jump_if(When::NotEqual, R7, 0, next);
        asm.load(Size::Double, R1, R10, slot::MATCHED);
        asm.jump_if(When::NotEqual, R1, 0, next);
        raise(asm, action);
        asm.place(next);
    }
}

/// At `next` nothing has changed unless the rule matched, perhaps or surely.
fn rule(asm: &mut Assembler, rule: &Rule, v4: bool, swapped: bool, next: Label) {
    let (src, dest) = if v4 { (12, 16) } else { (8, 24) };
    let (first, second, first_port, second_port) =
        if swapped { (dest, src, R4, R3) } else { (src, dest, R3, R4) };
    asm.jump_if(When::NotEqual, R7, 0, next);
    asm.set(R5, 0);
    blocks(asm, &rule.src_ip, slot::HEADER + first, v4, next);
    blocks(asm, &rule.dest_ip, slot::HEADER + second, v4, next);
    if !rule.proto.is_empty() {
        let [known, holds] = core::array::from_fn(|_| asm.label());
        asm.jump_if(When::NotEqual, R9, NO_PROTO, known);
        asm.set(R5, 1);
        asm.jump(holds);
        asm.place(known);
        for proto in &rule.proto {
            asm.jump_if(When::Equal, R9, u32::from(proto.0), holds);
        }
        asm.jump(next);
        asm.place(holds);
    }
    ports(asm, &rule.src_port, first_port, next);
    ports(asm, &rule.dest_port, second_port, next);
    raise(asm, rule.action);
    asm.jump_if(When::NotEqual, R5, 0, next);
    asm.set(R7, 1);
}

fn raise(asm: &mut Assembler, action: Action) {
    let enough = asm.label();
    asm.jump_if(When::AtLeast, R8, rank(action), enough);
    asm.set(R8, rank(action));
    asm.place(enough);
}

/// Falls through if the address at `at` on the stack is in one of the blocks, or there are none.
fn blocks(asm: &mut Assembler, blocks: &[Block], at: i16, v4: bool, no: Label) {
    if blocks.is_empty() {
        return;
    }
    let holds = asm.label();
    for block in blocks.iter().filter(|block| block.address.is_ipv4() == v4) {
        let other = asm.label();
        compare(asm, at, &words(block.address), Some(block.prefix), other);
        asm.jump(holds);
        asm.place(other);
    }
    asm.jump(no);
    asm.place(holds);
}

/// Falls through if the first `prefix` bits of the address at `at` on the stack, or all, are those of `words`.
pub(super) fn compare(asm: &mut Assembler, at: i16, words: &[u32], prefix: Option<u8>, no: Label) {
    let bits = prefix.map_or(words.len() * 32, usize::from);
    for (number, word) in words.iter().enumerate() {
        let counted = bits.saturating_sub(number * 32).min(32);
        if counted == 0 {
            break;
        }
        asm.load(Size::Word, R1, R10, at + 4 * number as i16);
        if counted < 32 {
            let mask = u32::MAX << (32 - counted);
            asm.and(R1, u32::from_ne_bytes(mask.to_be_bytes()));
        }
        asm.set(R2, *word);
        asm.jump_if_register(When::NotEqual, R1, R2, no);
    }
}

/// The address as the words that the stack holds of it, in the machine's order.
pub(super) fn words(address: IpAddr) -> Vec<u32> {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    octets.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect()
}

/// Falls through if the port is in one of the ranges, there are none, or it does not show.
fn ports(asm: &mut Assembler, ranges: &[Ports], port: Reg, no: Label) {
    if ranges.is_empty() {
        return;
    }
    let [shown, holds] = core::array::from_fn(|_| asm.label());
    asm.jump_if(When::Equal, R0, Shown::HasNone as u32, no);
    asm.jump_if(When::Equal, R0, Shown::Yes as u32, shown);
    asm.set(R5, 1);
    asm.jump(holds);
    asm.place(shown);
    for range in ranges {
        let other = asm.label();
        asm.jump_if(When::Less, port, u32::from(range.first), other);
        asm.jump_if(When::Greater, port, u32::from(range.last), other);
        asm.jump(holds);
        asm.place(other);
    }
    asm.jump(no);
    asm.place(holds);
}
