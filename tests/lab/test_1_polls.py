"""Line 1: a minute at 100 polls a second, both protocols, both directions, both IP versions, all at
once, with each attach: none lost, and nothing of it in clear on the switch."""

import os

from plant import assert_none_lost, scale, settle, start_all_ways
from sealed import two_gateways
from standstill import STOOD_STILL, Standstill

SECONDS = float(os.environ.get("TSG_LAB_SECONDS", "60"))
TRIES = 3


def test_a_minute_of_polls(attach, cases):
    for attempt in range(TRIES):
        with Standstill() as still:
            polls = a_minute_of_polls(attach, still, last=attempt + 1 == TRIES)
        if polls:
            return cases(polls)
        print(f"the machine stood still for {still.longest:.1f} s: once more")


def a_minute_of_polls(attach, still, last):
    """How many polls there were; 0 if some were lost while the machine stood still."""
    with two_gateways(attach) as plant:
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        capture = plant.capture()
        pollers = start_all_ways(plc, hmi, seconds=SECONDS)
        settle(pollers)
        hmi.run("ping", "-c", "5", "-i", "0.2", "-W", "2", plc.ip4)
        hmi.run("ping", "-c", "5", "-i", "0.2", "-W", "2", plc.ip6)
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        for poller, report in reports.items():
            print(f"{poller.name}: {report['answered']} answered, median {report['p50_us']} µs, "
                  f"99 % {report['p99_us']} µs, longest {report['max_us']} µs")
        print(f"longest standstill of the machine: {still.longest * 1000:.0f} ms")
        if any(report["lost"] for report in reports.values()) and not last \
                and still.longest > STOOD_STILL:
            return 0
        assert_none_lost(reports, least=0.99 * SECONDS * 100 * scale())
        capture.never("in clear")
        sealed, ping = capture.count("sealed", "ping")
        polls = sum(report["sent"] for report in reports.values())
        assert sealed >= 2 * polls, f"{sealed} sealed frames for {polls} polls"
        assert ping == 20, f"{ping} frames of the ping that the policy bypasses"
        return polls
