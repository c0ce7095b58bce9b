"""Line 8, by layout: a dead daemon with `fail open`, and ports that are in no bridge."""

import signal

import pytest

from capture import Capture
from daemons import Box
from forging import MARK, ethernet, ip, udp
from load import Load
from netns import wait_for
from outage import Outage
from plant import PORTS, Poller, serve, settle
from sealed import sealed_plant, two_gateways

STANDALONE = True
# Longer than the rules of the ingress attach believe that a silent daemon lives.
OPENS = 6
GRE, UDP = 47, 17
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
        capture.never("in clear")
        assert capture.count("sealed")[0] > 100
        cases(2)


def test_fail_open_without_a_port(cases):
    """A missing port is no sign that the daemon is dead."""
    with sealed_plant({"gwa": ["drive", "plc"], "gwb": ["hmi"]}, attach="ingress", fail="open") as plant:
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        plant.hosts["drive"].ns.ip("link", "del", "eth0")
        plant.boxes["gwa"].wait_status("misses a port", lambda status: "a port is missing" in str(status["alarms"]), 10)
        plant.boxes["gwa"].gateway.run("nft", "flush", "ruleset")
        wait_for("the rules are back", lambda: "fwd to" in plant.boxes["gwa"].gateway.run("nft", "list", "ruleset").stdout)
        capture = plant.capture("sealed")
        load.goes_on()
        load.goes_on()
        capture.stop()
        capture.never("in clear")
        assert capture.count("sealed")[0] > 100
        cases(1)


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


def test_standalone_box_that_routes(alone, cases):
    """It forwards IP, as an OpenWrt router does. Who sends it what is for a machine on the other side gets nothing
    past the policy by that."""
    laptop, gateway = alone.hosts["laptop"], alone.box.gateway
    gateway.ns.sysctl({"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})
    gateway.ns.sysctl({"net/ipv4/conf/all/rp_filter": 0, "net/ipv4/conf/box0/rp_filter": 0})
    box = gateway.ns.mac("box0")
    sent = 0
    captures = [Capture(alone.plc, "host", device="eth0"), Capture(alone.switch, "switch")]
    for source, target in ((laptop, alone.plc), (alone.plc, laptop)):
        for version in (4, 6):
            ends = source.address(version), target.address(version)
            packet = ip(*ends, UDP, udp(*ends, PORTS["udp"], PORTS["udp"], MARK))
            frame = ethernet(box, version, packet, source=source.ns.mac("eth0"))
            for _ in range(20):
                source.ns.run("python3", "-c", SEND, "eth0", frame.hex())
                sent += 1
    for capture in captures:
        capture.stop()
        routed = f"eth.src == {box.hex(':')} && udp.port == {PORTS['udp']} && !icmp && !icmpv6"
        assert not capture.lines(routed)
    box_is_reached(alone)
    cases(sent)


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


def test_standalone_boots_open(alone, cases):
    """With `fail open` the ports are connected before there is a daemon."""
    gateway = alone.lab.gateway("gwc", alone.switch)
    machine = alone.lab.host("machine", gateway)
    box = Box(gateway, alone.server, "standalone", fail="open")
    assert "`fail` is open" in box.ask("gate")
    pollers = polls(alone, machine, alone.hosts["laptop"])
    settle(pollers)
    for poller in pollers:
        poller.finish()
    cases(len(pollers))


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
