"""Line 8, for long: neither real load nor all that happens in a plant makes the daemons hold more and more.

`TSG_LAB_SOAK` is how many seconds each of the two takes (60); an hour of load is TSG_LAB_SOAK=3600.
"""

import signal
import time
from collections import Counter

import pytest

from ambush import Relay
from daemons import MODBUS_AND_UDP, MODBUS_ONLY
from load import TIMEOUT_MS, Load
from plant import scale, settle, start_all_ways
from sealed import sealed_plant, two_gateways
from soak import PLAIN_ALLOCATOR, SECONDS, Census, Sampling

# What 24 hours of a plant have with the settings that a group begins with.
A_DAY = {"rekeys": 1, "policies": 1, "machines": 1, "connections": 1, "restarts": 1, "reloads": 1}
DAYS = 3


@pytest.fixture(autouse=True)
def plain_allocator(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", PLAIN_ALLOCATOR)


def processes(plant, *names):
    return {"tsg-server": plant.server.process} | {
        f"tsg on {name}": plant.boxes[name].process for name in names}


def test_real_load(attach, cases):
    """100 polls a second of each kind, both ways, and nothing else."""
    with two_gateways(attach) as plant:
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        pollers = start_all_ways(plc, hmi, seconds=SECONDS, timeout_ms=TIMEOUT_MS)
        settle(pollers)
        census = Census(processes(plant, "gwa", "gwb"))
        with Sampling(census):
            reports = {poller: poller.finish(60) for poller in pollers}
        print(f"{sum(report['lost'] for report in reports.values())} polls lost")
        census.assert_no_growth()
        assert_was_real(reports)
        cases(sum(report["sent"] for report in reports.values()))


def assert_was_real(reports):
    """The daemons had to do what the soak is about. That no poll is lost is for test_1_polls: in an hour a busy machine
    stands still now and then."""
    for poller, report in reports.items():
        assert report["answered"] >= 0.9 * SECONDS * 100 * scale(), f"{poller.name}: {report}"
        assert report["wrong"] == 0, f"{poller.name}: {report}"


def test_days_in_minutes(cases):
    """Rekeys, policies, maps, connections, restarts and reloads, one after the other, under load: more of each
    than a day has."""
    layout = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["spare"], "": ["mallory"]}
    with sealed_plant(layout, name="days") as plant:
        days = Days(plant)
        end = time.monotonic() + SECONDS
        with Sampling(days.census):
            while time.monotonic() < end or days.count() < DAYS:
                days.turn()
        days.load.goes_on()
        print(f"{days.count()} days: {dict(days.did)}; in one: {A_DAY}")
        days.census.assert_no_growth()
        cases(days.did.total())


class Days:
    """gwa reaches the key server through a relay that is cut; gwc is killed and comes back."""

    def __init__(self, plant):
        self.plant, self.server, self.did = plant, plant.server, Counter()
        box, mallory = plant.boxes["gwa"], plant.hosts["mallory"]
        self.relay = Relay(mallory, 6001, f"{plant.server.host.ip4}:5555")
        box.config["server"] = f"tcp://{mallory.ip4}:6001"
        box.write_config()
        box.process.stop()
        box.start()
        box.wait_ready()
        self.load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        self.census = Census(processes(plant, "gwa", "gwb"))
        self.turns = (self.rekey, self.policy, self.machines, self.connection, self.rekey, self.policy,
                      self.reload, self.restart)

    def turn(self):
        for what in self.turns:
            what()
            self.load.goes_on()

    def count(self):
        return min(self.did[what] // number for what, number in A_DAY.items())

    def everywhere(self, what, wanted):
        for box in self.plant.boxes.values():
            box.wait_status(what, wanted, 30)

    def seen_by_gwb(self, what):
        """On a busy machine it may answer late."""
        return self.plant.boxes["gwb"].wait_status("it answers", lambda _: True)[what]

    def rekey(self):
        before = max(epoch["id"] for epoch in self.server.keys()["epochs"])
        self.server.rekey()
        self.everywhere("a new epoch", lambda status: (status["epoch"] or 0) > before)
        self.did["rekeys"] += 1

    def policy(self):
        before = self.seen_by_gwb("policy")
        self.did["policies"] += 1
        self.server.policy((MODBUS_AND_UDP, MODBUS_ONLY)[self.did["policies"] % 2])
        self.everywhere("a new policy", lambda status: status["policy"] > before)

    def machines(self):
        """An operator says which machines are behind gwa, and the others are told."""
        others = self.seen_by_gwb("machines_of_others")
        pinned = [f"10.77.1.{number}" for number in range(1, 9)] if self.did["machines"] % 2 == 0 else []
        self.server.ask("gateway", "pin", "gwa", *pinned)
        self.plant.boxes["gwb"].wait_status(
            "another map", lambda status: (status["machines_of_others"] > others) == bool(pinned))
        self.did["machines"] += 1

    def connection(self):
        self.relay.cut()
        self.plant.boxes["gwa"].wait_status("connected", lambda status: status["connected"])
        self.did["connections"] += 1

    def reload(self):
        for name in ("gwa", "gwb"):
            box = self.plant.boxes[name]
            before = box.process.said().count("configuration read again")
            box.process.send(signal.SIGHUP)
            box.wait_status("it has read", lambda _: box.process.said().count(
                "configuration read again") > before)
        self.did["reloads"] += 1

    def restart(self):
        box = self.plant.boxes["gwc"]
        box.process.stop(signal.SIGKILL)
        box.start()
        box.wait_ready()
        self.did["restarts"] += 1
