//! Reading headers in eBPF: what [`tsg_esp::ip::Outline`] does in Rust, bounded and without loops.

use super::{EXTENSIONS, Gatekeeper, LOAD_BYTES, NO_PROTO, OPTIONS, SKB_LEN, icmp_of, slot};
use crate::gate::asm::{Label, Reg, Size, When};
use crate::gate::policy;
use Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use tsg_control::policy::Proto;

impl Gatekeeper<'_> {
    /// Reads the headers; goes on at `upper` with `R8` and `R9` set.
    pub(super) fn headers(&mut self, v4: bool, quoted: bool, upper: Label) {
        self.asm.store_constant(slot::FRAGMENT, 0);
        self.asm.store_constant(slot::SHOWN, policy::Shown::No as i32);
        self.asm.store_constant(slot::ICMP_TYPE, 256);
        self.asm.store_constant(slot::SRC_PORT, 0);
        self.asm.store_constant(slot::DEST_PORT, 0);
        let len = if v4 { 20 } else { 40 };
        self.asm.copy(R8, R7);
        if quoted {
            self.jump_if_beyond(len, self.worst);
        }
        self.asm.copy(R2, R7);
        self.read(R2, slot::HEADER, len.cast_unsigned(), self.worst);
        self.asm.load(Size::Byte, R1, R10, slot::HEADER);
        self.asm.shift_right(R1, 4);
        self.asm.jump_if(When::NotEqual, R1, if v4 { 4 } else { 6 }, self.worst);
        self.end(v4, quoted);
        if v4 { self.v4_header(quoted) } else { self.v6_headers(quoted, upper) }
    }

    /// Notes where the packet ends by its own word. The frame must hold all of it; a quote may be cut off by the end
    /// of the packet that it is in.
    fn end(&mut self, v4: bool, quoted: bool) {
        let known = self.asm.label();
        let (field, extra) = if v4 { (2, 0) } else { (4, 40) };
        self.asm.load(Size::Half, R1, R10, slot::HEADER + field);
        self.asm.network_half(R1);
        self.asm.add(R1, extra);
        self.asm.add_register(R1, R7);
        if quoted {
            self.asm.load(Size::Double, R2, R10, slot::END);
            self.asm.jump_if_register(When::Greater, R1, R2, known);
        } else {
            self.asm.load(Size::Word, R2, R6, SKB_LEN);
            self.asm.jump_if_register(When::Greater, R1, R2, self.worst);
        }
        self.asm.store(slot::END, R1);
        self.asm.place(known);
    }

    /// Goes to `label` if `len` bytes at `R8` would reach beyond the packet's end.
    fn jump_if_beyond(&mut self, len: i32, label: Label) {
        self.asm.copy(R3, R8);
        self.asm.add(R3, len);
        self.asm.load(Size::Double, R1, R10, slot::END);
        self.asm.jump_if_register(When::Greater, R3, R1, label);
    }

    fn v4_header(&mut self, quoted: bool) {
        let whole = self.asm.label();
        self.asm.load(Size::Byte, R1, R10, slot::HEADER);
        self.asm.and(R1, 0x0f);
        self.asm.jump_if(When::Less, R1, 5, self.worst);
        self.asm.shift_left(R1, 2);
        self.asm.add_register(R8, R1);
        self.jump_if_beyond(0, self.worst);
        self.asm.load(Size::Byte, R9, R10, slot::HEADER + 9);
        self.asm.load(Size::Half, R1, R10, slot::HEADER + 6);
        self.asm.network_half(R1);
        self.asm.and(R1, 0x3fff);
        self.asm.jump_if(When::Equal, R1, 0, whole);
        self.check_fragment(quoted, 0x2000, 0x1fff, 3);
        self.fragment(R1, 0x1fff);
        self.asm.place(whole);
    }

    /// No host accepts a fragment beyond 65,535 bytes, nor one that others follow without it being a multiple of 8 bytes,
    /// of which a quote shows only the beginning. `R1` is the field of which these bits say where the fragment belongs and
    /// that more follow, `R8` where its data begins.
    fn check_fragment(&mut self, quoted: bool, more: u32, offset: u32, shift: u8) {
        let last = self.asm.label();
        self.asm.load(Size::Double, R2, R10, slot::END);
        self.asm.subtract_register(R2, R8);
        self.asm.copy(R3, R1);
        self.asm.and(R3, offset);
        self.asm.shift_left(R3, shift);
        self.asm.add_register(R3, R2);
        self.asm.jump_if(When::Greater, R3, 0xffff, self.worst);
        if !quoted {
            self.asm.copy(R3, R1);
            self.asm.and(R3, more);
            self.asm.jump_if(When::Equal, R3, 0, last);
            self.asm.jump_if(When::Equal, R2, 0, self.worst);
            self.asm.and(R2, 7);
            self.asm.jump_if(When::NotEqual, R2, 0, self.worst);
        }
        self.asm.place(last);
    }

    /// Notes that this is a fragment, and whether it is one without the upper layer's header.
    fn fragment(&mut self, field: Reg, offset_mask: u32) {
        const LATER: i32 = 2;
        let first = self.asm.label();
        self.asm.store_constant(slot::FRAGMENT, 1);
        self.asm.and(field, offset_mask);
        self.asm.jump_if(When::Equal, field, 0, first);
        self.asm.store_constant(slot::FRAGMENT, LATER);
        self.asm.place(first);
    }

    /// RFC 8200 section 4: hop-by-hop options first, then the others in any order.
    fn v6_headers(&mut self, quoted: bool, upper: Label) {
        let [walk, unknown] = core::array::from_fn(|_| self.asm.label());
        self.asm.add(R8, 40);
        self.asm.load(Size::Byte, R9, R10, slot::HEADER + 6);
        self.asm.jump_if(When::NotEqual, R9, 0, walk);
        self.extension(self.worst);
        self.asm.place(walk);
        for _ in 0..EXTENSIONS {
            let [options, fragment, next] = core::array::from_fn(|_| self.asm.label());
            self.asm.jump_if(When::Equal, R9, 43, options);
            self.asm.jump_if(When::Equal, R9, 60, options);
            self.asm.jump_if(When::Equal, R9, 44, fragment);
            self.asm.jump_if(When::Equal, R9, 0, unknown);
            self.asm.jump(upper);
            self.asm.place(options);
            self.extension(unknown);
            self.asm.jump(next);
            self.asm.place(fragment);
            self.fragment_header(quoted, upper, unknown);
            self.asm.place(next);
        }
        self.asm.place(unknown);
        self.asm.set(R9, NO_PROTO);
    }

    /// Steps over the extension header at `R8`.
    fn extension(&mut self, missing: Label) {
        self.jump_if_beyond(2, missing);
        self.asm.copy(R2, R8);
        self.read(R2, slot::UPPER, 2, missing);
        self.asm.load(Size::Byte, R9, R10, slot::UPPER);
        self.asm.load(Size::Byte, R1, R10, slot::UPPER + 1);
        self.asm.add(R1, 1);
        self.asm.shift_left(R1, 3);
        self.asm.add_register(R8, R1);
        self.jump_if_beyond(0, missing);
    }

    /// One fragment header is walked, a second one not.
    fn fragment_header(&mut self, quoted: bool, upper: Label, unknown: Label) {
        let first = self.asm.label();
        self.asm.load(Size::Double, R1, R10, slot::FRAGMENT);
        self.asm.jump_if(When::NotEqual, R1, 0, unknown);
        self.jump_if_beyond(8, unknown);
        self.asm.copy(R2, R8);
        self.read(R2, slot::UPPER, 8, unknown);
        self.asm.load(Size::Byte, R9, R10, slot::UPPER);
        self.asm.load(Size::Half, R1, R10, slot::UPPER + 2);
        self.asm.network_half(R1);
        self.asm.add(R8, 8);
        self.check_fragment(quoted, 1, 0xfff8, 0);
        self.fragment(R1, 0xfff8);
        self.asm.load(Size::Double, R1, R10, slot::FRAGMENT);
        self.asm.jump_if(When::Equal, R1, 1, first);
        for extension in [0, 43, 44, 60] {
            self.asm.jump_if(When::Equal, R9, extension, unknown);
        }
        self.asm.jump(upper);
        self.asm.place(first);
    }

    /// Goes on at `quoted`, with `R7` where the packet begins that the redirect at `R8` quotes, or at `none`. One that
    /// is a fragment may have it elsewhere (RFC 4861 sections 4.5 and 4.6.3).
    pub(super) fn redirected(&mut self, quoted: Label, none: Label) {
        let found = self.asm.label();
        self.asm.load(Size::Double, R1, R10, slot::FRAGMENT);
        self.asm.jump_if(When::NotEqual, R1, 0, self.worst);
        self.asm.add(R8, 40);
        self.jump_if_beyond(0, self.worst);
        for _ in 0..OPTIONS {
            self.asm.load(Size::Double, R1, R10, slot::END);
            self.asm.jump_if_register(When::Equal, R8, R1, none);
            self.jump_if_beyond(2, self.worst);
            self.asm.copy(R2, R8);
            self.read(R2, slot::UPPER, 2, self.worst);
            self.asm.copy(R7, R8);
            self.asm.load(Size::Byte, R1, R10, slot::UPPER + 1);
            self.asm.jump_if(When::Equal, R1, 0, self.worst);
            self.asm.shift_left(R1, 3);
            self.asm.add_register(R8, R1);
            self.jump_if_beyond(0, self.worst);
            self.asm.load(Size::Byte, R1, R10, slot::UPPER);
            self.asm.jump_if(When::Equal, R1, 4, found);
        }
        self.asm.load(Size::Double, R1, R10, slot::END);
        self.asm.jump_if_register(When::Equal, R8, R1, none);
        self.asm.jump(self.worst);
        self.asm.place(found);
        self.asm.store(slot::END, R8);
        self.asm.add(R7, 8);
        self.asm.jump(quoted);
    }

    /// Ports and ICMP type, as far as they show.
    pub(super) fn upper(&mut self, v4: bool) {
        let [ports, icmp, none, done] = core::array::from_fn(|_| self.asm.label());
        for proto in [Proto::TCP, Proto::UDP, Proto::SCTP] {
            self.asm.jump_if(When::Equal, R9, u32::from(proto.0), ports);
        }
        self.asm.jump_if(When::Equal, R9, u32::from(icmp_of(v4).0), icmp);
        self.asm.place(none);
        self.asm.jump_if(When::Equal, R9, NO_PROTO, done);
        self.asm.store_constant(slot::SHOWN, policy::Shown::HasNone as i32);
        self.asm.jump(done);

        self.asm.place(ports);
        self.upper_bytes(4, done);
        for (from, to) in [(0, slot::SRC_PORT), (2, slot::DEST_PORT)] {
            self.asm.load(Size::Half, R1, R10, slot::UPPER + from);
            self.asm.network_half(R1);
            self.asm.store(to, R1);
        }
        self.asm.store_constant(slot::SHOWN, policy::Shown::Yes as i32);
        self.asm.jump(done);

        self.asm.place(icmp);
        self.asm.store_constant(slot::SHOWN, policy::Shown::HasNone as i32);
        self.upper_bytes(1, done);
        self.asm.load(Size::Byte, R1, R10, slot::UPPER);
        self.asm.store(slot::ICMP_TYPE, R1);
        self.asm.place(done);
    }

    /// Reads `len` bytes at `R8`, or goes to `missing`: in a later fragment, and beyond the packet's end,
    /// where there is only Ethernet padding.
    fn upper_bytes(&mut self, len: u32, missing: Label) {
        self.asm.load(Size::Double, R1, R10, slot::FRAGMENT);
        self.asm.jump_if(When::Greater, R1, 1, missing);
        self.jump_if_beyond(len.cast_signed(), missing);
        self.asm.copy(R2, R8);
        self.read(R2, slot::UPPER, len, missing);
    }

    /// Reads `len` bytes of the frame at `R2` into the stack, or goes to `missing`.
    pub(super) fn read(&mut self, at: Reg, to: i16, len: u32, missing: Label) {
        debug_assert!(at == R2);
        self.asm.copy(R1, R6);
        self.asm.copy(R3, R10);
        self.asm.add(R3, i32::from(to));
        self.asm.set(R4, len);
        self.asm.call(LOAD_BYTES);
        self.asm.jump_if(When::Negative, R0, 0, missing);
    }
}
