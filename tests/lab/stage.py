"""What the demonstrations have in common: they tell what happens, end with a table, and may be looked around in."""

import os
import signal
import sys


def tell(line):
    print(line, flush=True)


def show(table):
    """Prints the table and says whether every line is as promised."""
    tell("")
    for line, value, kept in table:
        tell(f"  {line:<62} {value!s:>14}  {'as promised' if kept else 'NOT AS PROMISED'}")
    tell("")
    return all(kept for _, _, kept in table)


def stay(look_around):
    """With STAY=1 leaves it running until Ctrl-C; `look_around` says how that is done."""
    if not os.environ.get("STAY"):
        return
    look_around()
    try:
        signal.pause()
    except KeyboardInterrupt:
        tell("")


def perform(main):
    """Runs a demonstration, which gives the exit status."""
    os.environ.setdefault("TSG_LAB_PREFIX", "tsg")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        tell("Stopped; everything has been taken away.")
        sys.exit(130)
    except (RuntimeError, TimeoutError, FileNotFoundError) as error:
        sys.exit(f"demo: {error}")
