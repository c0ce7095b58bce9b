"""A plant in which something breaks: what must never be seen meanwhile, and how soon it works again."""

import difflib
import signal
import sys
from contextlib import contextmanager

from capture import Capture
from daemons import unix_time
from forging import MARK, ethernet, ip, udp
from load import Load
from netns import wait_for
from plant import PORTS, REPOSITORY, scale

FOLDER = REPOSITORY / "tests" / "lab"
UDP, DISCARD = 17, 9
# Frames a second.
SHOUTS = 1000
# What a restart may take until the polls go on.
SOON = 2.0
# What was under way may still arrive.
UNDER_WAY = 0.2


class Outage:
    """`plc` behind `gwa` and `hmi` behind `gwb` poll each other; besides, plc sends a thousand frames
    a second that are to be sealed, whatever the state of its port."""

    def __init__(self, plant, load=None):
        self.lab, self.switch, self.server = plant.lab, plant.switch, plant.server
        self.box, self.other = plant.boxes["gwa"], plant.boxes["gwb"]
        self.hosts, self.plc, self.hmi = plant.hosts, plant.hosts["plc"], plant.hosts["hmi"]
        self.load = load or Load(self.plc, self.hmi)
        data = udp(self.plc.ip4, self.hmi.ip4, PORTS["udp"], DISCARD, MARK)
        frame = ethernet(self.hmi.ns.mac("eth0"), 4, ip(self.plc.ip4, self.hmi.ip4, UDP, data),
                         source=self.plc.ns.mac("eth0"))
        self.plc.start(sys.executable, FOLDER / "shout.py", "eth0", frame.hex(), SHOUTS * scale(),
                       log="shout").wait_line(lambda line: "shouting" in line)

    @contextmanager
    def nothing_in_clear(self):
        """Whatever happens meanwhile, the switch sees nothing in clear that a rule wants sealed."""
        capture = Capture(self.switch)
        yield capture
        capture.stop()
        capture.never("in clear")

    def stays_shut(self):
        """For as long as it takes every poller to ask this often, nobody gets an answer."""
        since = unix_time()
        for poller in self.load.datagrams():
            sent = poller.now()["sent"]
            poller.wait(lambda now, until=sent + 20: now["sent"] >= until)
            late = poller.now()["last_answer_ms"] / 1000 - since
            assert late < UNDER_WAY, f"{poller.name}: answered {late:.2f} s after it was shut"

    def comes_back(self, seconds=SOON):
        """Datagrams are answered again so soon, all of them, and then TCP, which waits longer and longer before it
        tries again."""
        pollers = [(poller, poller.has_answers(1)) for poller in self.load.datagrams()]
        wait_for("datagrams are answered again", lambda: all(has(poller.now()) for poller, has in pollers), seconds)
        self.load.goes_on(seconds=30)

    def kill(self):
        self.box.process.stop(signal.SIGKILL)

    def rules(self):
        """What the kernel of gwa has, without what it counts, whatever the order of the chains."""
        shown = self.box.gateway.run("sh", "-c", "nft -s -t list ruleset; iptables-save; ip6tables-save")
        return sorted(line for line in shown.stdout.splitlines() if not line.startswith(("#", ":")))

    def rules_are(self, wanted):
        """Waits until the kernel of gwa has these again."""
        try:
            wait_for("the rules are back", lambda: self.rules() == wanted, 5)
        except TimeoutError as late:
            difference = "\n".join(difflib.unified_diff(wanted, self.rules(), "before", "now", n=1))
            raise AssertionError(f"{late}\n{difference}") from None

    def rekey(self):
        """The key server's link to both gateways works."""
        before = max(epoch["id"] for epoch in self.server.keys()["epochs"])
        self.server.rekey()
        for box in (self.box, self.other):
            box.wait_status("a new epoch", lambda status: (status["epoch"] or 0) > before, 30)
