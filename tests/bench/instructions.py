"""What each step of the packet path executes, beside what it did when instructions.txt was written."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from plant import binary  # noqa: E402

KEPT = Path(__file__).with_name("instructions.txt")
# Two runs that differ by so many repetitions: what comes before them drops out.
FEW, MANY = 100, 1100
TOLERANCE = 0.05


def count(step, times):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", binary("packets"), step, str(times)],
            capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def machine():
    """What the numbers depend on beside our code."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="ascii"), re.M)[1].split())
    return f"{compiler}, {' '.join(sorted(flags & {'aes', 'avx2', 'pclmulqdq', 'avx512f'}))}"


def main():
    steps = subprocess.run([binary("packets")], capture_output=True, text=True, check=True).stdout.splitlines()
    counts = {step: (count(step, MANY) - count(step, FEW)) / (MANY - FEW) for step in steps}
    if sys.argv[1:] == ["--keep"]:
        KEPT.write_text("".join([f"# {machine()}\n", *(f"{number:9.0f}  {step}\n" for step, number in counts.items())]))
        return
    first, *lines = KEPT.read_text().splitlines()
    kept = {step: float(number) for number, step in (line.split(maxsplit=1) for line in lines)}
    worse = []
    for step, number in counts.items():
        change = number / kept[step] - 1 if step in kept else None
        print(f"{number:9.0f}  {step}", "new" if change is None else f"{change:+.1%}")
        if change is None or abs(change) > TOLERANCE:
            worse.append(step)
    worse += [step for step in kept if step not in counts]
    if first != f"# {machine()}":
        print(f"not compared: counted on {first[2:]}; this is {machine()}")
    elif worse:
        sys.exit(f"tests/bench/instructions: more than {TOLERANCE:.0%} away from {KEPT.name}: {', '.join(worse)}. "
                 "If that is meant, run it with --keep")


if __name__ == "__main__":
    main()
