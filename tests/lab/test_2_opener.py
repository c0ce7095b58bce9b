"""Line 2: an opener written from docs/protocol.md alone opens every captured packet."""

import pytest

from daemons import EVERYTHING
from opening import open_capture
from plant import Poller, assert_none_lost, serve, settle, start_all_ways
from sealed import two_gateways

WAYS = {
    "chacha": {"cipher": "chacha20-poly1305"},
    "aes": {"cipher": "aes-256-gcm"},
    "udp-encapsulation": {"cipher": "chacha20-poly1305", "encap": "udp"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_captured_packet_opens(way, cases):
    settings = WAYS[way]
    with two_gateways(policy=EVERYTHING, **settings) as plant:
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        capture = plant.capture()
        pollers = start_all_ways(plc, hmi, seconds=5)
        pollers += [Poller(plc, hmi, "udp", version, "--size", size, rate=20, seconds=5)
                    for version in (4, 6) for size in (1400, 8000)]
        settle(pollers)
        for address in (plc.ip4, plc.ip6):
            hmi.run("ping", "-c", "20", "-i", "0.05", "-s", "300", "-W", "2", address)
        plant.server.keys()
        plant.server.rekey()
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        assert_none_lost(reports)
        sealed = "udp.port == 4253" if settings.get("encap") == "udp" else "sealed"
        captured, clear = capture.count(sealed, "tcp.port == 502 || udp.port == 20000")
        report = open_capture(capture, plant.server.keys(), udp=settings.get("encap") == "udp")
        assert clear == 0
        assert report["sealed"] == captured > 2 * sum(r["sent"] for r in reports.values())
        assert report["opened"] == captured, report["refused"] | {"at": report["first_failures"]}
        assert report["repeated"] == 0, "a sequence number was used twice"
        assert report["incomplete"] == 0 and report["reassembled"] > 0
        polls = sum(r["sent"] for r in reports.values() if r["kind"] == "modbus")
        assert report["inner"]["tcp 502"] >= 2 * polls
        assert report["inner"]["icmp 8"] == report["inner"]["icmp 0"] == 20
        cases(captured)


def test_the_opener_refuses_what_is_not_the_groups(cases):
    """Seen red: with another group's key nothing opens."""
    with two_gateways(policy=EVERYTHING) as plant:
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        serve(plc, "udp")
        capture = plant.capture()
        assert_none_lost({(poller := Poller(hmi, plc, "udp", 4, seconds=1)): poller.finish()})
        capture.stop()
        keys = plant.server.keys()
        for epoch in keys["epochs"]:
            epoch["tek"] = "A" * 43 + "="
        report = open_capture(capture, keys)
        assert report["sealed"] > 0 and report["opened"] == 0, report
        assert set(report["refused"]) == {"not authentic"}
        cases(report["sealed"])
