"""What an operator at a gateway may do about sealing: `tsg bypass`, and `tsg flows` before a group leaves `migrate`."""

import json
import signal
import time

import pytest

from load import Load
from netns import wait_for
from outage import Outage
from plant import Poller, serve, settle
from sealed import sealed_plant, two_gateways

STANDALONE = True
ALARM = "timed bypass"


def test_bypass(attach, cases):
    """Both ends let everything pass in clear, nothing is lost for it on the way back, and the group can forbid it."""
    with two_gateways(attach) as plant:
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        boxes = plant.boxes.values()
        assert [box.ask("bypass") for box in boxes] == ["off", "off"]
        bypass(boxes, "10m")
        load.goes_on(30)
        capture = plant.capture("bypassed")
        load.goes_on()
        capture.stop()
        modbus, udp, sealed = capture.count("modbus", "udp", "sealed")
        assert (modbus > 0, udp > 0, sealed) == (True, True, 0)
        wait_for("the key server tells of it", lambda: json.dumps(plant.server.ask("status")).count(ALARM) == 2, 20)

        # The time is over.
        bypass(boxes, "2s")
        ended(boxes)
        load.goes_on(30)
        sealed_again(plant, load)

        # The group forbids it, in the middle and from the beginning.
        bypass(boxes, "10m")
        plant.server.set(timed_bypass="no")
        ended(boxes)
        refused = [box.gateway.run(*box.argv("bypass", "1m"), check=False) for box in boxes]
        assert all(done.returncode == 1 and "plant forbids it" in done.stderr for done in refused), refused
        load.goes_on(30)
        sealed_again(plant, load)
        cases(4)


def bypass(boxes, time):
    for box in boxes:
        assert box.ask("bypass", time).startswith("on: "), time
        box.wait_status("says so", lambda status: ALARM in str(status["alarms"]) and status["bypass"], 5)


def ended(boxes):
    for box in boxes:
        box.wait_status("is over", lambda status: status["bypass"] is None, 10)


def sealed_again(plant, load):
    capture = plant.capture("sealed-again")
    load.goes_on()
    load.goes_on()
    capture.stop()
    capture.never("in clear")
    assert capture.count("sealed")[0] > 100


@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_bypass_ends_with_the_daemon(attach, how, cases):
    """What `fail closed` says holds for a daemon that ends in the middle of it."""
    with two_gateways(attach) as whole:
        plant = Outage(whole)
        bypass([plant.box], "10m")
        shouting = whole.capture("shouting")
        wait_for("it goes in clear", lambda: shouting.mark() or shouting.count("udp")[0] > 100, 15)
        shouting.stop()
        plant.box.process.stop(how)
        with plant.nothing_in_clear():
            plant.stays_shut()
            plant.box.start()
            plant.box.wait_ready()
            plant.comes_back()
        assert plant.box.status()["bypass"] is None
        cases(1)


@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_a_restart_in_migrate(attach, how, cases):
    """Machines are behind the gateway that starts anew before it has heard them again."""
    with two_gateways(attach, mode="migrate") as whole:
        plant = Outage(whole)
        for box in (plant.box, plant.other):
            box.wait_status("has the map, and goes by it", lambda status: status["machines_of_others"] > 0)
        with plant.nothing_in_clear():
            plant.box.process.stop(how)
            plant.stays_shut()
            plant.box.start()
            plant.box.wait_ready()
            plant.comes_back()
        assert "restart" in plant.box.process.said()
        cases(1)


def test_flows_before_enforce(attach, cases):
    """Who would be cut off is told before it is, and nobody else."""
    layout = {"gwa": ["plc"], "gwb": ["hmi"], "": ["laptop"]}
    with sealed_plant(layout, attach=attach, mode="migrate") as plant:
        plc, hmi, laptop = (plant.hosts[name] for name in ("plc", "hmi", "laptop"))
        box = plant.boxes["gwa"]
        serve(plc, "modbus")
        settle([Poller(hmi, plc, "modbus", 4), Poller(laptop, plc, "modbus", 4)])
        wanted = [(laptop.ip4, plc.ip4, "dropped"), (plc.ip4, laptop.ip4, "unreached")]

        def told():
            rows = [line.split() for line in box.ask("flows").splitlines()[1:]]
            return sorted((row[0], row[1], row[-1]) for row in rows if row[2:5] == ["tcp", "502", "modbus"]
                          and int(row[5]) > 10)
        # hmi is in clear only until the map knows it; a change of the policy begins anew.
        for other in plant.boxes.values():
            other.wait_status("has the map, and goes by it",
                              lambda status: status["machines_of_others"] > 0 and status["counters"]["sealed"] > 0)
        plant.server.set(non_ip="drop")
        try:
            wait_for("what would be dropped is told", lambda: told() == sorted(wanted), 20)
        except TimeoutError as late:
            raise AssertionError(f"{late}: {box.ask('flows')}") from None
        assert json.loads(box.ask("flows", "--json"))["mode"] == "migrate"
        cases(2)
