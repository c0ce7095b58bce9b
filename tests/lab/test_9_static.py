"""The tunnel with static keys: no word but packets, and no number twice."""

import json
import shutil
import signal
import sys

import pytest

from capture import Capture
from netns import command
from plant import assert_none_lost, settle
from statics import CIPHERS, opened, tshark_agrees
from tunnels import Tunnel

CARRIERS = [(4, False), (4, True), (6, False), (6, True)]


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_two_ends_with_static_keys(version, udp, cipher, cases):
    with Tunnel(version, udp, cipher) as tunnel:
        capture = Capture(tunnel.switch)
        pollers = tunnel.pollers(seconds=3)
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        for inner in (4, 6):
            for size in (0, 1300, 5000):
                tunnel.left.ping(tunnel.right, inner, "-s", size)
        capture.stop()
        assert capture.count("tcp.port == 502", "udp.port == 20000", "icmp") == [0, 0, 0]
        directions = opened(tunnel, capture, cipher)
        # Nothing but packets: not a hello, and each number once.
        assert all(direction["numbers_twice"] == 0 and direction["runs"] == 1 for direction in directions)
        if cipher == "aes-256-gcm":
            tshark_agrees(tunnel, capture, directions)
        cases(len(pollers) + 6 + sum(direction["opened"] for direction in directions))


@pytest.mark.parametrize("which", ("left", "right"))
def test_no_number_twice_over_restarts(which, cases):
    """Killed under load, three times; then the record of numbers is lost, and the other half of the IV holds."""
    cipher = CIPHERS[0]
    with Tunnel(cipher=cipher) as tunnel:
        end = getattr(tunnel, which)
        pollers = tunnel.pollers()
        capture = Capture(tunnel.switch)
        settle(pollers)
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            end.process.stop(how)
            end.start()
            # The other end hears it when it has heard nothing of the run before for 5 s.
            settle(pollers, seconds=15)
        capture.stop()
        directions = opened(tunnel, capture, cipher)
        assert [direction["numbers_twice"] for direction in directions] == [0, 0]
        assert sorted(direction["runs"] for direction in directions) == [1, 4]
        lost = Capture(tunnel.switch, "lost")
        settle(pollers)
        end.process.stop(signal.SIGKILL)
        cache = end.folder / "tsg.cache"
        assert len(list(cache.glob("tunnel-*/sequences"))) == 1
        shutil.rmtree(cache)
        end.start()
        end.process.wait_log("has not used this key yet")
        settle(pollers, seconds=15)
        lost.stop()
        again = opened(tunnel, lost, cipher)
        assert sorted(direction["runs"] for direction in again) == [1, 2]
        cases(4 * len(pollers))


def test_a_recording_does_not_come_out_while_the_end_is_heard(cases):
    with Tunnel(cipher=CIPHERS[0]) as tunnel:
        capture = Capture(tunnel.switch)
        tunnel.left.ping(tunnel.right, 4, "-s", 200)
        capture.stop()
        # A run that this process has never heard: both ends start again.
        for end in (tunnel.left, tunnel.right):
            end.process.stop()
            end.start()
        pollers = tunnel.pollers()
        settle(pollers)
        heard = Capture(tunnel.right.host, "heard", "tsg0")
        from scapy.all import IP, rdpcap  # Slow to import, and for this test alone.
        frames = [bytes(frame) for frame in rdpcap(str(capture.path)) if IP in frame and frame[IP].proto == 50]
        assert len(frames) >= 6
        file = tunnel.lab.run.folder / "replay"
        file.write_bytes(b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames))
        tunnel.switch.run("python3", "-c", SEND, "br0", file)
        settle(pollers)
        heard.stop()
        assert heard.count("icmp") == [0]
        cases(len(frames))


SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire, open(sys.argv[2], "rb") as frames:
    wire.bind((sys.argv[1], 0))
    while length := frames.read(2):
        wire.send(frames.read(int.from_bytes(length, "big")))
"""


def test_what_is_wrong_is_said(cases):
    with Tunnel(cipher=CIPHERS[0]) as tunnel:
        left = tunnel.left
        plain = [word for word in left.argv() if word not in tunnel.static]
        sequences = next((left.folder / "tsg.cache").glob("tunnel-*/sequences"))
        leased = sequences.read_text()
        wrong = [
            ([*left.argv(), "--tun", "tsg9"], "another tsg runs"),
            (left.argv(), "is in use"),
            ([*plain, "--static", "--cipher", "des"], "--cipher is chacha20-poly1305 or aes-256-gcm"),
            ([*plain, "--cipher", CIPHERS[1]], "--cipher goes with --static"),
            ([*plain, "--xfrm"], "--xfrm goes with --static"),
            ([*left.argv("--xfrm"), "--key-file", "/nowhere"], "start this end first"),
        ]
        for argv, said in wrong:
            done = left.host.run(*argv, check=False, timeout=10)
            assert done.returncode in (1, 2) and said in done.stderr, (argv, done.stderr)
        assert sequences.read_text() == leased, "what does not start costs no numbers"
        # The script says nothing to the log, and a second process may print it.
        assert left.host.run(*left.argv("--xfrm")).stdout.startswith("#!/bin/sh\n")
        # The keys are made of the address.
        left.host.ns.ip("addr", "del", f"{left.host.ip4}/24", "dev", "eth0")
        left.host.ns.ip("addr", "add", "10.77.0.99/24", "dev", "eth0")
        left.process.wait_log("another address")
        left.host.ns.ip("addr", "del", "10.77.0.99/24", "dev", "eth0")
        left.host.ns.ip("addr", "add", f"{left.host.ip4}/24", "dev", "eth0")
        sequences.write_text("{")
        done = left.host.run(*left.argv(), check=False, timeout=10)
        assert done.returncode == 1 and str(sequences) in done.stderr, done.stderr
        cases(len(wrong) + 3)
