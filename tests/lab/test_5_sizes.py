"""Line 5: packets of every size, with and without DF, and TCP bulk, at MTU 1500 and between jumbo frames and a
narrow path: all arrive, or the sender is told by ICMP what the path takes, and told right."""

import json
import sys

import pytest

from daemons import EVERYTHING
from netns import wait_for
from plant import REPOSITORY, scale, serve
from sealed import two_gateways

MTU, JUMBO, NARROW = 1500, 9000, 1400
HEADERS = {4: 28, 6: 48}  # IP and UDP, or IP and ICMP echo
SIZES = REPOSITORY / "tests" / "lab" / "sizes.py"
STREAM = REPOSITORY / "tests" / "lab" / "bulk.py"
LARGEST = 4000
# Nothing here loses packets but a queue that overflows while TCP looks for its speed.
LOSS = 0.02
BULK = max(10, int(50 * scale())) * 1_000_000
BULK_PORT = 5201


@pytest.fixture(scope="module")
def plant(attach):
    with two_gateways(attach, policy=EVERYTHING) as plant:
        plc = plant.hosts["plc"]
        # The echo server is one of those that never set DF.
        plc.ns.sysctl({"net/ipv4/ip_no_pmtu_disc": 1})
        serve(plc, "udp")
        stream = plc.start(sys.executable, STREAM, "serve", BULK_PORT, log="bulk")
        stream.wait_line(lambda line: "listening" in line)
        yield plant


@pytest.fixture(scope="module")
def uneven(plant):
    """Hosts with jumbo frames, and WAN ports that take less than usual, from one moment to the next."""
    def wires():
        for host in plant.hosts.values():
            yield host.ns, "eth0", JUMBO
        for box in plant.boxes.values():
            yield box.gateway.ns, "lan0", JUMBO
            yield box.gateway.ns, "wan0", NARROW
    try:
        for ns, device, mtu in wires():
            ns.ip("link", "set", device, "mtu", mtu)
        narrow = {"too big": [NARROW - HEADERS[4]]}
        wait_for("that is noticed", lambda: probe(plant, "udp", 4, 20000, 1, *narrow["too big"])["ended"] == narrow, 5)
        yield plant
    finally:
        for ns, device, _ in wires():
            ns.ip("link", "set", device, "mtu", MTU)


def probe(plant, kind, version, *numbers):
    """Sends from a host that knows nothing of the path yet; see sizes.py."""
    plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
    for host in (plc, hmi):
        for family in ("-4", "-6"):
            host.ns.ip(family, "route", "flush", "cache")
    done = hmi.run(sys.executable, SIZES, kind, plc.address(version), *numbers, timeout=300)
    return json.loads(done.stdout)


def must_stay_whole(plant, version, path):
    """What is too big is told so, with the MTU that is exactly right; the rest arrives."""
    tried = range(path - 120, path - HEADERS[version] + 1)
    report = probe(plant, "udp", version, 20000, 1, *tried)
    limit = report["ended"]["answered"][-1]
    assert report["ended"] == {"answered": [size for size in tried if size <= limit],
                               "too big": [size for size in tried if size > limit]}, summary(report)
    assert report["mtus"] == [limit + HEADERS[version]], summary(report)
    assert path - 80 <= report["mtus"][0] < path
    big = probe(plant, "udp", version, 20000, 1, path - HEADERS[version], 8000)
    assert big["ended"] == {"too big": [path - HEADERS[version], 8000]}, summary(big)
    return len(tried) + 2


@pytest.mark.parametrize("version", (4, 6))
def test_ping_of_every_size(plant, version, cases):
    capture = plant.capture("ping")
    report = probe(plant, "ping", version, 0, LARGEST)
    capture.stop()
    assert report["ended"] == {"answered": list(range(LARGEST + 1))}, summary(report)
    assert capture.count("ping", "unfit") == [0, 0]
    cases(LARGEST + 1)


@pytest.mark.parametrize("version", (4, 6))
def test_udp_that_must_stay_whole(plant, version, cases):
    cases(must_stay_whole(plant, version, MTU))


@pytest.mark.parametrize("version", (4, 6))
def test_udp_that_may_be_cut(plant, version, cases):
    sizes = [MTU - HEADERS[version], 8000, *range(1400, 1600), *range(2800, 3000), 20000, 60000]
    capture = plant.capture("udp")
    report = probe(plant, "udp", version, 20000, 0, *sizes)
    capture.stop()
    assert report["ended"] == {"answered": sorted(set(sizes))}, summary(report)
    if version == 4:
        assert (report["again"], report["mtus"]) == (0, []), "nobody had to be told: " + summary(report)
    assert capture.count("udp", "unfit") == [0, 0]
    cases(len(sizes))


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("direction", ("send", "fetch"))
def test_tcp_bulk(plant, version, direction, cases):
    bulk(plant, version, direction, MTU)
    cases(1)


@pytest.mark.parametrize("version", (4, 6))
def test_between_unlike_ports(uneven, version, cases):
    kept = must_stay_whole(uneven, version, NARROW)
    for direction in ("send", "fetch"):
        bulk(uneven, version, direction, NARROW)
    cases(kept + 2)


def bulk(plant, version, direction, path):
    """TCP whose segments come as long as the path takes them, and hardly any twice."""
    plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
    capture = plant.capture("bulk", snap=200)
    done = hmi.run(sys.executable, STREAM, direction, plc.address(version), BULK_PORT, BULK, timeout=200)
    capture.stop()
    report, segments = json.loads(done.stdout), BULK / path
    print(f"IPv{version} {direction}: {report['mbit']:.0f} Mbit/s, "
          f"{report['retransmits']} retransmits of {segments:.0f} segments")
    sealed, clear, unfit = capture.count("sealed", f"tcp.port == {BULK_PORT}", "unfit")
    assert report["same"], "what arrived is not what was sent"
    assert sealed > segments and (clear, unfit) == (0, 0)
    assert report["retransmits"] <= segments * LOSS, report


def summary(report):
    """Short enough to read: the ends of each list."""
    return json.dumps({key: f"{len(sizes)}: {sizes[:5]}…{sizes[-5:]}"
                       for key, sizes in report["ended"].items()}
                      | {"again": report["again"], "mtus": report["mtus"]})
