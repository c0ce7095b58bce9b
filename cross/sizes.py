"""How large packages are, and what of the program makes them so."""

import gzip
import re
from collections import Counter, namedtuple

from elf import NO_BITS, ALLOCATED, Elf

Row = namedtuple("Row", "architecture package program symbols")

# The crate or library that a name belongs to. Rust's names hold their path, libsodium's and libzmq's a prefix; what is left
# of C and C++ is what they are written with.
OURS = "tsg_bridge tsg_control tsg_esp tsg_sodium tsg_zmq tsg_log tsg_bundle tsg"
STANDARD = "std core alloc panic_abort compiler_builtins hashbrown memchr miniz_oxide gimli addr2line rustc_demangle"
PARTS = [
    ("libsodium", re.compile(r"^_?(crypto_|sodium_|_sodium|randombytes|_crypto_|fe25519|ge25519|sc25519|ristretto|argon2|blake2b|chacha20|poly1305|aegis|stream_|aesni|armcrypto)")),
    ("libzmq", re.compile(r"^(_ZT?[VISN]*K?N?K?3zmq|_ZNK?3zmq|zmq_|_Z[A-Z0-9]*.*3zmq)")),
    ("C++ library", re.compile(r"^(_Z(N|NK|TI|TS|TV|T)?.*(St|NSt|__cxxabiv|__gnu_cxx)|__cxa|__gxx|_Unwind|unw_|_Z(nwj|nwm|dlPv|naj|nam|daPv)|.*libunwind)")),
]
RUST = re.compile(r"^(?:_ZN|_R)")
LEGACY_CRATE = re.compile(r"^_ZN(?:\d+_\$LT\$)?(?:.*?\$u20\$as\$u20\$)?(?:\d+)?([a-z_][a-z0-9_]*)")


def table(rows):
    """One line a package, then one for each part of its program."""
    lines = [f"{'architecture':<26} {'.ipk':>9} {'program':>9} {'gzipped':>9}  what the program is made of, in kB"]
    for row in rows:
        program = row.program.read_bytes()
        parts = ", ".join(f"{name} {size // 1000}" for name, size in made_of(row.symbols.read_bytes()))
        packed = len(gzip.compress(program, 9, mtime=0))
        size = row.package.stat().st_size
        lines.append(f"{row.architecture:<26} {size:>9,} {len(program):>9,} {packed:>9,}  {parts}")
    return "\n".join(lines)


def complain(rows, most):
    """Says which packages are larger than `most` bytes; true if there are any."""
    large = [row.package for row in rows if row.package.stat().st_size > most]
    for package in large:
        print(f"TOO LARGE: {package.name} has {package.stat().st_size:,} bytes, {most:,} at most")
    return bool(large)


def made_of(content):
    """The bytes of each part of a program with its names, largest first."""
    elf = Elf(content)
    parts = Counter()
    counted = Counter()
    # Several names of one thing count once.
    for symbol in {(symbol.address, symbol.section): symbol for symbol in elf.symbols()}.values():
        section = next(section for section in elf.sections() if section.name == symbol.section)
        if section.kind != NO_BITS:
            parts[part_of(symbol.name)] += symbol.size
            counted[symbol.section] += symbol.size
    for section in elf.sections():
        if section.flags & ALLOCATED and section.kind != NO_BITS:
            parts[without_name(section.name)] += max(section.size - counted[section.name], 0)
    return [(name, size) for name, size in parts.most_common() if size >= 1_000]


def without_name(section):
    """What the bytes of a section are that belong to no name."""
    if section in (".eh_frame", ".eh_frame_hdr", ".gcc_except_table", ".ARM.exidx", ".ARM.extab"):
        return "unwinding"
    if section in (".rel.dyn", ".rela.dyn", ".relr.dyn", ".got", ".MIPS.xhash", ".dynsym", ".dynstr", ".gnu.hash", ".hash"):
        return "relocation"
    return "constants" if section.startswith(".rodata") or section.startswith(".data") else "other"


def part_of(name):
    for part, pattern in PARTS:
        if pattern.search(name):
            return part
    if RUST.match(name):
        crate = crate_of(name)
        if crate in OURS.split():
            return "TSG"
        return "Rust's std" if crate in STANDARD.split() else "crates"
    return "C library"


def crate_of(name):
    """The crate that a Rust function was written in."""
    if name.startswith("_R"):
        # v0: `C` + disambiguator + length + name.
        found = re.search(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?([a-z_][a-z0-9_]*)", name)
        return found[2][:int(found[1])] if found else ""
    rest = name[3:]
    found = re.match(r"(\d+)", rest)
    if not found:
        return ""
    word = rest[len(found[1]):len(found[1]) + int(found[1])]
    # `<impl Trait for Type>`: the type's crate, else the trait's.
    inner = re.search(r"(?:\$LT\$)*(?:\$RF\$|mut |dyn |\$BP\$)*([a-z_][a-z0-9_]*)(?:\.\.|$|\$)", word.lstrip("_"))
    return inner[1] if inner else word
