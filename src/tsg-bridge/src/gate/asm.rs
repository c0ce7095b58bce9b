//! An assembler for as much of eBPF as the gate needs (RFC 9669): forward jumps only, so that any kernel's
//! verifier sees at once that the program ends.

use anyhow::{Context as _, Result, bail};

const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

/// A register. `R10` is the frame pointer, `R1` to `R5` and `R0` do not outlive a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a load or a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte,
    Half,
    Word,
    Double,
}

/// A comparison, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Equal,
    NotEqual,
    Greater,
    AtLeast,
    Less,
    /// Signed.
    Negative,
}

/// A place in the program that is jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// An instruction as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// As it lies in memory.
    #[cfg(fuzzing)]
    pub(super) fn bytes(&self) -> [u8; 8] {
        let [low, high] = self.offset.to_ne_bytes();
        let [a, b, c, d] = self.immediate.to_ne_bytes();
        [self.code, self.registers, low, high, a, b, c, d]
    }
}

/// A program under construction.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label to be [placed](Self::place) later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `to = value`, the upper half zero.
    pub(super) fn set(&mut self, to: Reg, value: u32) {
        self.emit(0xb4, to, Reg::R0, 0, value.cast_signed());
    }

    /// `to = from`.
    pub(super) fn copy(&mut self, to: Reg, from: Reg) {
        self.emit(0xbf, to, from, 0, 0);
    }

    /// `to += value`.
    pub(super) fn add(&mut self, to: Reg, value: i32) {
        self.emit(0x07, to, Reg::R0, 0, value);
    }

    /// `to += from`.
    pub(super) fn add_register(&mut self, to: Reg, from: Reg) {
        self.emit(0x0f, to, from, 0, 0);
    }

    /// `to -= from`.
    pub(super) fn subtract_register(&mut self, to: Reg, from: Reg) {
        self.emit(0x1f, to, from, 0, 0);
    }

    /// `to &= mask`, 32 bits wide.
    pub(super) fn and(&mut self, to: Reg, mask: u32) {
        self.emit(0x54, to, Reg::R0, 0, mask.cast_signed());
    }

    /// `to <<= bits`.
    pub(super) fn shift_left(&mut self, to: Reg, bits: u8) {
        self.emit(0x67, to, Reg::R0, 0, i32::from(bits));
    }

    /// `to >>= bits`.
    pub(super) fn shift_right(&mut self, to: Reg, bits: u8) {
        self.emit(0x77, to, Reg::R0, 0, i32::from(bits));
    }

    /// A 16-bit number in network order becomes a number.
    pub(super) fn network_half(&mut self, to: Reg) {
        self.emit(0xdc, to, Reg::R0, 0, 16);
    }

    /// `to = *(base + offset)`.
    pub(super) fn load(&mut self, size: Size, to: Reg, base: Reg, offset: i16) {
        self.emit(0x61 | width(size), to, base, offset, 0);
    }

    /// `*(R10 + offset) = value`, eight bytes.
    pub(super) fn store(&mut self, offset: i16, value: Reg) {
        self.emit(0x7b, Reg::R10, value, offset, 0);
    }

    /// `*(R10 + offset) = value`, eight bytes.
    pub(super) fn store_constant(&mut self, offset: i16, value: i32) {
        self.emit(0x7a, Reg::R10, Reg::R0, offset, value);
    }

    /// Calls a function of the kernel.
    pub(super) fn call(&mut self, function: i32) {
        self.emit(0x85, Reg::R0, Reg::R0, 0, function);
    }

    /// Returns `R0`.
    pub(super) fn exit(&mut self) {
        self.emit(EXIT, Reg::R0, Reg::R0, 0, 0);
    }

    /// Goes on at `label`.
    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(JUMP, Reg::R0, Reg::R0, 0, 0);
    }

    /// Goes on at `label` if the comparison holds. `value` is at most `i32::MAX`: larger ones need a
    /// register.
    pub(super) fn jump_if(&mut self, when: When, left: Reg, value: u32, label: Label) {
        debug_assert!(value <= i32::MAX.cast_unsigned());
        self.jumps.push((self.code.len(), label));
        self.emit(comparison(when), left, Reg::R0, 0, value.cast_signed());
    }

    /// Goes on at `label` if the comparison of two registers holds.
    pub(super) fn jump_if_register(&mut self, when: When, left: Reg, right: Reg, label: Label) {
        const FROM_REGISTER: u8 = 0x08;
        self.jumps.push((self.code.len(), label));
        self.emit(comparison(when) | FROM_REGISTER, left, right, 0, 0);
    }

    /// The program, with its jumps filled in and without what is never reached: verifiers refuse that.
    ///
    /// # Errors
    /// A jump is longer than eBPF can say: the policy is too large for a gate.
    pub(super) fn finish(self) -> Result<Vec<Instruction>> {
        let targets = self.targets()?;
        let reached = self.reached(&targets);
        let mut place = Vec::with_capacity(reached.len());
        let mut kept = 0usize;
        for reached in &reached {
            place.push(kept);
            kept += usize::from(*reached);
        }
        let mut program = Vec::with_capacity(kept);
        for (at, mut instruction) in self.code.into_iter().enumerate() {
            if let Some(target) = targets[at] {
                let leap = place[target] - place[at] - usize::from(reached[at]);
                instruction.offset = i16::try_from(leap)
                    .ok()
                    .context("the policy has too many rules for the gate")?;
            }
            program.extend(reached[at].then_some(instruction));
        }
        Ok(program)
    }

    /// Where each instruction jumps to, if it does.
    fn targets(&self) -> Result<Vec<Option<usize>>> {
        let mut targets = vec![None; self.code.len()];
        for (at, label) in &self.jumps {
            let target = self.labels[label.0].context("a label of the gate was never placed")?;
            if target <= *at || target >= self.code.len() {
                bail!("the gate would jump out of its program");
            }
            targets[*at] = Some(target);
        }
        Ok(targets)
    }

    fn reached(&self, targets: &[Option<usize>]) -> Vec<bool> {
        let mut reached = vec![false; self.code.len() + 1];
        reached[0] = true;
        for (at, instruction) in self.code.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            reached[at + 1] |= !matches!(instruction.code, JUMP | EXIT);
            if let Some(target) = targets[at] {
                reached[target] = true;
            }
        }
        reached.truncate(self.code.len());
        reached
    }

    fn emit(&mut self, code: u8, dst: Reg, src: Reg, offset: i16, immediate: i32) {
        let (dst, src) = (dst as u8, src as u8);
        let registers = if cfg!(target_endian = "big") { dst << 4 | src } else { src << 4 | dst };
        self.code.push(Instruction { code, registers, offset, immediate });
    }
}

const fn width(size: Size) -> u8 {
    match size {
        Size::Word => 0x00,
        Size::Half => 0x08,
        Size::Byte => 0x10,
        Size::Double => 0x18,
    }
}

const fn comparison(when: When) -> u8 {
    match when {
        When::Equal => 0x15,
        When::Greater => 0x25,
        When::AtLeast => 0x35,
        When::NotEqual => 0x55,
        When::Less => 0xa5,
        When::Negative => 0xc5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_those_of_the_standard() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.set(Reg::R0, 2);
        asm.jump_if(When::Equal, Reg::R7, 5, end);
        asm.load(Size::Half, Reg::R1, Reg::R10, -8);
        asm.place(end);
        asm.exit();
        let code = asm.finish().unwrap();
        assert_eq!(code[0], Instruction { code: 0xb4, registers: 0, offset: 0, immediate: 2 });
        assert_eq!((code[1].code, code[1].offset, code[1].immediate), (0x15, 1, 5));
        assert_eq!((code[2].code, code[2].offset), (0x69, -8));
        let nibbles = [code[2].registers >> 4, code[2].registers & 0xf];
        assert_eq!(nibbles, if cfg!(target_endian = "big") { [1, 10] } else { [10, 1] });
        assert_eq!(code[3].code, 0x95);
    }

    #[test]
    fn what_is_never_reached_is_left_out() {
        let mut asm = Assembler::default();
        let [end, dead] = core::array::from_fn(|_| asm.label());
        asm.jump(end);
        asm.set(Reg::R0, 1);
        asm.jump(dead);
        asm.place(end);
        asm.set(Reg::R0, 2);
        asm.place(dead);
        asm.exit();
        let code = asm.finish().unwrap();
        assert_eq!(
            code.iter().map(|i| (i.code, i.offset)).collect::<Vec<_>>(),
            [(JUMP, 0), (0xb4, 0), (EXIT, 0)]
        );
    }

    #[test]
    fn a_jump_that_is_too_long_is_said() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.jump_if(When::Equal, Reg::R0, 1, end);
        for _ in 0..40_000 {
            asm.set(Reg::R0, 0);
        }
        asm.place(end);
        asm.exit();
        assert!(asm.finish().unwrap_err().to_string().contains("too many rules"));
    }
}
