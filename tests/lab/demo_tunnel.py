#!/usr/bin/python3
"""The demonstration behind `make demo-tunnel`: two hosts, whole packets in ESP between them, and what may happen.

Exits with 0 only if every line of the final table is as promised.
"""

import json
import re
import signal
import sys
import time

from capture import Capture
from plant import settle
from stage import perform, show, stay, tell
from tunnels import CLEAR, DEVICE, FOLDER, WITHIN, Tunnel, esp_of

SECONDS, STREAM_BYTES, STREAM_PORT = 4, 200_000_000, 7001
PATHS = (1500, 1400)
PICTURE = """
      left ────────── the switch ────────── right
      10.9.0.1        (capture)          10.9.0.2
      fd09::1                             fd09::2
"""
# What is told of it, the outer packets in tshark's words, and how they are carried: version of IP, in UDP or not.
CARRIERS = (
    ("in ESP on IPv4", "ip.proto == 50", 4, False),
    ("in ESP in UDP, port 4500", "udp.port == 4500", 4, True),
    ("in ESP on IPv6", "ipv6.nxt == 50", 6, False),
)


def main():
    tell("These are two hosts in network namespaces of this machine; nothing outside of it is touched.")
    tell(PICTURE)
    tell("The first end makes the key file, the other gets a copy; then they agree on keys by themselves.")
    with Tunnel() as tunnel:
        tunnel.serve()
        everything = Capture(tunnel.switch, "everything", snap=200)
        table = polls(tunnel, *CARRIERS[0])
        old = recording(tunnel)
        table += killed(tunnel)
        table += replayed(tunnel, [*old, *recording(tunnel)])
        table += paths(tunnel)
        for carrier in CARRIERS[1:]:
            tell(f"Both ends stop and begin again, {carrier[0]}.")
            tunnel.change(*carrier[2:])
            table += polls(tunnel, *carrier)
        [clear] = everything.stop().count(CLEAR)
        table.append(("frames on the switch, all that time: in clear", clear, clear == 0))
        tunnel.change(4, False)
        table += stream(tunnel)
        kept = show(table)
        stay(lambda: look_around(tunnel))
    return 0 if kept else 1


def polls(tunnel, carrier, outer, _version, _udp):
    """Both hosts poll each other; the switch sees as many packets more, and what they are in."""
    tell(f"Both poll each other for {SECONDS} s, {carrier}: Modbus/TCP and datagrams on DNP3's port, over IPv4 and "
         "IPv6, 100 times a second each.")
    capture = Capture(tunnel.switch, "polls", snap=200)
    pollers = tunnel.pollers(servers=False, seconds=SECONDS)
    reports = [poller.finish() for poller in pollers]
    [sealed] = capture.stop().count(outer)
    sent, answered = (sum(report[key] for report in reports) for key in ("sent", "answered"))
    # A question and an answer each; in UDP the kernel may carry some of them as one.
    return [
        (f"polls answered, IPv4 and IPv6 {carrier}", f"{answered} of {sent}",
         answered == sent and min(report["sent"] for report in reports) >= 100),
        (f"frames on the switch {carrier}", sealed, sealed >= sent),
    ]


def killed(tunnel):
    """One end is gone without a word, and begins again."""
    tell("One end is killed (kill -9) and started again, while both poll on.")
    pollers = tunnel.pollers(servers=False)
    settle(pollers)
    tunnel.right.process.stop(signal.SIGKILL)
    tunnel.right.start()
    started = time.monotonic()
    settle(pollers, answers=1, seconds=10)
    took = time.monotonic() - started
    for poller in pollers:
        poller.finish()
    return [("all polls answered again after kill -9 of one end", f"{took:.1f} s", took < 5)]


def recording(tunnel):
    """A second's frames of the switch."""
    capture = Capture(tunnel.switch, "recording")
    for poller in tunnel.pollers(servers=False, seconds=1):
        poller.finish()
    return esp_of(capture.stop().path)


def replayed(tunnel, frames):
    """What was recorded before that end was killed and since, all of it once more."""
    tell(f"{len(frames)} frames, from before that and since, come once more to both ends, and then with a bit changed.")
    heard = [Capture(end.host, f"heard-{end.host.name}", DEVICE) for end in (tunnel.left, tunnel.right)]
    again = tunnel.replay(frames)
    # Behind it on the same way, so that all of it has been looked at: three questions and their answers.
    tunnel.left.ping(tunnel.right, 4)
    out = sum(capture.stop().count(WITHIN)[0] - 6 for capture in heard)
    return [("frames recorded and sent again that came out", f"{out} of {again}", out == 0 and again > 1000)]


def paths(tunnel):
    """The device's MTU is what the path takes, and hosts are told so."""
    tell("The cables take less: 1,400 bytes.")
    fits = []
    for path in PATHS:
        for end, other in ((tunnel.left, tunnel.right), (tunnel.right, tunnel.left)):
            end.host.ns.ip("link", "set", "eth0", "mtu", path)
            # The first that is too long tells it.
            end.ping(other, 4, "-s", path - 40, check=False)
        mtu = tunnel.left.mtu
        longest = tunnel.left.ping(tunnel.right, 4, "-M", "do", "-s", mtu - 28, check=False)
        longer = tunnel.left.ping(tunnel.right, 4, "-M", "do", "-s", mtu - 27, check=False)
        told = re.search(r"mtu[ =](\d+)", longer.stdout + longer.stderr)
        fits.append((mtu, longest.returncode == 0 and told is not None and int(told[1]) == mtu))
    for end in (tunnel.left, tunnel.right):
        end.host.ns.ip("link", "set", "eth0", "mtu", PATHS[0])
    return [(f"longest packet through a path of {path:,}, said to who sends more", f"{mtu:,} bytes",
             kept and 0 < path - mtu < 60) for path, (mtu, kept) in zip(PATHS, fits)]


def stream(tunnel):
    """One TCP connection, every byte accounted for."""
    tell(f"One TCP connection carries {STREAM_BYTES // 1_000_000} MB.")
    program = FOLDER / "bulk.py"
    server = tunnel.right.host.start(sys.executable, program, "serve", STREAM_PORT, log="stream")
    server.wait_line(lambda line: line == "listening")
    done = tunnel.left.host.run(sys.executable, program, "send", tunnel.right.address(4), STREAM_PORT, STREAM_BYTES,
                                timeout=120, check=False)
    report = json.loads(done.stdout or '{"mbit": 0, "same": false}')
    return [("one TCP connection, every byte right", f"{report['mbit']:,.0f} Mbit/s", report["same"])]


def look_around(tunnel):
    """With something to see on the switch."""
    tunnel.left.poll(tunnel.right, "modbus", 4, rate=5)
    prefix = tunnel.lab.run.prefix
    tell("The tunnel runs on, the left host polls. To look around, in another terminal:")
    tell(f"  ip netns exec {prefix}-plant tcpdump -ni br0               what a listener on the switch sees")
    tell(f"  ip netns exec {prefix}-left tcpdump -ni {DEVICE}               the same, inside")
    tell(f"  ip netns exec {prefix}-left ping {tunnel.right.address(4)}")
    tell(f"  ip netns exec {prefix}-left ip link show {DEVICE}              its MTU fits the path")
    tell(f"Logs: {tunnel.lab.run.folder}. Ctrl-C ends it and takes everything away.")


if __name__ == "__main__":
    perform(main)
