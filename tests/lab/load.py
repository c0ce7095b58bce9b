"""Polls that go on through all tests of a file, and what each test may do to them."""

from contextlib import contextmanager

from plant import settle, start_all_ways

RATE = 25
# Longer than a machine stands still: what is lost then was really lost.
TIMEOUT_MS = 4000
# How a poll ends.
ENDS = ("answered", "lost", "wrong")
BAD = ("lost", "wrong", "duplicates", "reconnects")


class Load:
    """Modbus/TCP and UDP polls, both ways, both IP versions."""

    def __init__(self, left, right):
        self.pollers = start_all_ways(left, right, rate=RATE, timeout_ms=TIMEOUT_MS)
        settle(self.pollers)

    @contextmanager
    def undisturbed(self):
        """What happens meanwhile costs no poll."""
        self._decided()
        before = self._bad()
        yield
        self.goes_on()
        self._decided()
        after = self._bad()
        worse = {name: (before[name], bad) for name, bad in after.items() if bad != before[name]}
        assert not worse, f"polls were lost: {worse}"

    def _decided(self):
        """An answer that never comes counts only once its time is over; until then its poll is under
        way. Between two polls of a machine that answers there is none."""
        for poller in self.pollers:
            poller.wait(lambda now: now["sent"] == sum(now[end] for end in ENDS),
                        2 * TIMEOUT_MS / 1000)

    def goes_on(self, seconds=15.0):
        """Everybody gets answers, from now on."""
        settle(self.pollers, seconds=seconds)

    def datagrams(self):
        """The pollers that tell at once how they are: TCP keeps its poller waiting."""
        return [poller for poller in self.pollers if "udp" in poller.name]

    def _bad(self):
        return {poller.name: {kind: poller.now()[kind] for kind in BAD} for poller in self.pollers}
