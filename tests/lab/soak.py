"""What the daemons hold while a plant works, as the kernel counts it, and whether it becomes more."""

import os
import statistics
import threading
import time
from collections import namedtuple
from itertools import combinations
from pathlib import Path

SECONDS = float(os.environ.get("TSG_LAB_SOAK", "60"))
# Seconds from one sample to the next.
EVERY = min(5.0, SECONDS / 100)
LEAST_SAMPLES = 50
# What may come in the second half: some pages that were never touched before. Within an hour of load, a byte that is
# lost with every fiftieth packet is more than this.
SLACK_KB = 64
# glibc keeps freed blocks for each thread and size, and a pool for each thread that had to wait; these become more for
# hours although nothing more is held. Without them memory shows what is held.
PLAIN_ALLOCATOR = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.arena_max=1"

Held = namedtuple("Held", "at own_kb resident_kb descriptors threads")


def held(process):
    """`own_kb` is what only this process has and no file, be it in RAM or swapped out: the kernel takes pages of
    files from the resident set and gives them back, as the rest of the machine needs them."""
    folder = Path(f"/proc/{process.popen.pid}")
    lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
    kb = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return Held(time.monotonic(), kb["Anonymous"] + kb["Swap"], kb["Rss"],
                *(len(os.listdir(folder / part)) for part in ("fd", "task")))


class Census:
    """Samples of some daemons, by name."""

    def __init__(self, processes):
        self._processes, self.samples = processes, {name: [] for name in processes}

    def take(self):
        for name, process in self._processes.items():
            self.samples[name].append(held(process))

    def assert_no_growth(self):
        """Memory must not rise in the second half. Descriptors and threads must not be more in the last quarter than
        they were in the second, as a rule: what is open, or broken off, for a moment only does not count."""
        more = [complaint for name, samples in self.samples.items() for complaint in _growing(name, samples)]
        assert not more, "; ".join(more)


def _growing(name, samples):
    """What becomes more; all of it is told, as who looks for a leak wants to know."""
    assert len(samples) >= LEAST_SAMPLES, f"only {len(samples)} samples of {name}"
    quarter = len(samples) // 4
    first, last = samples[0], samples[-1]
    rise = growth([(sample.at, sample.own_kb) for sample in samples[2 * quarter:]])
    print(f"{name}, {len(samples)} samples in {last.at - first.at:.0f} s: {first.own_kb} kB of its own at first, "
          f"{last.own_kb} kB at last, {rise:+.1f} kB in the second half; resident {first.resident_kb}, then "
          f"{last.resident_kb} kB; descriptors {first.descriptors}, then {last.descriptors}; threads "
          f"{first.threads}, then {last.threads}")
    if rise > SLACK_KB:
        yield f"{name} grew by {rise:.0f} kB in the second half, more than {SLACK_KB}"
    for what in ("descriptors", "threads"):
        counts = [getattr(sample, what) for sample in samples]
        before = statistics.median_high(counts[quarter:2 * quarter])
        after = statistics.median_low(counts[-quarter:])
        if after > before:
            yield f"{name} has {after} {what}, and had {before}"


def growth(points):
    """By how much the values rise from the first to the last: the median of the slopes between any two (Theil and Sen),
    times the time. What is there for a moment only does not count."""
    slopes = [(after - before) / (then - now) for (now, before), (then, after) in combinations(points, 2)]
    return statistics.median(slopes) * (points[-1][0] - points[0][0])


class Sampling:
    """`with Sampling(census): …` takes samples beside what the test does."""

    def __init__(self, census):
        self._census, self._over = census, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._over.wait(EVERY):
            self._census.take()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
