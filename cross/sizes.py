"""How large packages are, and what of the program makes them so."""

import gzip
import re
from collections import Counter, namedtuple

from elf import NO_BITS, ALLOCATED, Elf

Row = namedtuple("Row", "name architecture package program symbols")

# Routers with little flash have room for so many bytes of each package.
MOST = {"tsg-bridge": 850_000, "tsg-proto": 600_000}

# Whose function a name is. Rust's end with a hash or begin with `_R`, and hold the path; C++'s hold it, too; in C it is a prefix.
RUST = re.compile(r"^_R|17h[0-9a-f]{16}E(\.|$)")
OURS = "tsg tsg_bridge tsg_bundle tsg_control tsg_esp tsg_log tsg_sodium tsg_zmtp".split()
STANDARD = "std core alloc compiler_builtins hashbrown panic_abort".split()
SODIUM = re.compile(r"^_?_?(crypto_|sodium_|randombytes|fe25519|ge25519|sc25519|ristretto|argon2|blake2b|chacha|salsa|poly1305"
                    r"|aegis|stream_|aes|gcm|softaes|keccak|sha(256|512)_|SHA(256|512))")


def table(rows):
    """One line a package, then one for each part of its program."""
    lines = [f"{'package':<10} {'architecture':<26} {'.ipk':>9} {'program':>9} {'gzipped':>9}  what the program is made of, in kB"]
    for row in rows:
        program = row.program.read_bytes()
        parts = ", ".join(f"{name} {size // 1000}" for name, size in made_of(row.symbols.read_bytes()))
        packed = len(gzip.compress(program, 9, mtime=0))
        size = row.package.stat().st_size
        lines.append(f"{row.name:<10} {row.architecture:<26} {size:>9,} {len(program):>9,} {packed:>9,}  {parts}")
    return "\n".join(lines)


def complain(rows, most=MOST):
    """Says which packages are larger than they may be; true if there are any."""
    large = [row for row in rows if row.package.stat().st_size > most[row.name]]
    for row in large:
        print(f"TOO LARGE: {row.package.name} has {row.package.stat().st_size:,} bytes, {most[row.name]:,} at most")
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
    if RUST.search(name):
        crate = crate_of(name)
        return "TSG" if crate in OURS else "Rust's std" if crate in STANDARD else "crates"
    if SODIUM.search(name):
        return "libsodium"
    return "C++ library" if name.startswith(("_Z", "__cxa", "__gxx", "_Unwind", "unw_")) else "C library"


def crate_of(name):
    """The crate that a Rust function was written in."""
    if name.startswith("_R"):
        # The first crate in it: `C`, a disambiguator, a length and the name.
        found = re.search(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?([a-z_][a-z0-9_]*)", name)
        return found[2][:int(found[1])] if found else ""
    length = re.match(r"_ZN(\d+)", name)
    if not length:
        return ""
    word = name[length.end():length.end() + int(length[1])]
    # `<impl Trait for Type>` has paths in it; the first one counts.
    inner = re.search(r"([a-z_][a-z0-9_]*)\.\.", word)
    return inner[1] if inner else "core" if "$" in word else word
