"""Transport mode: two hosts talk under their own addresses, and nothing but ESP is to be seen behind their headers."""

import signal
import sys

import pytest

from capture import Capture
from netns import wait_for
from plant import assert_none_lost, settle
from statics import CIPHERS, opened, tshark_agrees
from transports import TABLE, Transport, sealed_and_clear
from tunnels import DEVICE, assert_pings_do_not_come_out, esp_of

CARRIERS = [(4, False), (4, True), (6, False), (6, True)]
SPOILS, PORT = b"in clear", 9999


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_everything_between_two_hosts_is_sealed(version, udp, cases):
    with Transport(version, udp) as both:
        left, right = both.left, both.right
        capture = Capture(both.switch)
        pollers = both.pollers(seconds=5)
        settle(pollers)
        sizes = (0, 100, 1300, 5000, 60000)
        for end, other in ((left, right), (right, left)):
            for size in sizes:
                end.ping(other, version, "-s", size)
        # With ESP that is no packet any more.
        counter = {4: "send_failed", 6: "drop_malformed_ip"}[version]
        before = left.status()["counters"][counter]
        assert left.ping(right, version, "-s", 65500, check=False).returncode
        assert left.status()["counters"][counter] > before
        # DSCP and hops stay the packet's.
        left.ping(right, version, "-Q", "0xb8", "-t", 7)
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        # The device says what fits, and the kernel what does not.
        header = {4: 28, 6: 48}[version]
        left.ping(right, version, "-M", "do", "-s", left.mtu - header)
        refused = left.ping(right, version, "-M", "do", "-s", left.mtu - header + 1, check=False)
        assert refused.returncode, "what does not fit must be said to do so"
        capture.stop()
        sealed, clear = sealed_and_clear(version, udp)
        marked = {4: "ip.dsfield == 0xb8 && ip.ttl == 7", 6: "ipv6.tclass == 0xb8 && ipv6.hlim == 7"}[version]
        whole = "ip.flags.mf == 0 && ip.frag_offset == 0" if version == 4 else "ipv6 && !ipv6.fraghdr"
        seen, in_clear, kept, longest = capture.count(
            sealed, clear, f"{sealed} && {marked}", f"{sealed} && {whole} && frame.len > {14 + 1496}")
        assert in_clear == 0, capture.lines(clear)
        assert (seen > 1000, kept, longest > 0) == (True, 3, True)
        for end in (left, right):
            assert end.status()["mode"] == "transport"
        cases(len(pollers) + 2 * len(sizes))


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_others_with_the_key_open_it(version, udp, cipher, cases):
    """A second implementation, and tshark what it knows; with static keys, which can be computed."""
    with Transport(version, udp, cipher) as both:
        capture = Capture(both.switch)
        pollers = both.pollers(seconds=3)
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        both.left.ping(both.right, version)
        capture.stop()
        directions = opened(both, capture, cipher, "--transport")
        for direction in directions:
            assert {int(kind) for kind in direction["inside"]} == {6, 17, 1 if version == 4 else 58}
        if cipher == "aes-256-gcm":
            tshark_agrees(both, capture, directions)
        cases(sum(direction["opened"] for direction in directions))


@pytest.mark.parametrize("udp", (False, True))
@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_nothing_goes_in_clear_while_an_end_is_not_there(how, udp, cases):
    """Under load, while it is gone, and when it is back."""
    with Transport(udp=udp) as both:
        left, right = both.left, both.right
        pollers = both.pollers()
        settle(pollers)
        capture = Capture(both.switch)
        for end, other in ((left, right), (right, left)):
            end.process.stop(how)
            for here, there in ((end, other), (other, end)):
                assert here.ping(there, 4, check=False).returncode
            # Nor by a program that asks for the interface.
            assert end.ping(other, 4, "-I", "eth0", check=False).returncode
            end.start()
            settle(pollers, seconds=10)
        sealed, clear = sealed_and_clear(4, udp)
        seen, in_clear = capture.stop().count(sealed, clear)
        assert in_clear == 0, capture.lines(clear)
        assert seen > 100
        cases(len(pollers) + 6)


def test_it_ends_when_it_is_told_to():
    with Transport() as both:
        left, right = both.left, both.right
        for end in (left, right):
            end.process.stop()
            assert end.is_guarded() and DEVICE not in end.host.run("ip", "route").stdout
        assert left.ping(right, 4, check=False).returncode
        # Who goes on in tunnel mode is told of it.
        left.options.remove("--transport")
        left.start()
        left.process.wait_log(f"`nft delete table inet {TABLE}` ends that")
        left.process.stop()
        for end in (left, right):
            end.host.run("nft", "delete", "table", "inet", TABLE)
        left.ping(right, 4)
        left.start()
        assert TABLE not in left.process.said()


@pytest.mark.parametrize("version", (4, 6))
def test_what_comes_in_clear_is_not_heard(version, cases):
    """From the switch, as if it were the other host: while the end is there, when it was killed, and when it is stopped. A
    filter that somebody takes away comes back."""
    with Transport(version) as both:
        left, right = both.left, both.right
        ear = left.host.start(sys.executable, "-c", EAR, PORT, log="ear")
        ear.wait_line(lambda line: line == "listening")
        right.host.run(sys.executable, "-c", SAY, left.address(version), PORT, "sealed")
        ear.wait_line(lambda line: line == "sealed")
        for end in (left, right):
            # That is what another program's restart may do.
            end.host.run("nft", "flush", "ruleset")
        wait_for("the filter again", lambda: left.is_guarded() and right.is_guarded(), 5)
        left.process.wait_log("was gone, and is back")
        spoil(both, version)
        whole = left.filter()
        for what in (("flush", "table", "inet", TABLE), ("flush", "chain", "inet", TABLE, "in")):
            # It is there, and lets through what it should not.
            left.host.run("nft", *what)
            wait_for("the filter as it was", lambda: left.filter() == whole, 5)
        left.process.wait_log("was changed, and is as it was")
        spoil(both, version)
        left.process.stop(signal.SIGKILL)
        spoil(both, version)
        left.start()
        right.ping(left, version, "-w", 5)
        left.process.stop()
        spoil(both, version)
        left.start()
        right.ping(left, version, "-w", 5)
        right.host.run(sys.executable, "-c", SAY, left.address(version), PORT, "sealed once more")
        ear.wait_line(lambda line: line == "sealed once more")
        assert ear.lines == ["listening", "sealed", "sealed once more"]
        # The same is heard where nothing keeps it out: that it was lost is the filter's doing.
        left.process.stop()
        left.host.run("nft", "delete", "table", "inet", TABLE)
        spoil(both, version)
        ear.wait_line(lambda line: line == SPOILS.decode())
        cases(5 * 3)


EAR = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ear:
    ear.bind(("::", int(sys.argv[1])))
    print("listening", flush=True)
    while True:
        print(ear.recv(2000).decode(), flush=True)
"""
SAY = """
import socket, sys
kind = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
socket.socket(kind, socket.SOCK_DGRAM).sendto(sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))
"""


def spoil(both, version):
    """Datagrams from the right one's address to the left one, in clear: whole, and in fragments."""
    from scapy.all import IP, UDP, Ether, IPv6, IPv6ExtHdrFragment, Raw  # Slow to import, and for few.
    left, right = both.left.host, both.right.host
    link = Ether(src=right.ns.mac("eth0"), dst=left.ns.mac("eth0"))
    if version == 4:
        header = IP(src=right.ip4, dst=left.ip4)
        parts = [IP(src=right.ip4, dst=left.ip4, id=77, flags=1, proto=17), IP(src=right.ip4, dst=left.ip4, id=77, frag=1,
                                                                                proto=17)]
    else:
        header = IPv6(src=right.ip6, dst=left.ip6)
        parts = [header / IPv6ExtHdrFragment(nh=17, m=1, id=77), header / IPv6ExtHdrFragment(nh=17, offset=1, id=77)]
    whole = bytes(header / UDP(sport=PORT, dport=PORT) / SPOILS)
    datagram = whole[{4: 20, 6: 40}[version]:]
    frames = [bytes(link / header / UDP(sport=PORT, dport=PORT) / SPOILS),
              *(bytes(link / part / Raw(data)) for part, data in zip(parts, (datagram[:8], datagram[8:])))]
    file = both.lab.run.folder / "spoils"
    file.write_bytes(b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames))
    both.inject(file)


@pytest.mark.parametrize("version", (4, 6))
def test_replays_and_changed_packets_do_not_come_out(version, cases):
    with Transport(version) as both:
        capture = Capture(both.switch)
        both.left.ping(both.right, version, "-s", 200)
        capture.stop()
        frames = esp_of(capture.path)
        assert len(frames) >= 6
        assert_pings_do_not_come_out(both, frames, seconds=10)
        cases(4 * len(frames))


@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_a_path_that_takes_less(version, udp, cases):
    with Transport(version, udp) as both:
        left, right = both.left, both.right
        pollers = both.pollers()
        settle(pollers)
        before = left.mtu
        both.change_mtu(1400)
        assert left.mtu < before
        for end, other in ((left, right), (right, left)):
            for size in (1300, 5000):
                end.ping(other, version, "-s", size)
        settle(pollers)
        both.change_mtu(1500)
        assert left.mtu == before
        cases(len(pollers) + 4)


def test_a_cable_that_is_out_and_an_address_that_was_gone(cases):
    with Transport() as both:
        left = both.left
        pollers = both.pollers()
        settle(pollers)
        capture = Capture(both.switch)
        left.host.ns.ip("link", "set", "eth0", "down")
        left.host.ns.ip("link", "set", "eth0", "up")
        settle(pollers, seconds=10)
        # The route goes with the address that it is for.
        left.host.ns.ip("addr", "del", f"{left.host.ip4}/24", "dev", "eth0")
        left.host.ns.ip("addr", "add", f"{left.host.ip4}/24", "dev", "eth0")
        left.process.wait_log("was gone, and is back")
        settle(pollers, seconds=10)
        sealed, clear = sealed_and_clear(4, False)
        seen, in_clear = capture.stop().count(sealed, clear)
        assert (seen > 100, in_clear) == (True, 0), capture.lines(clear)
        cases(len(pollers))


@pytest.mark.parametrize("cipher", (None, "chacha20-poly1305"))
def test_ends_in_different_modes_say_so(cipher):
    with Transport(cipher=cipher) as both:
        right = both.right
        right.process.stop()
        right.options = [option for option in right.options if option != "--transport"]
        right.start()
        right.host.run("nft", "delete", "table", "inet", TABLE)
        # An end that has keys asks for none before it has missed an answer.
        both.left.process.stop()
        both.left.start()
        if cipher:
            # With static keys nothing is said but packets.
            both.left.ping(right, 4, check=False)
            right.host.ns.ip("addr", "add", "10.9.0.2/24", "dev", DEVICE)
            right.host.run("ping", "-c", 1, "-W", 1, "10.9.0.9", check=False)
        right.process.wait_log("the other end is in transport mode and this one in tunnel mode", 10)
        both.left.process.wait_log("the other end is in tunnel mode and this one in transport mode", 10)
        assert both.left.ping(right, 4, check=False).returncode


def test_what_is_wrong_is_said(cases):
    with Transport() as both:
        left, right = both.left, both.right
        left.process.stop()

        def refused(said, *more):
            done = left.host.run(*left.argv(*more), check=False, timeout=10)
            assert done.returncode in (1, 2) and said in done.stderr, (said, done.stderr)

        for address in ("0.0.0.0", "::", "127.0.0.1", "fe80::1", "ff02::1", "224.0.0.1"):
            refused("--transport needs an address", "--dst", address)
        refused("is this host itself", "--dst", left.host.ip4)
        left.host.ns.ip("route", "add", right.host.ip4, "dev", "eth0")
        refused("`metric 100`")
        left.host.ns.ip("route", "del", right.host.ip4, "dev", "eth0")
        left.host.ns.ip("route", "add", right.host.ip4, "dev", "eth0", "metric", 100)
        left.host.ns.sysctl({"net/ipv4/conf/eth0/rp_filter": 1})
        refused("net.ipv4.conf.eth0.rp_filter=2")
        left.host.ns.sysctl({"net/ipv4/conf/eth0/rp_filter": 2})
        left.start()
        left.ping(right, 4, "-w", 5)
        cases(10)


def test_only_what_the_two_hosts_have_for_each_other(cases):
    """A packet from another address of a host, or with options, is not one that comes out as it went in: it is dropped."""
    with Transport() as both:
        left, right = both.left, both.right
        left.host.ns.ip("addr", "add", "10.77.0.99/32", "dev", "eth0")
        capture = Capture(both.switch)
        for options in (("-I", "10.77.0.99"), ("-R",)):
            before = left.status()["counters"]["drop_policy"]
            assert left.ping(right, 4, *options, check=False).returncode
            assert left.status()["counters"]["drop_policy"] > before
        assert capture.stop().count("icmp") == [0]
        left.ping(right, 4)
        cases(3)


@pytest.mark.parametrize("udp", (False, True))
def test_an_interface_that_is_made_anew(udp):
    """What is too long is still cut behind ESP: the new socket is set up as the first was."""
    with Transport(udp=udp) as both:
        host = both.right.host
        both.lab.replug(host.ns, "eth0", both.switch)
        host.ns.ip("link", "set", "eth0", "up")
        host._configure("eth0")
        both.right.process.wait_log("goes on by eth0")
        both.left.ping(both.right, 4, "-w", 5)
        both.right.ping(both.left, 4, "-s", 20000)
