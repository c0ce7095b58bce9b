"""Attacks from the plant's switch, under load: nothing of them reaches a host, each drop is counted with
its reason, no gateway grows, and the polls go on."""

import base64
import ipaddress
import json
import os
import signal
import struct
import sys
import time

import pytest
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting)
from scapy.packet import Raw

from daemons import Box, bring_up, resident_kb
from forging import (HEADER, MARK, SEALED, VERSIONS, ethernet, icmp, ip, looks_sealed, right, sealed_in, tcp,
                     udp)
from netns import wait_for
from plant import REPOSITORY
from siege import ARRIVED, FLOOD, GROWTH_KB, WINDOW, besieged

SIZES = REPOSITORY / "tests" / "lab" / "sizes.py"
# Until what a revoked member seals is opened nowhere.
DELAY = 5
# Where an epoch's pseudo-time begins.
HOUR_MS = 3_600_000
TCP, UDP, ICMP, FRAGMENT, ICMPV6 = 6, 17, 1, 44, 58
BOTH = pytest.mark.parametrize("version", VERSIONS)
# As many strangers the key server lists for an operator; no flood may make it more.
MOST_PENDING = 1000


@pytest.fixture(scope="module")
def plant(attach):
    with besieged(attach, revoke_delay=DELAY) as plant:
        yield plant


@BOTH
def test_every_bit_flipped(plant, version, cases):
    cases(plant.repels_flipped(version))


@BOTH
def test_every_length(plant, version, cases):
    cases(plant.repels_cut(version))


def test_replay(plant, cases):
    cases(plant.repels_replays())


def test_replay_after_ten_seconds(plant, cases):
    """Neither what arrived then, nor what was held back and is older than the window, nor what is from
    the future."""
    heard, since = plant.heard_at_the_start
    wait_for("ten seconds have passed", lambda: time.monotonic() > since + 10, 12)
    frames = [plant.again(packet) for packet in heard]
    for age in (WINDOW + 1, -WINDOW - 10):
        when = (plant.member.now() - age * 1000) & 0xFFFFFFFF
        for version in VERSIONS:
            late = [plant.member.datagram(*plant.ends(version), when=when) for _ in range(10)]
            frames += plant.frames(version, late)
    cases(plant.repelled(frames, "replayed", "too_old", "stale", "future"))


@BOTH
def test_another_address(plant, version, cases):
    """A packet for one member: to another, from another, or back to its sender."""
    hmi, plc = plant.ends(version)
    packets = [plant.member.datagram(hmi, plc) for _ in range(10)]
    stranger = "10.77.0.77" if version == 4 else "fd77::77"
    ends = ((plc, hmi), (stranger, plc), (hmi, stranger), (plc, plc))
    forged = [moved(packet, version, *pair) for packet in packets for pair in ends[1:]]
    tried = plant.repelled(plant.frames(version, forged), "unauthentic")
    # Back at the gateway of its sender, which opens what is for hmi.
    back = plant.boxes["gwb"]
    before = back.status()["counters"]["drop_unauthentic"]
    target = plant.hmi.ns.mac("eth0")
    swapped = [ethernet(target, version, moved(packet, version, *ends[0])) for packet in packets]

    def counted():
        return back.status()["counters"]["drop_unauthentic"] - before
    with plant.capture("sender", plant.hmi, "eth0") as host:
        plant.inject(swapped, box=back)
        wait_for("the other gateway has counted them", lambda: counted() == len(swapped), 5)
    host.never(ARRIVED)
    plant.taken(version, packets[0])
    cases(tried + len(swapped))


def moved(packet, version, source, destination):
    ends = b"".join(ipaddress.ip_address(address).packed for address in (source, destination))
    start = 12 if version == 4 else 8
    return right(packet[:start] + ends + packet[start + len(ends):])


def test_another_group(plant, cases):
    """Sealed by a member of another group, under an epoch byte and a sender number that are good here."""
    tek = base64.b64encode(os.urandom(32)).decode()
    here = plant.server.keys()["epochs"][-1]
    stranger = plant.new_member({"epochs": [{**here, "tek": tek}]})
    # The group's own sender has used some of these sequence numbers.
    cases(plant.repelled(fifty(plant, stranger), "unauthentic", "replayed"))


def fifty(plant, member):
    """Frames of each IP version, sealed by this member."""
    return [frame for version in VERSIONS
            for frame in plant.frames(version, [member.datagram(*plant.ends(version)) for _ in range(50)])]


def test_an_old_epoch(plant, cases):
    """Once all have left an epoch (docs/protocol.md 2.4) its keys are of no use to anybody."""
    old, ended = plant.member, plant.box.status()["epoch"]
    plant.rekey()
    plant.follow()
    for box in plant.boxes.values():
        box.wait_status("the old epoch is gone", lambda status: ended not in
                        {epoch["id"] for epoch in status["epochs"]}, 20)
    cases(plant.repelled(fifty(plant, old), "unknown_epoch"))


def test_a_revoked_member_that_goes_on(plant, attach, cases):
    """It keeps its keys and seals with them all the time: from the promised moment on nothing of it is opened."""
    gateway = plant.plant.lab.gateway("gwt", plant.plant.switch)
    plant.plant.lab.host("thief", gateway)
    thief = Box(gateway, plant.server, attach)
    bring_up(plant.server, [thief])
    member, tried = plant.member, 0
    plant.taken(4, member.datagram(*plant.ends(4)))
    revoked = time.monotonic()
    plant.server.revoke(thief)
    while time.monotonic() < revoked + DELAY + 1:
        tried += plant.inject(fifty(plant, member))
    tried += plant.repelled(fifty(plant, member), "unknown_epoch")
    thief.process.stop()
    plant.follow()
    cases(tried)


def test_plaintext(plant, cases):
    """Modbus and UDP as such, as an answer, and as an answer or a question of what passes in clear."""
    frames = [frame for version in VERSIONS for frame in plaintext(plant, version)]
    cases(plant.repelled(frames, "in_clear"))


def test_plaintext_in_a_vlan(plant, cases):
    frames = [frame for version in VERSIONS for tag in ((0x8100, 5), (0x8100, 0), (0x88A8, 5))
              for frame in plaintext(plant, version, [tag])]
    cases(plant.repelled(frames, "in_clear"))


def test_plaintext_in_two_vlans(plant, cases):
    frames = [frame for version in VERSIONS for outer in (0x8100, 0x88A8)
              for frame in plaintext(plant, version, [(outer, 5), (0x8100, 6)])]
    cases(plant.repelled(frames, "in_clear", "gate"))


def plaintext(plant, version, tags=()):
    ends = plant.ends(version)
    packets = [ip(*ends, TCP, tcp(source, destination, MARK, flags))
               for source, destination in ((40000, 502), (502, 40000), (80, 502), (502, 80))
               for flags in (0x02, 0x18, 0x04, 0x00)]
    packets += [ip(*ends, UDP, udp(*ends, source, destination, MARK))
                for source, destination in ((40000, 20000), (20000, 40000), (123, 20000), (20000, 123))]
    return plant.frames(version, packets, tags)


def test_plaintext_in_fragments(plant, cases):
    """With the ports, without them, and with a first piece too small to have them whole."""
    ends, frames = plant.ends(4), []
    for protocol, whole in ((TCP, tcp(40000, 502, MARK * 9)), (TCP, tcp(80, 502, MARK * 9)),
                            (UDP, udp(*ends, 20000, 40000, MARK * 9))):
        for start, end, more in PIECES:
            place = start // 8 | more << 13
            packet = ip(*ends, protocol, whole[start:end], 1 + len(frames) // 3, place)
            frames += plant.frames(4, [packet])
    ends = plant.ends(6)
    for protocol, whole in ((TCP, tcp(40000, 502, MARK * 9)),
                            (UDP, udp(*ends, 20000, 40000, MARK * 9))):
        for start, end, more in PIECES:
            header = struct.pack("!BBHI", protocol, 0, start | more, 1 + len(frames) // 3)
            frames += plant.frames(6, [ip(*ends, FRAGMENT, header + whole[start:end])])
    cases(plant.repelled(frames, "in_clear"))


# From, to, and whether more follows.
PIECES = [(0, 24, 1), (24, 48, 1), (48, None, 0), (0, 8, 1), (8, 16, 1), (16, None, 0)]


def test_plaintext_behind_extension_headers(plant, cases):
    """However many there are, and in whatever order, the ports behind them count, or nothing passes."""
    source, destination = plant.ends(6)
    chains = [[IPv6ExtHdrHopByHop()],
              [IPv6ExtHdrDestOpt()], [IPv6ExtHdrDestOpt()] * 3, [IPv6ExtHdrDestOpt()] * 20,
              [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()], [IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop()],
              [IPv6ExtHdrHopByHop(), IPv6ExtHdrFragment(id=9)],
              [IPv6ExtHdrFragment(id=9), IPv6ExtHdrDestOpt()],
              [IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(id=9, m=1)],
              [IPv6ExtHdrRouting(type=0, addresses=[destination])],
              [IPv6ExtHdrHopByHop(), IPv6ExtHdrRouting(type=4, addresses=[destination])]]
    packets = []
    for protocol, whole in ((TCP, tcp(80, 502, MARK)),
                            (UDP, udp(source, destination, 123, 20000, MARK))):
        for chain in chains:
            packet = IPv6(src=source, dst=destination)
            for header in chain:
                packet /= header.copy()
            packet.lastlayer().nh = protocol
            packets.append(bytes(packet / Raw(whole)))
    cases(plant.repelled(plant.frames(6, packets), "in_clear", "source_route", "malformed_ip"))


def test_icmp_about_sealed_flows(plant, cases):
    """Told that the path is narrow or the peer is gone, by somebody who saw a sealed packet or guessed
    what is in it."""
    frames = []
    for version, (protocol, kinds) in ERRORS.items():
        hmi, plc = plant.ends(version)
        inside = ip(plc, hmi, TCP, tcp(502, 40000, MARK))
        quoted = [ip(plc, hmi, SEALED, bytes(range(40)) + MARK), inside, inside[:HEADER[version] + 8],
                  ip(plc, hmi, UDP, udp(plc, hmi, 20000, 20000, MARK)), inside[:HEADER[version] - 1], b""]
        errors = [icmp(version, *kind, quote) for kind in kinds for quote in quoted]
        frames += plant.frames(version, [ip(hmi, plc, protocol, error) for error in errors])
    cases(plant.repelled(frames, "icmp_about_sealed", "icmp_bad_quote", "in_clear"))


@BOTH
def test_a_narrow_path(plant, version, cases):
    """Somebody on the way says so about a packet of this gateway: its senders are told what is left to them,
    and nobody else is."""
    source, target = plant.plc.address(version), plant.hmi.address(version)
    with plant.capture("own") as capture:
        plant.load.goes_on()
    wanted = plant.hmi.packed(version)
    own = next(packet for packet in sealed_in(capture) if packet.destination == wanted)
    quote = ip(source, target, SEALED, own.payload[:48])
    protocol, kind = {4: (ICMP, (3, 4)), 6: (ICMPV6, (2, 0))}[version]
    said = plant.frames(version, [ip(target, source, protocol, icmp(version, *kind, NARROW, quote))])
    before = plant.box.status()["counters"]["path_mtu_lowered"]
    cases(plant.repelled(said, "icmp_about_sealed"))
    assert plant.box.status()["counters"]["path_mtu_lowered"] == before + 1
    for sender, receiver, left in ((plant.plc, target, NARROW), (plant.hmi, source, MTU)):
        sizes = range(left - 110, left - HEADER[version], 2)
        done = sender.run(sys.executable, SIZES, "udp", receiver, 20000, 1, *sizes)
        report = json.loads(done.stdout)
        assert set(report["ended"]) == {"answered", "too big"}, report
        # docs/protocol.md 1.5: what sealing adds, and padding.
        assert len(report["mtus"]) == 1 and left - 40 <= report["mtus"][0] <= left - 34, report


NARROW, MTU = 1400, 1500


# Type, code, and the field behind the checksum.
ERRORS = {4: (ICMP, [(3, 4, 576), (3, 3, 0), (11, 0, 0), (12, 0, 0), (5, 1, 0x0A4D0001)]),
          6: (ICMPV6, [(2, 0, 1280), (1, 4, 0), (3, 0, 0), (4, 1, 0)])}


@pytest.mark.parametrize("outside, inside", ((4, 6), (6, 4)))
def test_a_version_that_is_not_the_frames(plant, outside, inside, cases):
    """IPv6 in a frame that says IPv4, and the reverse: who reads by the one must not be led by the other."""
    ends = plant.ends(inside)
    packets = [ip(*ends, TCP, tcp(40000, 502, MARK)), ip(*ends, 55, MARK * 3)]
    cases(plant.repelled(plant.frames(outside, packets), "malformed", "malformed_ip", "in_clear"))


@BOTH
def test_flood_of_random_spis(plant, version, cases):
    at = 14 + HEADER[version]
    frames = plant.frames(version, [looks_sealed(*plant.ends(version), 0, 0, 0)])
    cases(plant.flood(frames, *FLOOD, spots=[(at, 4), (at + 16, 48)]))


@BOTH
def test_flood_of_what_looks_sealed(plant, version, cases):
    """The epoch in force and the next one, the right time, and senders that could be: each has to be
    tried. Still a rekey goes through, after which each gateway has to be heard for the first time."""
    at = 14 + HEADER[version]
    epochs = {plant.member.epoch_byte: plant.member.now(), plant.member.epoch_byte + 1: HOUR_MS}
    frames = plant.frames(version, [looks_sealed(*plant.ends(version), byte, sender, now)
                              for byte, now in epochs.items() for sender in range(1, 250)])
    cases(plant.flood(frames, *FLOOD, spots=[(at + 16, 48)], meanwhile=plant.rekey))
    plant.follow()


def test_flood_of_hellos(plant, cases):
    """From thousands of keys that nobody knows: the key server remembers some and answers a few."""
    did, dropped, status = plant.upon_the_key_server("hellos", FLOOD[0])
    refused = sum(number for why, number in dropped.items() if why.startswith("too many strangers"))
    assert did["messages"] > 1000 and refused > 1000, (did, dropped)
    assert len(status["pending"]) <= MOST_PENDING, len(status["pending"])
    # What the first flood needed serves the second.
    size = resident_kb(plant.server.process)
    again, _, _ = plant.upon_the_key_server("hellos", FLOOD[0])
    grown = resident_kb(plant.server.process) - size
    assert grown < GROWTH_KB, f"the key server has grown by {grown} kB more"
    cases(did["messages"] + again["messages"])


def test_what_no_gateway_says(plant, cases):
    """Half-open connections, a peer that does not read, malformed messages, and 100 MB at once. What the
    key server makes of each, and what a member may not do, is tested in
    package/tsg-server/tests/server/hostile.rs."""
    did, dropped, _ = plant.upon_the_key_server("rest", 5)
    assert did["half open"] == 200 and did["messages"] > 2000, did
    assert dropped.total() > 1000, dropped
    cases(sum(did.values()))


def test_replay_to_a_gateway_that_just_started(plant, cases):
    """What was sealed before it started is no longer good for it, however young."""
    recorded = plant.record()
    for end in (signal.SIGTERM, signal.SIGKILL):
        with plant.capture("host", plant.plc, "eth0") as host:
            plant.box.process.stop(end)
            plant.box.start()
            plant.box.wait_ready()
            plant.inject([plant.again(heard) for heard in recorded])
            wait_for("all drops are counted", lambda: plant.drops().total() >= len(recorded), 5)
        host.never(ARRIVED)
        assert set(+plant.drops()) == {"stale"}, plant.drops()
        plant.load.goes_on()
    cases(2 * len(recorded))
