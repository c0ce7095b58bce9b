"""Rounds over all contestants, and the table of what was measured."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

# The lab's modules are found only now.
import picture  # noqa: E402
from contestants import all_contestants  # noqa: E402
from layout import Layout  # noqa: E402
from measure import measure  # noqa: E402
from peers import Unavailable, wireguard_version  # noqa: E402
from table import table  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]


def main():
    arguments = parse()
    Layout.uncut = arguments.uncut
    contestants = {name: made for name, made in all_contestants().items()
                   if not arguments.names or any(part in name for part in arguments.names)}
    if not contestants:
        sys.exit(f"bench: no contestant has one of {arguments.names} in its name")
    samples = {name: [] for name in contestants}
    reasons = {}
    for number in range(arguments.rounds):
        for name, made in contestants.items():
            if name in reasons:
                continue
            print(f"round {number + 1}/{arguments.rounds}: {name}", file=sys.stderr, flush=True)
            try:
                with made() as layout:
                    samples[name].append(measure(layout, arguments.seconds))
            except Unavailable as why:
                reasons[name] = str(why)
            except (RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
                # The others are worth their numbers all the same.
                print(f"  failed: {error}", file=sys.stderr)
                reasons.setdefault(name, f"failed: {error}")
    rows = [row(name, samples[name]) for name in contestants]
    path = Path(arguments.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{key: value for key, value in row.items() if key != "spread"}
                                for row in rows], indent=1) + "\n")
    wire = "a wire that carries 64 KiB at once" if arguments.uncut else "a cable"
    print(f"{len(os.sched_getaffinity(0))} processors of {processor()}, Linux {os.uname().release}, "
          f"{wire}, {arguments.rounds} rounds of {arguments.seconds} s; {wireguard_version()}")
    print(table(rows))
    for name, reason in reasons.items():
        print(f"not measured: {name}: {reason}")
    if arguments.picture:
        Path(arguments.picture).write_text(picture.picture(rows))
    if any(reason.startswith("failed") for reason in reasons.values()):
        sys.exit(1)


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", help="only contestants with one of these in their names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--uncut", action="store_true",
                        help="between the gateways 64 KiB go at once, as between virtual machines, and not as over a cable")
    parser.add_argument("--json", default=REPOSITORY / "target/bench.json")
    parser.add_argument("--picture", help="file to draw the medians into, as SVG")
    return parser.parse_args()


def row(name, samples):
    """The medians of the samples, and how far they are apart, as shares of the median."""
    made = {"name": name, "spread": {}}
    for column in samples[0] if samples else COLUMNS:
        values = [sample[column] for sample in samples if sample[column] is not None]
        made[column] = statistics.median(values) if values else None
        if values and made[column]:
            made["spread"][column] = (max(values) - min(values)) / 2 / made[column]
    return made


COLUMNS = ("tcp1_mbit", "tcp4_mbit", "udp64_pps", "udp512_pps", "rtt_p50_us", "rtt_p99_us", "rtt_p999_us",
           "loaded_rtt_p50_us", "loaded_rtt_p99_us", "loaded_rtt_p999_us", "cpu_s_per_gb", "rss_mb")


def processor():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


if __name__ == "__main__":
    main()
