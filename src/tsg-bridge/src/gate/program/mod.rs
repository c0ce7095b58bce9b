//! The gate as an eBPF program: what must not leave through a port, made from plans.
//!
//! For each plan the same questions in the same order: whose packet is it, what does the frame carry, does it
//! always pass, is it sealed, what does the policy say. With several plans only what all of them stop is stopped.
//! Reading is bounded and without loops; what cannot be read meets the strictest action of the policy.
//!
//! The order of questions is that of the Rust matcher: `reference.rs` is the same in Rust, and a test
//! throws frames at both.

mod headers;

use super::asm::{Assembler, Instruction, Label, Reg, Size, When};
use super::policy;
use crate::attach::{MARK, MARK_MASK};
use crate::rules::{Plan, always};
use Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use anyhow::Result;
use tsg_control::group::{Mode, NonIp};
use tsg_control::policy::{Action, Proto};

/// Which port the program is for, and by which other ones comes what is not looked at. What did not come in by any
/// interface is the box's own, and not looked at either; a number that is not known may be that of a port that was taken
/// away and came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The WAN port; what the daemon sends is looked at, too.
    Wan { apart: Vec<u32> },
    /// A LAN port.
    Lan { apart: Vec<u32> },
}

/// Fields of `struct __sk_buff`.
const SKB_LEN: i16 = 0;
const SKB_MARK: i16 = 8;
const SKB_INGRESS: i16 = 36;

/// `bpf_skb_load_bytes`.
const LOAD_BYTES: i32 = 26;

/// Go on with the next filter.
const TC_UNSPEC: u32 = u32::MAX;
/// Drop.
const TC_SHOT: u32 = 2;

/// The stack. Everything is written before it is read.
pub(super) mod slot {
    /// The IP header, 40 bytes.
    pub(in crate::gate) const HEADER: i16 = -40;
    /// What is read of the upper layer and of extension headers, 8 bytes.
    pub(super) const UPPER: i16 = -48;
    /// 1: the daemon's mark is on it.
    pub(super) const MARKED: i16 = -56;
    /// 1: it is a fragment.
    pub(super) const FRAGMENT: i16 = -64;
    /// Type of an ICMP message; 256 where there is none.
    pub(super) const ICMP_TYPE: i16 = -72;
    /// Both ports, and whether they show: see [`Shown`](crate::gate::policy::Shown).
    pub(in crate::gate) const SRC_PORT: i16 = -80;
    pub(in crate::gate) const DEST_PORT: i16 = -88;
    pub(in crate::gate) const SHOWN: i16 = -96;
    /// Where the packet ends in the frame.
    pub(super) const END: i16 = -104;
    /// 1: a rule has surely matched the packet as it is.
    pub(in crate::gate) const MATCHED: i16 = -112;
}

/// Protocol not known.
pub(super) const NO_PROTO: u32 = 256;

/// IPv6 extension headers that are walked.
const EXTENSIONS: usize = 8;

/// Options of a redirect that are looked at.
const OPTIONS: usize = 4;

/// The program for one port.
pub(super) fn assemble(plans: &[&Plan], exit: &Exit) -> Result<Vec<Instruction>> {
    let mut asm = Assembler::default();
    asm.copy(R6, R1);
    for plan in plans {
        let mut plan = Gatekeeper::new(&mut asm, plan, exit);
        plan.write();
    }
    asm.set(R0, TC_SHOT);
    asm.exit();
    asm.finish()
}

/// Writes the questions for one plan. `R6` is the frame, `R7` where the IP header begins, `R8` where what is
/// read next begins, `R9` the protocol.
struct Gatekeeper<'a> {
    asm: &'a mut Assembler,
    plan: &'a Plan,
    exit: &'a Exit,
    pass: Label,
    refuse: Label,
    worst: Label,
}

impl<'a> Gatekeeper<'a> {
    fn new(asm: &'a mut Assembler, plan: &'a Plan, exit: &'a Exit) -> Self {
        let [pass, refuse, worst] = core::array::from_fn(|_| asm.label());
        Self { asm, plan, exit, pass, refuse, worst }
    }

    fn write(&mut self) {
        let [v4, v6, judge_v4, judge_v6, verdict] = core::array::from_fn(|_| self.asm.label());
        self.whose();
        self.ethernet(v4, v6);
        self.asm.place(v4);
        self.version(true, judge_v4);
        self.asm.place(v6);
        self.version(false, judge_v6);
        let policies = self.plan.effective();
        for (label, v4) in [(judge_v4, true), (judge_v6, false)] {
            self.asm.place(label);
            policy::judge(self.asm, &policies, v4);
            self.asm.jump(verdict);
        }
        self.asm.place(self.worst);
        let worst = policies.iter().map(policy::strictest).max().unwrap_or(Action::Bypass);
        self.asm.set(R8, policy::rank(worst));
        self.asm.place(verdict);
        self.verdict();
        self.asm.place(self.pass);
        self.asm.set(R0, TC_UNSPEC);
        self.asm.exit();
        self.asm.place(self.refuse);
    }

    /// Only what crosses between the sides is looked at, and on the WAN port what the daemon sends.
    fn whose(&mut self) {
        let [marked, look] = core::array::from_fn(|_| self.asm.label());
        self.asm.store_constant(slot::MARKED, 0);
        self.asm.load(Size::Word, R1, R6, SKB_MARK);
        self.asm.and(R1, MARK_MASK);
        self.asm.set(R2, MARK);
        self.asm.jump_if_register(When::Equal, R1, R2, marked);
        self.asm.load(Size::Word, R1, R6, SKB_INGRESS);
        let (Exit::Wan { apart } | Exit::Lan { apart }) = self.exit;
        for ifindex in [0].iter().chain(apart) {
            self.asm.jump_if(When::Equal, R1, *ifindex, self.pass);
        }
        self.asm.jump(look);
        self.asm.place(marked);
        if self.marked_limit().is_none() {
            self.asm.jump(self.pass);
        }
        self.asm.store_constant(slot::MARKED, 1);
        self.asm.place(look);
    }

    /// The mildest action that is stopped without the daemon's mark.
    const fn limit(&self) -> Action {
        if self.plan.holds_closed() { Action::Encrypt } else { Action::Drop }
    }

    /// The mildest action that is stopped although the daemon sent it: the second lock on the
    /// promise that nothing matched leaves in clear.
    fn marked_limit(&self) -> Option<Action> {
        let enforced = self.plan.mode == Mode::Enforce && self.plan.holds_closed();
        (enforced && matches!(self.exit, Exit::Wan { .. })).then_some(Action::Encrypt)
    }

    /// Up to two tags; leaves `R7` at what they announce. A frame that ends before that carries nothing.
    fn ethernet(&mut self, v4: Label, v6: Label) {
        let not_ip = self.asm.label();
        self.asm.set(R7, 14);
        for tags in 0..=2 {
            self.asm.copy(R2, R7);
            self.asm.add(R2, -2);
            self.read(R2, slot::UPPER, 2, self.refuse);
            self.asm.load(Size::Half, R9, R10, slot::UPPER);
            self.asm.network_half(R9);
            self.asm.jump_if(When::Equal, R9, 0x0800, v4);
            self.asm.jump_if(When::Equal, R9, 0x86dd, v6);
            if tags < 2 {
                let tag = self.asm.label();
                self.asm.jump_if(When::Equal, R9, 0x8100, tag);
                self.asm.jump_if(When::NotEqual, R9, 0x88a8, not_ip);
                self.asm.place(tag);
                self.asm.add(R7, 4);
            }
        }
        self.asm.place(not_ip);
        self.not_ip();
    }

    /// `R9` is the EtherType of something that is not IP.
    fn not_ip(&mut self) {
        self.asm.load(Size::Double, R1, R10, slot::MARKED);
        self.asm.jump_if(When::NotEqual, R1, 0, self.pass);
        let types = match &self.plan.non_ip {
            NonIp::Pass => return self.asm.jump(self.pass),
            NonIp::Drop => &[][..],
            NonIp::Only(types) => types.as_slice(),
        };
        for ether_type in always::ETHER_TYPES.iter().chain(types) {
            self.asm.jump_if(When::Equal, R9, u32::from(*ether_type), self.pass);
        }
        // 01:80:c2:00:00:00 to 0f.
        self.asm.set(R2, 0);
        self.read(R2, slot::UPPER, 6, self.refuse);
        for (at, byte) in [0x01, 0x80, 0xc2, 0, 0].into_iter().enumerate() {
            self.asm.load(Size::Byte, R1, R10, slot::UPPER + at as i16);
            self.asm.jump_if(When::NotEqual, R1, byte, self.refuse);
        }
        self.asm.load(Size::Byte, R1, R10, slot::UPPER + 5);
        self.asm.jump_if(When::Less, R1, 0x10, self.pass);
        self.asm.jump(self.refuse);
    }

    /// One IP version: the packet, or the one that it quotes if it is an ICMP error.
    fn version(&mut self, v4: bool, judge: Label) {
        let [upper, quoted, redirect, inner, inner_upper] =
            core::array::from_fn(|_| self.asm.label());
        self.headers(v4, false, upper);
        self.asm.place(upper);
        self.upper(v4);
        self.sealed();
        self.always_passes(v4);
        self.jump_if_error(v4, quoted, redirect);
        self.asm.jump(judge);

        self.asm.place(redirect);
        if !v4 {
            self.redirected(inner, judge);
        }
        self.asm.place(quoted);
        self.asm.copy(R7, R8);
        self.asm.add(R7, 8);
        self.asm.place(inner);
        self.headers(v4, true, inner_upper);
        self.asm.place(inner_upper);
        self.upper(v4);
        self.sealed();
        self.asm.jump(judge);
    }

    /// Sealed packets leave towards the WAN. Towards the LAN they need the daemon's mark like what
    /// is matched, since the daemon alone can tell what is inside.
    fn sealed(&mut self) {
        let [yes, no] = core::array::from_fn(|_| self.asm.label());
        for protocol in self.plan.protocols() {
            self.asm.jump_if(When::Equal, R9, u32::from(protocol), yes);
        }
        self.asm.jump_if(When::NotEqual, R9, u32::from(Proto::UDP.0), no);
        self.asm.load(Size::Double, R1, R10, slot::SHOWN);
        self.asm.jump_if(When::NotEqual, R1, policy::Shown::Yes as u32, no);
        self.asm.load(Size::Double, R3, R10, slot::SRC_PORT);
        self.asm.load(Size::Double, R4, R10, slot::DEST_PORT);
        self.asm.jump_if_register(When::NotEqual, R3, R4, no);
        for port in self.plan.udp_ports() {
            self.asm.jump_if(When::Equal, R4, u32::from(port), yes);
        }
        self.asm.jump(no);
        self.asm.place(yes);
        match (self.exit, self.limit()) {
            (Exit::Lan { .. }, Action::Encrypt | Action::Bypass) => self.asm.jump(self.refuse),
            (Exit::Lan { .. }, Action::Drop) | (Exit::Wan { .. }, _) => self.asm.jump(self.pass),
        }
        self.asm.place(no);
    }

    fn always_passes(&mut self, v4: bool) {
        let [udp, tcp, icmp, no] = core::array::from_fn(|_| self.asm.label());
        self.asm.load(Size::Double, R1, R10, slot::FRAGMENT);
        self.asm.jump_if(When::NotEqual, R1, 0, no);
        if v4 {
            self.asm.jump_if(When::Equal, R9, u32::from(always::IGMP), self.pass);
        } else {
            self.asm.jump_if(When::Equal, R9, u32::from(Proto::ICMPV6.0), icmp);
        }
        self.asm.load(Size::Double, R1, R10, slot::SHOWN);
        self.asm.jump_if(When::NotEqual, R1, policy::Shown::Yes as u32, no);
        self.asm.load(Size::Double, R3, R10, slot::SRC_PORT);
        self.asm.load(Size::Double, R4, R10, slot::DEST_PORT);
        self.asm.jump_if(When::Equal, R9, u32::from(Proto::UDP.0), udp);
        self.asm.jump_if(When::Equal, R9, u32::from(Proto::TCP.0), tcp);
        self.asm.jump(no);

        self.asm.place(udp);
        let [low, high] = if v4 { always::DHCP } else { always::DHCPV6 }.map(u32::from);
        for port in [R3, R4] {
            self.asm.jump_if(When::Less, port, low, no);
            self.asm.jump_if(When::Greater, port, high, no);
        }
        self.asm.jump(self.pass);

        self.asm.place(tcp);
        let (src, dest) = if v4 { (12, 16) } else { (8, 24) };
        for server in self.plan.servers_of(v4) {
            for (address, port) in [(src, R3), (dest, R4)] {
                let other = self.asm.label();
                self.asm.jump_if(When::NotEqual, port, u32::from(server.port()), other);
                let words = policy::words(server.ip());
                policy::compare(self.asm, slot::HEADER + address, &words, None, other);
                self.asm.jump(self.pass);
                self.asm.place(other);
            }
        }
        self.asm.jump(no);

        self.asm.place(icmp);
        if !v4 {
            self.asm.load(Size::Double, R1, R10, slot::ICMP_TYPE);
            for kind in always::MLD {
                self.asm.jump_if(When::Equal, R1, u32::from(kind), self.pass);
            }
            let (first, last) = always::ND;
            self.asm.jump_if(When::Less, R1, u32::from(first), no);
            self.asm.jump_if(When::Less, R1, u32::from(last) + 1, self.pass);
        }
        self.asm.place(no);
    }

    fn jump_if_error(&mut self, v4: bool, error: Label, redirect: Label) {
        let no = self.asm.label();
        self.asm.jump_if(When::NotEqual, R9, u32::from(icmp_of(v4).0), no);
        self.asm.load(Size::Double, R1, R10, slot::ICMP_TYPE);
        if v4 {
            for kind in always::ICMP_ERRORS {
                self.asm.jump_if(When::Equal, R1, u32::from(kind), error);
            }
        } else {
            let first = u32::from(always::ICMPV6_FIRST_INFORMATION);
            self.asm.jump_if(When::Less, R1, first, error);
            self.asm.jump_if(When::Equal, R1, u32::from(always::ICMPV6_REDIRECT), redirect);
        }
        self.asm.place(no);
    }

    /// `R8` holds the rank of the policy's action.
    fn verdict(&mut self) {
        let unmarked = self.asm.label();
        if let Some(limit) = self.marked_limit() {
            self.asm.load(Size::Double, R1, R10, slot::MARKED);
            self.asm.jump_if(When::Equal, R1, 0, unmarked);
            self.asm.jump_if(When::AtLeast, R8, policy::rank(limit), self.refuse);
            self.asm.jump(self.pass);
        }
        self.asm.place(unmarked);
        self.asm.jump_if(When::AtLeast, R8, policy::rank(self.limit()), self.refuse);
    }
}

const fn icmp_of(v4: bool) -> Proto {
    if v4 { Proto::ICMP } else { Proto::ICMPV6 }
}
