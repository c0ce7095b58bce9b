"""What the build for routers and its tests want to know of an ELF file, of either byte order and width."""

import struct
from collections import namedtuple

MACHINES = {8: "mips", 40: "arm", 62: "x86_64", 183: "aarch64"}
LOAD, DYNAMIC, INTERPRETER, MIPS_ABI_FLAGS = 1, 2, 3, 0x70000003
SYMBOLS, NO_BITS, ALLOCATED, NEEDED = 2, 8, 2, 1

Segment = namedtuple("Segment", "kind offset address size memory")
Section = namedtuple("Section", "name kind flags address offset size link")
Symbol = namedtuple("Symbol", "name address size section")


class Elf:
    """A program file."""

    def __init__(self, data):
        if data[:4] != b"\x7fELF":
            raise ValueError("not an ELF file")
        self.data = data
        self.bits = {1: 32, 2: 64}[data[4]]
        self.order = {1: "little", 2: "big"}[data[5]]
        self._mark = {"little": "<", "big": ">"}[self.order]
        self._word = {32: "I", 64: "Q"}[self.bits]
        (self.type, machine, _, _, self._segments, self._sections, self.flags, _, self._segment_size,
         self._segment_count, self._section_size, self._section_count, self._names) = self._unpack("HHIWWWIHHHHHH", 16)
        self.machine = MACHINES.get(machine, str(machine))

    def _unpack(self, form, at):
        """`W` is a word of the file's width."""
        return struct.unpack_from(self._mark + form.replace("W", self._word), self.data, at)

    def segments(self):
        for at in range(self._segments, self._segments + self._segment_count * self._segment_size, self._segment_size):
            if self.bits == 32:
                kind, offset, address, _, size, memory = self._unpack("IIIIII", at)
            else:
                kind, _, offset, address, _, size, memory = self._unpack("IIQQQQQ", at)
            yield Segment(kind, offset, address, size, memory)

    def sections(self):
        """None in a stripped file."""
        if not self._section_count:
            return []
        found = []
        for at in range(self._sections, self._sections + self._section_count * self._section_size, self._section_size):
            found.append(self._unpack("IIWWWWI", at))
        names = found[self._names][4] if found else 0
        return [Section(self._text(names + name), *rest) for name, *rest in found]

    def symbols(self):
        """Functions and data with a size."""
        sections = self.sections()
        for table in (section for section in sections if section.kind == SYMBOLS):
            step = 16 if self.bits == 32 else 24
            for at in range(table.offset, table.offset + table.size, step):
                if self.bits == 32:
                    name, address, size, kind, _, section = self._unpack("IIIBBH", at)
                else:
                    name, kind, _, section, address, size = self._unpack("IBBHQQ", at)
                if kind & 15 in (1, 2) and size and 0 < section < len(sections):
                    yield Symbol(self._text(sections[table.link].offset + name), address, size, sections[section].name)

    def needed(self):
        """Shared libraries without which it does not start."""
        entries = list(self._dynamic())
        # Their names lie at an address, of which the segment that is loaded there knows the place in the file.
        strings = next((value for tag, value in entries if tag == 5), 0)
        return [self._text(self._place(strings) + value) for tag, value in entries if tag == NEEDED]

    def interpreter(self):
        """The dynamic linker that it asks for."""
        found = [segment for segment in self.segments() if segment.kind == INTERPRETER]
        return self._text(found[0].offset) if found else None

    def float_abi(self):
        """`soft` or `hard`, for the processors that have both."""
        if self.machine == "arm":
            return {0x400: "hard", 0x200: "soft"}.get(self.flags & 0x600, "unknown")
        if self.machine == "mips":
            kinds = [self.data[segment.offset + 7] for segment in self.segments() if segment.kind == MIPS_ABI_FLAGS]
            return {1: "hard", 3: "soft"}.get(kinds[0], "unknown") if kinds else "unknown"
        return "hard"

    def stripped(self):
        """The file without all that is not loaded: names of functions, notes of the compiler, the list of sections."""
        end = max(segment.offset + segment.size for segment in self.segments())
        data = bytearray(self.data[:end])
        # The header's words about sections: their place, and with 32 or 64 bits at other places their size and number.
        at = {32: (32, 46), 64: (40, 58)}[self.bits]
        struct.pack_into(self._mark + self._word, data, at[0], 0)
        struct.pack_into(self._mark + "HHH", data, at[1], 0, 0, 0)
        return bytes(data)

    def _dynamic(self):
        for segment in self.segments():
            if segment.kind == DYNAMIC:
                step = self.bits // 4
                for at in range(segment.offset, segment.offset + segment.size, step):
                    yield self._unpack("WW", at)

    def _place(self, address):
        for segment in self.segments():
            if segment.kind == LOAD and segment.address <= address < segment.address + segment.size:
                return segment.offset + address - segment.address
        raise ValueError(f"nothing is loaded at {address:#x}")

    def _text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()
