//! As much of an eBPF machine (RFC 9669) as a gate needs, and as strict as the kernel's verifier: no jump back, no
//! register and no byte of the stack is read before it was written.

/// What the program may ask of the frame.
pub struct Context<'a> {
    /// The frame, from its Ethernet header on.
    pub frame: &'a [u8],
    /// Its mark.
    pub mark: u32,
    /// The interface that it came in by; 0 for none.
    pub ingress: u32,
}

#[derive(Clone, Copy)]
enum Value {
    Number(u64),
    Frame,
    Stack(i64),
}

struct Machine<'a> {
    registers: [Option<Value>; 11],
    stack: [Option<u8>; 512],
    context: &'a Context<'a>,
}

/// What the program returns.
pub fn run(program: &[[u8; 8]], context: &Context<'_>) -> u64 {
    let mut machine = Machine { registers: [None; 11], stack: [None; 512], context };
    machine.registers[1] = Some(Value::Frame);
    machine.registers[10] = Some(Value::Stack(0));
    let mut at = 0;
    loop {
        let [code, registers, low, high, a, b, c, d] = program[at];
        let (left, right) = (usize::from(registers & 0xf), usize::from(registers >> 4));
        let (offset, value) = (i16::from_ne_bytes([low, high]), i32::from_ne_bytes([a, b, c, d]));
        at += 1;
        if code == 0x95 {
            return machine.number(0);
        }
        if code & 0x07 != 0x05 || code == 0x85 {
            machine.step(code, (left, right), offset, value);
        } else if machine.jumps(code, (left, right), value) {
            assert!(offset >= 0, "a jump back");
            at += usize::from(offset.unsigned_abs());
        }
    }
}

impl Machine<'_> {
    fn get(&self, register: usize) -> Value {
        self.registers[register].unwrap_or_else(|| panic!("R{register} was never written"))
    }

    fn number(&self, register: usize) -> u64 {
        match self.get(register) {
            Value::Number(number) => number,
            Value::Frame | Value::Stack(_) => panic!("R{register} is a pointer"),
        }
    }

    fn set(&mut self, register: usize, number: u64) {
        assert!(register < 10, "R10 cannot be written");
        self.registers[register] = Some(Value::Number(number));
    }

    fn step(&mut self, code: u8, (left, right): (usize, usize), offset: i16, value: i32) {
        let wide = i64::from(value).cast_unsigned();
        match code {
            0xb4 => self.set(left, u64::from(value.cast_unsigned())),
            0xbf => self.registers[left] = Some(self.get(right)),
            0x07 => match self.get(left) {
                Value::Stack(at) => {
                    self.registers[left] = Some(Value::Stack(at + i64::from(value)))
                }
                _ => self.set(left, self.number(left).wrapping_add(wide)),
            },
            0x0f => self.set(left, self.number(left).wrapping_add(self.number(right))),
            0x1f => self.set(left, self.number(left).wrapping_sub(self.number(right))),
            0x54 => self.set(left, u64::from(self.number(left) as u32 & value.cast_unsigned())),
            0x67 => self.set(left, self.number(left) << value),
            0x77 => self.set(left, self.number(left) >> value),
            0xdc if value == 16 => {
                self.set(left, u64::from(u16::from_be(self.number(left) as u16)))
            }
            0x61 | 0x69 | 0x71 | 0x79 => self.load(code, left, right, offset),
            0x7b => self.store(left, offset, self.number(right)),
            0x7a => self.store(left, offset, wide),
            0x85 if value == 26 => self.load_bytes(),
            _ => panic!("no such instruction: {code:#x}"),
        }
    }

    fn jumps(&self, code: u8, (left, right): (usize, usize), value: i32) -> bool {
        if code == 0x05 {
            return true;
        }
        let ours = self.number(left);
        let theirs =
            if code & 0x08 == 0 { i64::from(value).cast_unsigned() } else { self.number(right) };
        match code & 0xf0 {
            0x10 => ours == theirs,
            0x20 => ours > theirs,
            0x30 => ours >= theirs,
            0x50 => ours != theirs,
            0xa0 => ours < theirs,
            0xc0 => ours.cast_signed() < theirs.cast_signed(),
            _ => panic!("no such jump: {code:#x}"),
        }
    }

    fn load(&mut self, code: u8, left: usize, right: usize, offset: i16) {
        let len = match code {
            0x71 => 1,
            0x69 => 2,
            0x61 => 4,
            _ => 8,
        };
        let number = match self.get(right) {
            Value::Stack(base) => {
                let from = self.place(base + i64::from(offset), len);
                assert!(from.is_multiple_of(len), "not aligned");
                let mut bytes = [0; 8];
                for (to, byte) in bytes.iter_mut().zip(&self.stack[from..from + len]) {
                    *to = byte.expect("this byte of the stack was never written");
                }
                const { assert!(cfg!(target_endian = "little")) };
                u64::from_le_bytes(bytes)
            }
            Value::Frame => u64::from(match (offset, len) {
                (0, 4) => u32::try_from(self.context.frame.len()).expect("a frame is short"),
                (8, 4) => self.context.mark,
                (36, 4) => self.context.ingress,
                _ => panic!("no such field of the frame: {offset}"),
            }),
            Value::Number(_) => panic!("R{right} is no pointer"),
        };
        self.set(left, number);
    }

    fn store(&mut self, left: usize, offset: i16, number: u64) {
        let Value::Stack(base) = self.get(left) else { panic!("R{left} is not on the stack") };
        let to = self.place(base + i64::from(offset), 8);
        assert!(to.is_multiple_of(8), "not aligned");
        self.stack[to..to + 8].copy_from_slice(&number.to_ne_bytes().map(Some));
    }

    /// `bpf_skb_load_bytes`.
    fn load_bytes(&mut self) {
        assert!(matches!(self.get(1), Value::Frame));
        let (from, len) = (self.number(2) as u32 as usize, self.number(4) as usize);
        let Value::Stack(to) = self.get(3) else { panic!("R3 is not on the stack") };
        let to = self.place(to, len);
        let found = self.context.frame.get(from..from + len);
        for at in 0..len {
            self.stack[to + at] = Some(found.map_or(0, |bytes| bytes[at]));
        }
        self.registers[1..=5].fill(None);
        self.set(0, if found.is_some() { 0 } else { (-14i64).cast_unsigned() });
    }

    /// Where on the stack `len` bytes below its end begin.
    fn place(&self, at: i64, len: usize) -> usize {
        let from = usize::try_from(512 + at).expect("below the stack");
        assert!(len > 0 && from + len <= 512, "beyond the stack");
        from
    }
}
