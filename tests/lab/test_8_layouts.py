"""Line 8, by layout: a dead daemon with `fail open`, and ports that are in no bridge."""

import signal

import pytest

from capture import Capture
from forging import MARK, ethernet, ip
from load import Load
from netns import wait_for
from outage import Outage
from plant import Poller, serve, settle
from sealed import sealed_plant, two_gateways

STANDALONE = True
# Longer than the rules of the ingress attach believe that a silent daemon lives.
OPENS = 6
GRE = 47
VLAN = (0x8100, 7)


def test_fail_open(attach, cases):
    """Both daemons die, and polls go on in clear; they come back, and nothing is in clear any more."""
    with two_gateways(attach, fail="open") as plant:
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        for box in plant.boxes.values():
            box.process.stop(signal.SIGKILL)
        for poller in load.datagrams():
            poller.wait_answers(10, OPENS)
        load.goes_on(30)
        for box in plant.boxes.values():
            box.start()
        for box in plant.boxes.values():
            box.wait_ready()
        load.goes_on(30)
        capture = plant.capture("sealed-again")
        load.goes_on()
        capture.stop()
        assert capture.count("modbus", "udp") == [0, 0]
        assert capture.count("sealed")[0] > 100
        cases(2)


@pytest.fixture(scope="module")
def alone():
    """gwa has two machines and no bridge; laptop is on the switch, without a gateway."""
    layout = {"gwa": ["plc", "drive"], "gwb": ["hmi"], "": ["laptop"]}
    with sealed_plant(layout, attach="standalone") as plant:
        for name in ("drive", "laptop"):
            serve(plant.hosts[name], "modbus")
        for protocol in ("modbus", "udp"):
            serve(plant.boxes["gwa"].gateway, protocol)
        yield Outage(plant)


def polls(plant, source, target, protocol="modbus"):
    """Both IP versions."""
    return [Poller(source, target, protocol, version, rate=20) for version in (4, 6)]


def box_is_reached(plant):
    """From its own side and from the plant's, by what a rule would seal between machines, too: a switch passes
    what is for itself."""
    laptop = plant.hosts["laptop"]
    pollers = [poller for source in (plant.plc, laptop) for protocol in ("modbus", "udp")
               for poller in polls(plant, source, plant.box.gateway, protocol)]
    settle(pollers)
    for poller in pollers:
        report = poller.finish()
        assert not report["wrong"], report
    return len(pollers)


def test_standalone_box_is_reached(alone, cases):
    """With the daemon and without."""
    reached = box_is_reached(alone)
    alone.kill()
    reached += box_is_reached(alone)
    alone.box.start()
    alone.comes_back()
    cases(reached)


def test_standalone_machines_of_one_side(alone, cases):
    """What they say to each other is not sealed, and nobody else hears it once it is known where they are."""
    drive = alone.hosts["drive"]
    pollers = polls(alone, alone.plc, drive)
    settle(pollers)
    capture = Capture(alone.switch, "one-side")
    settle(pollers, answers=50)
    capture.stop()
    for version in (4, 6):
        address = drive.address(version)
        assert capture.count(f"ip{'v6' if version == 6 else ''}.addr == {address} && tcp") == [0]
    for poller in pollers:
        report = poller.finish()
        assert report["answered"] == report["sent"], report
    cases(len(pollers))


def test_standalone_passes_what_is_not_matched(alone, cases):
    """Also with a VLAN tag, and without the daemon; what is matched stays out."""
    laptop = alone.hosts["laptop"]
    frame = ethernet(laptop.ns.mac("eth0"), 4,
                     ip(alone.plc.ip4, laptop.ip4, GRE, MARK),
                     source=alone.plc.ns.mac("eth0"), tags=[VLAN])
    with alone.nothing_in_clear():
        for kill in (False, True):
            if kill:
                alone.kill()
                alone.stays_shut()
            for target in (laptop, alone.hmi):
                for version in (4, 6):
                    alone.plc.run("ping", f"-{version}", "-c", 3, "-i", 0.2, "-W", 2, target.address(version))
            capture = Capture(laptop, "tagged", device="eth0")
            alone.plc.ns.run("python3", "-c", SEND, "eth0", frame.hex())
            wait_for("the tagged frame arrives", lambda: MARK in capture.path.read_bytes(), 5)
            capture.stop()
            assert capture.count(f"vlan.id == {VLAN[1]}") == [1]
    alone.box.start()
    alone.comes_back()
    cases(10)


SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind((sys.argv[1], 0))
    s.send(bytes.fromhex(sys.argv[2]))
"""


def test_standalone_switched_off(alone, cases):
    """A gateway that is switched off is a wire, as a bridge would be."""
    laptop = alone.hosts["laptop"]
    alone.box.process.stop()
    pollers = polls(alone, alone.plc, laptop)
    alone.box.config["enabled"] = 0
    alone.box.write_config()
    alone.box.ask("gate")
    settle(pollers, seconds=30)
    box_is_reached(alone)
    alone.box.config["enabled"] = 1
    alone.box.write_config()
    alone.box.ask("gate")
    alone.box.start()
    alone.comes_back(10)
    cases(2)
