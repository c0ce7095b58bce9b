"""The lab itself, on plain bridges without daemons: everything crosses, and what crosses in clear is
seen. If this is red, no other line here says anything."""

import json
import os
import signal
import subprocess
import sys

import netns
from capture import Capture
from netns import ROOT, command, wait_for
from plant import REPOSITORY, Poller, assert_none_lost, scale, serve, settle, start_all_ways
from topology import Lab

FOLDER = REPOSITORY / "tests" / "lab"


def plain(lab):
    switch = lab.switch()
    hosts = [lab.host(name, lab.gateway(gateway, switch))
             for gateway, name in (("gwa", "plc"), ("gwb", "hmi"))]
    lab.ready()
    return switch, *hosts


def test_the_capture_sees_every_frame_once(cases):
    with Lab("plain") as lab:
        switch, plc, hmi = plain(lab)
        capture = Capture(switch)
        pollers = start_all_ways(plc, hmi, seconds=3)
        settle(pollers)
        hmi.run("ping", "-c", "5", "-i", "0.05", plc.ip4)
        reports = {poller: poller.finish() for poller in pollers}
        capture.stop()
        assert_none_lost(reports, least=100 * scale())
        udp = sum(report["sent"] for report in reports.values() if report["kind"] == "udp")
        modbus = sum(report["sent"] for report in reports.values() if report["kind"] == "modbus")
        seen = capture.count("udp", "modbus", "ping", "sealed")
        assert seen[0] == 2 * udp and seen[1] >= 2 * modbus and seen[2:] == [10, 0]
        cases(udp + modbus)


def test_a_poller_sees_loss(cases):
    with Lab("loss") as lab:
        _, plc, hmi = plain(lab)
        serve(plc, "udp")
        poller = Poller(hmi, plc, "udp", 4)
        settle([poller])
        plc.run("iptables", "-A", "INPUT", "-p", "udp", "--dport", "20000", "-m", "statistic",
                "--mode", "nth", "--every", "10", "--packet", "0", "-j", "DROP")
        poller.wait(lambda report: report["lost"] >= 5)
        report = poller.finish()
        assert report["answered"] + report["lost"] == report["sent"]
        cases(report["sent"])


def test_sizes_without_gateways(cases):
    with Lab("sizes") as lab:
        _, plc, hmi = plain(lab)
        serve(plc, "udp")
        for version, whole in ((4, 1472), (6, 1452)):
            done = hmi.run(sys.executable, FOLDER / "sizes.py", "ping", plc.address(version), 0, 4000)
            assert json.loads(done.stdout) == \
                {"ended": {"answered": list(range(4001))}, "again": 0, "mtus": []}
            done = hmi.run(sys.executable, FOLDER / "sizes.py", "udp", plc.address(version),
                           20000, 1, 16, whole, whole + 1, 8000)
            assert json.loads(done.stdout)["ended"] == \
                {"answered": [16, whole], "too big": [whole + 1, 8000]}
        cases(2 * 4001 + 8)


KILLED = """
import signal, sys
from topology import Lab
# Who is started in the background has it switched off.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Lab("victim") as lab:
    host = lab.host("host", lab.switch())
    host.start("sleep", "1000", log="sleep")
    print("up", lab.run.prefix, flush=True)
    sys.stdin.read()
"""


def test_nothing_stays_behind(cases):
    """Neither after Ctrl-C, nor, once the next run has started, after SIGKILL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen([sys.executable, "-c", KILLED], cwd=FOLDER, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as victim:
            prefix = victim.stdout.readline().split()[1]
            assert prefix in command("ip", "netns", "list").stdout
            os.kill(victim.pid, number)
            victim.wait(10)
        if number == signal.SIGKILL:
            with Lab("next"):
                pass
        wait_for(f"all of {prefix} is gone",
                 lambda: prefix not in command("ip", "netns", "list").stdout)
        assert not (ROOT / prefix).exists() and not (ROOT / f"{prefix}.lock").exists()
    assert not list(netns.ROOT.glob("*victim*"))
    cases(3)
