"""The opener of tests/opener, run as a program of its own on a capture."""

import json
import sys

from netns import command
from plant import REPOSITORY

OPENER = REPOSITORY / "tests" / "opener" / "opener.py"


def open_capture(capture, keys, udp=False, after=None, not_from=()):
    """What the opener reports on a capture with these keys; see its `--help` for the rest."""
    file = capture.path.with_suffix(".keys.json")
    file.touch(mode=0o600)
    file.write_text(json.dumps(keys))
    options = ["--udp-port", "4253"] if udp else []
    if after is not None:
        options += ["--after", f"{after:.6f}"]
    for address in not_from:
        options += ["--not-from", address]
    done = command(sys.executable, OPENER, file, capture.path, *options, check=False, timeout=300)
    if not done.stdout:
        raise RuntimeError(f"the opener failed: {done.stderr}")
    return json.loads(done.stdout)
