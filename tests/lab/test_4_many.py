"""Line 4: many gateways that have never met, multicast, machines without a gateway, gateways in
series, and a policy that changes under load."""

import itertools
import json

import pytest

from daemons import MODBUS_AND_UDP, MODBUS_ONLY
from netns import wait_for
from plant import PORTS, Poller, assert_none_lost, serve, settle, start_all_ways
from sealed import sealed_plant, two_gateways

FOUR = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["drive"], "gwd": ["relay"]}
GROUPS = {4: "239.77.0.1", 6: "ff15::77"}


def test_any_to_any_from_the_first_packet(attach, cases):
    with sealed_plant(FOUR, attach=attach) as plant:
        capture = plant.capture()
        for host in plant.hosts.values():
            serve(host, "modbus")
            serve(host, "udp")
        pairs = itertools.permutations(plant.hosts.values(), 2)
        pollers = [Poller(source, target, protocol, version, rate=10, seconds=5)
                   for source, target in pairs for protocol, version in (("modbus", 4), ("udp", 6))]
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        assert_none_lost(reports, least=10)
        capture.never("in clear")
        cases(len(pollers))


@pytest.mark.parametrize("version", GROUPS)
def test_multicast(attach, version, cases):
    with sealed_plant(FOUR, attach=attach) as plant:
        capture = plant.capture()
        for host in plant.hosts.values():
            serve(host, "udp", "--join", GROUPS[version])
        endpoint = f"{GROUPS[4]}:20000" if version == 4 else f"[{GROUPS[6]}]:20000"
        others = len(plant.hosts) - 1
        pollers = {host: Poller(host, endpoint, "udp", version, "--answers", others, rate=20, seconds=3)
                   for host in plant.hosts.values()}
        reports = {poller: poller.finish() for poller in pollers.values()}
        capture.stop()
        assert_none_lost(reports, least=10)
        for host, poller in pollers.items():
            everybody = {other.address(version) for other in plant.hosts.values() if other is not host}
            assert set(reports[poller]["sources"]) == everybody
        assert capture.count("udp") == [0]
        cases(sum(report["sent"] for report in reports.values()))


@pytest.mark.parametrize("version", GROUPS)
def test_multicast_to_several_ports_of_a_gateway(attach, version, cases):
    """A sealed frame that comes once leaves opened by each LAN port; what one of these sends goes to the others in
    clear and sealed to the WAN."""
    with sealed_plant({"gwa": ["plc", "drive", "relay"], "gwb": ["hmi", "panel"]}, attach=attach) as plant:
        capture = plant.capture()
        for host in plant.hosts.values():
            serve(host, "udp", "--join", GROUPS[version])
        endpoint = f"{GROUPS[4]}:20000" if version == 4 else f"[{GROUPS[6]}]:20000"
        everybody = {host.address(version) for host in plant.hosts.values()}
        pollers = {host: Poller(host, endpoint, "udp", version, "--answers", len(everybody) - 1, rate=20, seconds=3)
                   for host in plant.hosts.values()}
        reports = {poller: poller.finish() for poller in pollers.values()}
        capture.stop()
        assert_none_lost(reports, least=10)
        for host, poller in pollers.items():
            assert set(reports[poller]["sources"]) == everybody - {host.address(version)}
        assert capture.count("udp") == [0]
        cases(sum(report["sent"] for report in reports.values()))


def test_a_machine_without_a_gateway(attach, cases):
    """Reached in clear in `migrate`; in `enforce` stopped and named in an alarm."""
    with sealed_plant({**FOUR, "": ["laptop"]}, attach=attach, mode="migrate") as plant:
        plc, hmi, laptop = (plant.hosts[name] for name in ("plc", "hmi", "laptop"))
        capture = plant.capture()
        for host in (plc, laptop):
            serve(host, "udp")
        both_ways = [Poller(plc, laptop, "udp", 4), Poller(laptop, plc, "udp", 4)]
        covered = Poller(hmi, plc, "udp", 4)
        settle([*both_ways, covered], seconds=30)
        # Once the map knows both ends, what is between two gateways goes sealed.
        clear = f"udp.port == 20000 && ip.addr == {hmi.ip4}"

        def sealed_by_now():
            capture.mark()
            start = capture.count("frame")[0]
            settle([covered])
            capture.mark()
            return capture.count(f"{clear} && frame.number > {start}") == [0]
        wait_for("the map knows the PLC and the HMI", sealed_by_now, 60, every=1)

        plant.server.set(mode="enforce")
        for box in plant.boxes.values():
            box.wait_status("enforces", lambda status: status["mode"] == "enforce", 30)
        settle([covered])
        lost = both_ways[0].now()["lost"]
        both_ways[0].wait(lambda report: report["lost"] >= lost + 20, 15)
        settle([covered])
        wait_for("an alarm names the laptop",
                 lambda: laptop.ip4 in json.dumps(plant.boxes["gwa"].status()["alarms"]), 15)
        wait_for("the key server's alarms name it too",
                 lambda: laptop.ip4 in json.dumps(plant.server.ask("status")), 30)
        capture.stop()
        cases(4)


def test_two_gateways_in_series(attach, cases):
    """gwc stands behind gwb: what it seals crosses gwb as it is, both ways.

    gwb cannot know that before it has heard a sealed packet from behind it, or of the machine from
    the key server: so what comes before that may be lost, and nothing after.
    """
    layout = {"gwa": ["plc"], "gwb": ["hmi"], "gwb/gwc": ["drive"]}
    with sealed_plant(layout, attach=attach) as plant:
        plc, hmi, drive = (plant.hosts[name] for name in ("plc", "hmi", "drive"))
        capture = plant.capture()
        for host in (plc, hmi, drive):
            serve(host, "modbus")
            serve(host, "udp")
        settle([Poller(plc, drive, "udp", version) for version in (4, 6)])
        pollers = [Poller(source, target, protocol, version, rate=20, seconds=5)
                   for source, target in itertools.permutations((plc, drive, hmi), 2)
                   for protocol in PORTS for version in (4, 6)
                   if plc in (source, target)]
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        assert_none_lost(reports, least=10)
        capture.never("in clear")
        cases(len(pollers))


def test_a_policy_changed_under_load(attach, cases):
    with two_gateways(attach, policy=MODBUS_ONLY) as plant:
        capture = plant.capture()
        pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"])
        settle(pollers)
        versions = [version_of_all(plant)]
        for policy in (MODBUS_AND_UDP, MODBUS_ONLY) * 2 + (MODBUS_AND_UDP,):
            plant.server.policy(policy)
            versions.append(version_of_all(plant, above=versions[-1]))
            capture.mark()
            start = capture.count("frame")[0]
            settle(pollers)
            capture.mark()
            udp, modbus = capture.count(f"udp.port == 20000 && frame.number > {start}", "modbus")
            assert modbus == 0
            assert bool(udp) == (policy is MODBUS_ONLY), f"{udp} UDP frames in clear, {policy}"
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        assert_none_lost(reports, least=100)
        cases(len(versions) - 1)


def version_of_all(plant, above=0):
    """Waits until all gateways follow one policy, newer than `above`; returns its version."""
    newest = {box.wait_status(f"a policy after {above}",
                              lambda status: status["policy"] > above, 30)["policy"]
              for box in plant.boxes.values()}
    assert len(newest) == 1, f"gateways with different policies: {newest}"
    return newest.pop()
