"""The tunnel: whole packets in ESP between two hosts, and nothing else to be seen between them."""

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from capture import Capture
from daemons import resident_kb
from netns import wait_for
from plant import assert_none_lost, binary, settle
from second import Second
from tunnels import CLEAR, DEVICE, ESP, FOLDER, Tunnel, assert_pings_do_not_come_out, esp_of, wait_agreed

CARRIERS = [(4, False), (4, True), (6, False), (6, True)]
HEADER = {4: 20, 6: 40}
# Of workers; and so many flows that each of them gets some.
MOST = 16
FLOWS = 16 * min(os.cpu_count(), MOST)


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_everything_goes_through_sealed(version, udp, cases):
    with Tunnel(version, udp) as tunnel:
        capture = Capture(tunnel.switch)
        pollers = tunnel.pollers(seconds=5)
        settle(pollers)
        sizes = (0, 100, 1300, 5000, 20000)
        for inner in (4, 6):
            for size in sizes:
                tunnel.left.ping(tunnel.right, inner, "-s", size)
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        # The device says what fits, and that is the longest that does.
        mtu = tunnel.left.mtu
        tunnel.left.ping(tunnel.right, 4, "-M", "do", "-s", mtu - 28)
        refused = tunnel.left.ping(tunnel.right, 4, "-M", "do", "-s", mtu - 27, check=False)
        assert refused.returncode, "what does not fit must be said to do so"
        capture.stop()
        esp = "udp.port == 4500" if udp else f"ip.proto == {ESP} || ipv6.nxt == {ESP}"
        clear, sealed, longest, cut = capture.count(
            CLEAR, esp,
            f"frame.len == {14 + HEADER[version] + (8 if udp else 0) + 32 + 2 + mtu}",
            "ip.flags.mf == 1 || ip.frag_offset > 0 || ipv6.fraghdr")
        assert clear == 0, capture.lines("tcp.port == 502 || udp.port == 20000 || icmp.type == 8")
        assert sealed > 1000
        assert (longest > 0, cut) == (True, 0)
        cases(len(pollers) + 2 * len(sizes))


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_every_worker_has_flows_of_its_own_and_keeps_their_order(version, udp, cases):
    """There is one for each processor; an end that has fewer hears all of the other's."""
    with Tunnel(version, udp) as tunnel:
        left, right = tunnel.left, tunnel.right
        pollers = tunnel.pollers()
        settle(pollers)
        for processors in (None, 1):
            if processors:
                right.process.stop()
                right.processors = processors
                right.start()
                wait_agreed(right)
                settle(pollers, seconds=5)
            expected = {end: len(woken(end)) for end in (left, right)}
            assert expected[right] == (processors or expected[left]) and expected[left] <= MOST
            capture = Capture(tunnel.switch, f"workers-{processors}", snap=128)
            for here, there in ((left, right), (right, left)):
                assert_in_order_by(here, there, {number % expected[there] for number in range(expected[here])})
            settle(pollers)
            capture.stop()
            for end, workers in expected.items():
                seen = capture.values("esp.spi", f"esp && {source(end.host, version)}")
                # Each flow is one's, by its ports; hellos are the first one's.
                numbers = {int(spi, 16) % 16 for spi in seen}
                assert numbers == set(range(workers)), (end.host, processors, seen)
        cases(len(pollers) + 4 * FLOWS)


def assert_in_order_by(here, there, workers):
    """Flows stay in order, and these workers there hear them."""
    before = woken(there)
    assert_in_order(here, there)
    # One that hears nothing wakes up once a second.
    busy = {worker for worker, count in woken(there).items() if count > before[worker] + 50}
    assert busy == workers, (busy, workers)


def woken(end):
    """How often each worker of an end has woken up."""
    counts = {}
    for task in Path(f"/proc/{end.process.popen.pid}/task").iterdir():
        kind, _, number = (task / "comm").read_text().strip().partition("-")
        if kind == "worker":
            # By itself, or to make room for others.
            found = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
            counts[int(number)] = sum(map(int, found))
    return counts


def assert_in_order(here, there, each=500):
    program = FOLDER / "rows.py"
    hearing = there.host.start(sys.executable, program, "hear", 9, log="rows")
    hearing.wait_line(lambda line: line == "listening")
    here.host.run(sys.executable, program, "send", there.address(4), 9, FLOWS, each)
    hearing.stop()
    flows = [json.loads(line) for line in hearing.lines[1:]]
    assert len(flows) == FLOWS
    heard = sum(flow["heard"] for flow in flows)
    # Under load some are lost.
    assert heard > 0.5 * FLOWS * each and not any(flow["late"] for flow in flows), flows


def source(host, version):
    return f"{'ip' if version == 4 else 'ipv6'}.src == {host.address(version)}"


@pytest.mark.parametrize("which", ("left", "right"))
@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_a_restart_under_load(which, how, cases):
    with Tunnel() as tunnel:
        pollers = tunnel.pollers()
        settle(pollers)
        end = getattr(tunnel, which)
        capture = Capture(tunnel.switch)
        end.process.stop(how)
        end.start()
        settle(pollers, seconds=5)
        capture.stop()
        assert capture.count("tcp.port == 502", "udp.port == 20000") == [0, 0]
        cases(len(pollers))


@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_nothing_goes_in_clear_while_the_tunnel_is_not_there(how, cases):
    """Though there is another way. A program that was killed leaves its device; behind one that was stopped docs/routed.md
    says what closes it."""
    with Tunnel() as tunnel:
        left, right = tunnel.left, tunnel.right
        for version, inside in ((4, "10.9.0.0/24"), (6, "fd09::/64")):
            route = (f"-{version}", "route", "add")
            left.host.ns.ip(*route, "default", "via", right.host.address(version))
            if how == signal.SIGTERM:
                left.host.ns.ip(*route, "blackhole", inside, "metric", 4096)
        pollers = tunnel.pollers()
        settle(pollers)
        capture = Capture(tunnel.switch)
        left.process.stop(how)
        is_there = left.host.run("ip", "link", "show", DEVICE, check=False).returncode == 0
        assert is_there == (how == signal.SIGKILL)
        for version in (4, 6):
            assert left.ping(right, version, check=False).returncode
        left.start()
        settle(pollers, seconds=5)
        assert capture.stop().count(f"({CLEAR}) || icmpv6.type == 128") == [0]
        cases(len(pollers) + 2)


@pytest.mark.parametrize("udp", (False, True))
def test_a_cable_that_is_out_for_a_while(udp, cases):
    """And a path that takes less when it is back."""
    with Tunnel(udp=udp) as tunnel:
        pollers = tunnel.pollers()
        settle(pollers)
        host = tunnel.left.host
        for _ in range(2):
            host.ns.ip("link", "set", "eth0", "down")
            time.sleep(2)
            host.ns.ip("link", "set", "eth0", "up")
            settle(pollers, seconds=5)
        for end in (tunnel.left, tunnel.right):
            end.host.ns.ip("link", "set", "eth0", "mtu", 1400)
        # The first that is too long tells it.
        for end, other in ((tunnel.left, tunnel.right), (tunnel.right, tunnel.left)):
            end.ping(other, 4, "-s", 1380, "-c", 6)
            end.process.wait_log("the path to", 5)
            assert end.mtu < 1400
        settle(pollers)
        cases(len(pollers))


@pytest.mark.parametrize("udp", (False, True))
def test_an_interface_that_is_made_anew_and_one_with_another_address(udp, cases):
    with Tunnel(udp=udp, called=True) as tunnel:
        pollers = tunnel.pollers()
        settle(pollers)
        for end in (tunnel.left, tunnel.right):
            tunnel.lab.replug(end.host.ns, "eth0", tunnel.switch)
            end.host.ns.ip("link", "set", "eth0", "up")
            end.host._configure("eth0")
            settle(pollers, seconds=8)
        assert_in_order_by(tunnel.left, tunnel.right, set(woken(tunnel.right)))
        left = tunnel.left.host.ns
        left.ip("addr", "del", f"{tunnel.left.host.ip4}/24", "dev", "eth0")
        left.ip("addr", "add", "10.77.0.99/24", "dev", "eth0")
        settle(pollers, seconds=8)
        assert tunnel.right.status()["peer"] == "10.77.0.99"
        assert_in_order_by(tunnel.right, tunnel.left, set(woken(tunnel.left)))
        cases(len(pollers))


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_a_router_on_the_way_that_takes_less(version, udp, cases):
    """In one direction; it says so as routers do."""
    with Tunnel(version, udp) as tunnel:
        left, right, router = tunnel.left, tunnel.right, tunnel.lab.host("router", tunnel.switch)
        tunnel.lab.cable(router.ns, "eth1", tunnel.switch)
        router.ns.ip("link", "set", "eth1", "up", "mtu", 1400)
        tunnel.lab.ready()
        # It answers for its address there alone where it has it.
        router.ns.sysctl({"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1,
                          "net/ipv4/conf/eth0/send_redirects": 0, "net/ipv4/conf/all/arp_ignore": 1})
        there, route = right.host.address(version), (f"-{version}", "route", "add")
        router.ns.ip(*route, there, "dev", "eth1")
        left.host.ns.ip(*route, there, "via", router.address(version))
        before = left.mtu
        assert before > 1400
        for inner in (4, 6):
            left.ping(right, inner, "-s", 1380, "-c", 6)
        wait_for("a smaller MTU", lambda: 1300 < left.mtu < 1400)
        left.ping(right, 4, "-M", "do", "-s", left.mtu - 28)
        assert right.mtu == before
        cases(3)


def test_a_path_that_swallows_what_is_long():
    """It says nothing of it, so the operator does; and what its devices say is still heeded."""
    tunnel = Tunnel()
    tunnel.options += ["--mtu", "1400"]
    with tunnel:
        both = (tunnel.left, tunnel.right), (tunnel.right, tunnel.left)
        for end, other in both:
            assert end.mtu == 1400
            end.ping(other, 4, "-M", "do", "-s", 1400 - 28)
        for end, _ in both:
            end.host.ns.ip("link", "set", "eth0", "mtu", 1380)
        for end, other in both:
            end.ping(other, 4, "-s", 1370, "-c", 6)
            wait_for("a smaller MTU", lambda end=end: end.mtu < 1380)


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_a_path_that_is_too_narrow_for_ipv6_inside(version, udp, cases):
    """The device keeps its addresses, and what is too long is cut behind ESP."""
    with Tunnel(version, udp) as tunnel:
        both = (tunnel.left, tunnel.right), (tunnel.right, tunnel.left)
        before, pollers = tunnel.left.mtu, tunnel.pollers()
        settle(pollers)
        for path, inside in ((1280, 1280), (1500, before), (1280, 1280)):
            for end, _ in both:
                end.host.ns.ip("link", "set", "eth0", "mtu", path)
            for end, other in both:
                wait_for("that MTU", lambda end=end, inside=inside: end.mtu == inside)
                for inner, header in ((4, 28), (6, 48)):
                    end.ping(other, inner, "-M", "do", "-s", inside - header)
        settle(pollers)
        cases(3 * 2 * 2 + len(pollers))


def test_replays_and_changed_packets_do_not_come_out(cases):
    """Everything that went by, once more and with a changed bit, at both ends, before and after a restart."""
    with Tunnel() as tunnel:
        capture = Capture(tunnel.switch)
        for inner in (4, 6):
            tunnel.left.ping(tunnel.right, inner, "-s", 200)
        capture.stop()
        frames = esp_of(capture.path)
        assert len(frames) >= 12
        assert_pings_do_not_come_out(tunnel, frames, seconds=5)
        cases(4 * len(frames))


def test_a_flood_of_what_nobody_sent(cases):
    """Random ESP, changed packets under known SPIs, hellos by the hundred: polls go on, and nothing grows."""
    with Tunnel() as tunnel:
        left, right = tunnel.left, tunnel.right
        capture = Capture(tunnel.switch)
        right.process.stop()
        right.start()
        left.ping(right, 4, "-w", 5)
        capture.stop()
        frames, rolled = esp_of(capture.path), random.Random(7)
        flood = []
        for _ in range(20_000):
            frame = bytearray(rolled.choice(frames))
            at = rolled.randrange(34, len(frame))
            frame[at:at + rolled.randrange(1, 200)] = rolled.randbytes(rolled.randrange(1, 200))
            flood.append(bytes(frame)[:1_500])
        pollers = tunnel.pollers()
        settle(pollers)
        before = [resident_kb(end.process) for end in (left, right)]
        opened = [end.status()["counters"]["drop_unauthentic"] for end in (left, right)]
        for _ in range(3):
            tunnel.replay(flood)
            settle(pollers)
        for end, kb, count in zip((left, right), before, opened):
            assert resident_kb(end.process) < kb + 2_048
            counters = end.status()["counters"]
            assert counters["drop_unauthentic"] > count
            assert counters["drop_unknown_sender"] > 1_000
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        cases(3 * 2 * len(flood))


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_an_end_that_is_called_from_anywhere(version, udp, cases):
    """It is not told where the other one is, follows it to a new address, and answers nobody else."""
    with Tunnel(version, udp, called=True) as tunnel:
        left, right = tunnel.left, tunnel.right
        assert right.status()["peer"] == left.host.address(version)
        pollers = tunnel.pollers()
        settle(pollers)
        new = {4: "10.77.0.99/24", 6: "fd77::99/64"}[version]
        old = f"{left.host.address(version)}/{new.partition('/')[2]}"
        left.host.ns.ip("addr", "del", old, "dev", "eth0")
        left.host.ns.ip("addr", "add", new, "dev", "eth0", *(["nodad"] if version == 6 else []))
        left.process.stop()
        left.start()
        settle(pollers, seconds=5)
        assert right.status()["peer"] == new.partition("/")[0]
        cases(len(pollers))


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_an_end_that_is_called_at_another_of_its_addresses(version, udp, cases):
    """It answers from there: nothing else is heard."""
    with Tunnel(version, udp, called=True) as tunnel:
        left, right = tunnel.left, tunnel.right
        left.peer, prefix = {4: ("10.77.0.77", 24), 6: ("fd77::77", 64)}[version]
        right.host.ns.ip("addr", "add", f"{left.peer}/{prefix}", "dev", "eth0", *(["nodad"] if version == 6 else []))
        left.process.stop()
        left.start()
        left.process.wait_log("agreed on keys", 5)
        pollers = tunnel.pollers()
        settle(pollers)
        cases(len(pollers))


def test_an_end_behind_nat(cases):
    """Whose port changes, in the middle of it, too."""
    with Tunnel(udp=True, called=True) as tunnel:
        left, right = tunnel.left, tunnel.right
        capture = Capture(tunnel.switch)
        pollers = tunnel.pollers()
        left.host.ns.sysctl({"net/netfilter/nf_conntrack_udp_timeout": 1,
                             "net/netfilter/nf_conntrack_udp_timeout_stream": 1})
        for before, port in ((4500, 40001), (40001, 40002)):
            # What comes to a port that nobody asks from any more ends at the NAT.
            left.host.run("iptables", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", before, "-j", "DROP")
            left.process.stop()
            left.host.run("iptables", "-t", "nat", "-F")
            left.host.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-p", "udp", "--dport", "4500", "-j",
                          "MASQUERADE", "--to-ports", port)
            # It forgets a mapping that is not used.
            time.sleep(3)
            left.start()
            settle(pollers, seconds=5)
        capture.stop()
        for port in (40001, 40002):
            there, back = capture.count(f"udp.srcport == {port} && udp.dstport == 4500", f"udp.dstport == {port}")
            assert min(there, back) > 50, (port, there, back)
        assert right.status()["state"] == "up"
        cases(len(pollers))


@pytest.mark.parametrize("udp", (False, True))
def test_an_end_that_cannot_call_starts_again_while_nobody_speaks(udp, cases):
    """It does not know where the other one is, and its host is the first that has something to say."""
    with Tunnel(udp=udp, called=True) as tunnel:
        left, right = tunnel.left, tunnel.right
        left.ping(right, 4)
        right.process.stop()
        right.start()
        # Nothing but the other end's question tells it where that one is.
        right.process.wait_log("agreed on keys", 10 + 15 + 10)
        right.ping(left, 4)
        cases(1)


def test_a_nat_that_forgets_an_end_while_nobody_speaks(cases):
    """And remembers it by another port."""
    with Tunnel(udp=True, called=True) as tunnel:
        left, right = tunnel.left, tunnel.right
        names = ["net/netfilter/nf_conntrack_udp_timeout", "net/netfilter/nf_conntrack_udp_timeout_stream"]
        left.host.ns.sysctl(dict.fromkeys(names, 1))
        left.ping(right, 4)
        time.sleep(3)
        left.host.ns.sysctl(dict.fromkeys(names, 30))
        left.host.run("iptables", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "4500", "-j", "DROP")
        left.host.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-p", "udp", "--dport", "4500", "-j",
                      "MASQUERADE", "--to-ports", 40001)
        capture = Capture(tunnel.switch)
        wait_for("the way back", lambda: not right.ping(left, 4, "-c", 1, check=False).returncode, 10 + 10)
        [there] = capture.stop().count("udp.srcport == 40001 && udp.dstport == 4500")
        assert there
        cases(1)


def test_status_says_how_it_is(cases):
    with Tunnel() as tunnel:
        left, right = tunnel.left, tunnel.right
        left.ping(right, 4, "-s", 5000)
        status = left.status()
        assert status["tunnel"] == DEVICE
        assert status["state"] == "up"
        assert status["peer"] == right.host.address(4)
        assert status["carrier"] == "IP protocol 50"
        assert status["cipher"] in ("aes-256-gcm", "chacha20-poly1305")
        assert status["mtu"] == 1446
        assert status["counters"]["sealed"] >= 12
        assert status["counters"]["opened"] >= 12
        shown = left.host.run(binary("tsg"), "--run", left.folder, "status").stdout
        assert "carrier:             IP protocol 50\n" in shown
        right.process.stop()
        left.ping(right, 4, check=False)
        wait_for("silence", lambda: left.status()["state"] == "silent", seconds=20)
        right.start()
        left.ping(right, 4, "-w", 5)
        assert left.status()["state"] == "up"
        # Where it was ended by force its socket is left, and nobody answers there.
        left.process.stop(signal.SIGKILL)
        gone = left.host.run(binary("tsg"), "--run", left.folder, "status", check=False)
        assert gone.returncode == 1
        cases(2)


@pytest.mark.parametrize("cipher", ("chacha20-poly1305", "aes-256-gcm"))
def test_a_second_implementation_is_the_other_end(cipher, cases):
    """Written from docs/protocol.md alone, in Python."""
    with Tunnel() as tunnel:
        right = tunnel.right
        right.process.stop()
        other = Second(tunnel, cipher)
        tunnel.left.ping(right, 4)
        tunnel.left.ping(right, 4, "-s", 1000)
        # And it is one that can be gone and come again.
        other.stop()
        right.start()
        tunnel.left.ping(right, 4, "-w", 5)
        cases(3)


def test_the_port_and_the_device_are_one_tunnel_s():
    """Though its workers share them."""
    with Tunnel(udp=True) as tunnel:
        left, peer = tunnel.left, tunnel.right.host.ip4
        wanted = ["tunnel", "eth0", "--dst", peer, "--key-file", left.key]
        for more, said in ((["--udp", "--tun", "other"], "another program has it"),
                           (["--tun", DEVICE], f"{DEVICE} is in use by another process")):
            done = left.host.run(binary("tsg"), "--run", tunnel.lab.run.folder, *wanted, *more, check=False, timeout=10)
            assert done.returncode == 1 and said in done.stderr, done.stderr
            tunnel.left.ping(tunnel.right, 4)


def test_a_member_of_no_group_is_told_so():
    with Tunnel() as tunnel:
        left = tunnel.left
        argv = [binary("tsg"), "--log", "stderr", "--run", tunnel.lab.run.folder, "tunnel", "eth0", "--dst",
                tunnel.right.host.ip4, "--tun", "other", "--group"]
        left.host.start(*argv, log="member").wait_log("no gateway of this host is a member of a group")


def test_what_is_wrong_is_said(cases):
    with Tunnel() as tunnel:
        host, folder = tunnel.left.host, tunnel.lab.run.folder
        damaged = folder / "damaged"
        title, text = tunnel.left.key.read_text().split()
        damaged.write_text(f"{title} {'B' if text[0] == 'A' else 'A'}{text[1:]}\n")
        damaged.chmod(0o600)
        open_to_all = folder / "open"
        open_to_all.write_text(tunnel.left.key.read_text())
        open_to_all.chmod(0o644)
        peer = tunnel.right.host.ip4
        wrong = [
            (["eth9", "--dst", peer, "--tun", "x"], "there is no interface eth9"),
            (["eth0", "--dst", "host.example", "--tun", "x"], "--dst is the address of the other end"),
            (["eth0", "--dst", peer, "--tun", "x" * 20], "the name of a new interface"),
            (["eth0", "--dst", peer, "--tun", "../x"], "the name of a new interface"),
            (["eth0", "--dst", peer], "needs --tun"),
            (["--dst", peer, "--tun", "x"], "needs the interface"),
            (["eth0", "--dst", peer, "--tun", "x", "--mtu", "575"], "--mtu is between 576 and 65535"),
            (["eth0", "-dst", peer, "-key", "s3cret", "-tun", "x"], "the key is in a file"),
            (["eth0", "--dst", peer, "--tun", "x", "--key-file", damaged], "is no key of a tunnel"),
            (["eth0", "--dst", peer, "--tun", "x", "--key-file", open_to_all], "chmod 600"),
            (["eth0", "--dst", peer, "--tun", DEVICE, "--key-file", tunnel.left.key], "in use"),
        ]
        for argv, said in wrong:
            done = host.run(binary("tsg"), "--state", folder, "tunnel", *argv, check=False, timeout=10)
            assert done.returncode in (1, 2) and said in done.stderr, (argv, done.stderr)
        tunnel.left.ping(tunnel.right, 4)
        cases(len(wrong))
