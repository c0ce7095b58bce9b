"""What a program for each processor has to be: machine, width, byte order, how it passes floating point numbers."""

KINDS = {
    "aarch64": ("aarch64", 64, "little", "hard"),
    "armv7": ("arm", 32, "little", "hard"),
    "mipsel": ("mips", 32, "little", "soft"),
    "mips": ("mips", 32, "big", "soft"),
    "x86_64": ("x86_64", 64, "little", "hard"),
}


def kind(elf):
    return elf.machine, elf.bits, elf.order, elf.float_abi()
