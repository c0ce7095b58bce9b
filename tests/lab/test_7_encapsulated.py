"""Attacks on a group that carries ESP in UDP: what is another header in front of it must not be another way in."""

import pytest

from forging import HEADER, MARK, UDP_HEADER, VERSIONS, icmp, ip, looks_sealed, tcp, udp
from siege import FLOOD, besieged

PORT = 4253
UDP, TCP, ICMP, ICMPV6 = 17, 6, 1, 58
BOTH = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def plant(attach):
    with besieged(attach, PORT) as plant:
        yield plant


@BOTH
def test_every_bit_flipped(plant, version, cases):
    # A bit of the outer header makes a fragment of it, in which no port is seen.
    cases(plant.repels_flipped(version, "in_clear"))


@BOTH
def test_every_length(plant, version, cases):
    # iptables drops by itself what should have ports and has no room for them.
    own = 4 if plant.box.status()["bridges"][0]["attach"] == "nfqueue-iptables" else 0
    cases(plant.repels_cut(version, uncounted=own))


def test_replay(plant, cases):
    cases(plant.repels_replays())


def test_plaintext_to_and_from_that_port(plant, cases):
    """What is no ESP there is malformed, whatever it is; and what is for other ports is in clear as ever."""
    packets = {version: [ip(*plant.ends(version), UDP, udp(*plant.ends(version), PORT, PORT, data))
                         for data in (b"", MARK, MARK * 9, bytes(4) + MARK * 9, b"\xff" + MARK)]
               + [ip(*plant.ends(version), UDP, udp(*plant.ends(version), *ports, MARK))
                  for ports in ((PORT, 20000), (20000, 9))]
               + [ip(*plant.ends(version), TCP, tcp(*ports, MARK)) for ports in ((PORT, 502), (502, PORT))]
               for version in VERSIONS}
    frames = [frame for version in VERSIONS for frame in plant.frames(version, packets[version])]
    cases(plant.repelled(frames, "malformed", "unknown_epoch", "in_clear"))


@BOTH
def test_icmp_about_it(plant, version, cases):
    """Forged for what crosses in UDP, and for what is in it."""
    hmi, plc = plant.ends(version)
    protocol, kinds = {4: (ICMP, [(3, 3, 0), (3, 4, 576)]), 6: (ICMPV6, [(1, 4, 0), (2, 0, 1280)])}[version]
    quotes = [ip(plc, hmi, UDP, udp(plc, hmi, PORT, PORT, bytes(range(40)) + MARK)),
              ip(plc, hmi, UDP, udp(plc, hmi, 20000, 20000, MARK))]
    packets = [ip(hmi, plc, protocol, icmp(version, *kind, quote)) for kind in kinds for quote in quotes]
    cases(plant.repelled(plant.frames(version, packets), "icmp_about_sealed", "in_clear"))


@BOTH
def test_flood_of_random_spis(plant, version, cases):
    at = 14 + HEADER[version] + UDP_HEADER
    frames = plant.frames(version, [looks_sealed(*plant.ends(version), 0, 0, 0, PORT)])
    # Four labs may be flooded at once.
    cases(plant.flood(frames, FLOOD[0], FLOOD[1] / 2, spots=[(at, 4), (at + 16, 48)]))
