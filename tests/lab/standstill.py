"""Did this machine stand still? A loaded host can stop a virtual machine for seconds; what times out
then says nothing about a gateway. A thread that only waits notices."""

import threading
import time

TICK = 0.02
# A poll is given up after a second. A machine that stood still for half of that is no witness.
STOOD_STILL = 0.5


class Standstill:
    """`with Standstill() as still: …`; afterwards `still.longest` is in seconds."""

    def __enter__(self):
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        last = time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            self.longest = max(self.longest, now - last - TICK)
            last = now
