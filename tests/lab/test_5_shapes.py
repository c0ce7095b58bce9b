"""Line 5, for every shape: a host gets byte for byte what a plain bridge would have brought it, whether its
packets came one by one or uncut from the sender's network card, and whether they can be joined on the way."""

import os
import random
import struct
import sys
from collections import defaultdict

import pytest

import attaches
from daemons import EVERYTHING, GROUP, Box, KeyServer, bring_up
from forging import checksum, ethernet, frames, right
from netns import PATIENCE
from plant import REPOSITORY, scale
from shapes import LAST, MARK, VIRTIO
from topology import Lab

STANDALONE = True
SHAPES = REPOSITORY / "tests" / "lab" / "shapes.py"
TCP, UDP = frames.TCP, frames.UDP
ACK, PSH, FIN, URG, CWR = 0x10, 0x08, 0x01, 0x20, 0x80
NEEDS_CHECKSUM, CUT_TCP, CUT_UDP = 1, {4: 1, 6: 4}, 5
# Longer ones do not fit the path once sealed, and TSG may not send them on as they are.
LONGEST = 1400
ROUNDS = max(10, int(60 * scale()))
# So many are on their way at once: the kernel's queues surely take what they are cut into.
BATCH = 8
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
OPTIONS = (b"", b"\x94\x04\x00\x00", b"\x01\x01\x01\x00\x01\x01\x01\x00")
EXTENSIONS = {0: b"\x01\x04\x00\x00\x00\x00", 60: b"\x01\x04\x00\x00\x00\x00"}


class Shapes:
    """Frames from one host to the other, the same for the same seed."""

    def __init__(self, plant, seed, fragments):
        self.random, self.fragments = random.Random(seed), fragments
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        self.macs = hmi.ns.mac("eth0"), plc.ns.mac("eth0")
        self.ends = {version: (plc.packed(version), hmi.packed(version)) for version in (4, 6)}
        self.made, self.since, self.port, self.id = [], 0, 20_000, 1

    def bytes(self, length):
        return self.random.randbytes(length)

    def add(self, version, packet, header=VIRTIO.pack(0, 0, 0, 0, 0, 0)):
        destination, source = self.macs
        frame = header + ethernet(destination, version, packet, source=source)
        self.made.append(struct.pack("!H", len(frame)) + frame)
        self.since += 1

    def mark(self):
        """What was made until now must have arrived before more is sent."""
        if self.since >= BATCH:
            self.id += 1
            self.add(4, self.ip(4, UDP, self.udp(4, MARK)))
            self.since = 0

    def ip(self, version, protocol, payload, place=0x4000, options=b"", dscp=0, ttl=64):
        """An IP packet with the next identification, or one that only the same place needs."""
        source, destination = self.ends[version]
        if version == 6:
            return struct.pack("!IHBB", 6 << 28 | dscp << 20, len(payload), protocol, ttl) + \
                source + destination + payload
        length = 20 + len(options)
        header = struct.pack("!BBHHHBBH", 0x40 | length // 4, dscp, length + len(payload), self.id & 0xFFFF,
                             place, ttl, protocol, 0)
        return right(header + source + destination + options + payload)

    def pseudo(self, version, protocol, length):
        return b"".join(self.ends[version]) + struct.pack("!II", length, protocol)

    def upper(self, version, protocol, header, at, body, how="right"):
        """Header and body with the checksum at `at`: right, wrong, none, or left to the network card."""
        whole = header + body
        pseudo = self.pseudo(version, protocol, len(whole))
        total = checksum(pseudo + whole) or 0xFFFF
        total = {"right": total, "wrong": total ^ 0x0101, "none": 0, "partial": 0xFFFF - checksum(pseudo)}[how]
        return header[:at] + struct.pack("!H", total) + header[at + 2:] + body

    def tcp(self, version, body, sequence, flags=ACK, options=b"", how="right"):
        header = struct.pack("!HHIIBBHHH", self.port, 502, sequence & 0xFFFFFFFF, 7,
                             (20 + len(options)) // 4 << 4, flags, 8192, 0, 0) + options
        return self.upper(version, TCP, header, 16, body, how)

    def udp(self, version, body, how="right"):
        return self.upper(version, UDP, struct.pack("!HHHH", self.port, 20000, 8 + len(body), 0), 6, body, how)

    def uncut(self, version, protocol, segment, head, kind, size):
        """One packet that is to be cut into pieces with `size` bytes of payload."""
        link = 14 + (20 if version == 4 else 40)
        at = 16 if protocol == TCP else 6
        header = VIRTIO.pack(NEEDS_CHECKSUM, kind, link + head, size, link, at)
        self.add(version, self.ip(version, protocol, segment), header)

    def uncut_tcp(self, version):
        options = self.random.choice((b"", TIMESTAMPS))
        size = self.random.choice((100, 536, 1000, LONGEST - 92))
        body = self.bytes(self.random.randrange(size + 1, min(60_000, 90 * size)))
        flags = ACK | self.random.choice((0, PSH, PSH | FIN, CWR))
        segment = self.tcp(version, body, self.random.getrandbits(32), flags, options, "partial")
        self.uncut(version, TCP, segment, 20 + len(options), CUT_TCP[version], size)
        self.id += 1_000

    def uncut_udp(self, version):
        size = self.random.choice((1, 36, 484, LONGEST - 48))
        count = self.random.randrange(2, 40)
        body = self.bytes(size * count - self.random.randrange(size))
        self.uncut(version, UDP, self.udp(version, body, "partial"), 8, CUT_UDP, size)
        self.id += 1_000

    def tcp_train(self, version):
        """Segments that follow each other, and now and then one that has something of its own."""
        size, sequence = self.random.choice((1, 100, 1000)), self.random.getrandbits(32)
        options = self.random.choice((b"", TIMESTAMPS))
        for _ in range(self.random.randrange(2, 30)):
            odd = self.random.choice(("",) * 12 + ("hole", "wrong", "push", "urgent", "dscp", "short", "empty", "id"))
            sequence += 5 if odd == "hole" else 0
            body = self.bytes({"short": max(1, size // 2), "empty": 0}.get(odd, size))
            flags = ACK | {"push": PSH, "urgent": URG}.get(odd, 0)
            segment = self.tcp(version, body, sequence, flags, options, "wrong" if odd == "wrong" else "right")
            self.id += 7 if odd == "id" else 0
            self.add(version, self.ip(version, TCP, segment, dscp=8 if odd == "dscp" else 0))
            self.id += 1
            sequence += len(body)

    def udp_train(self, version):
        size = self.random.choice((1, 36, 484))
        for _ in range(self.random.randrange(2, 80)):
            odd = self.random.choice(("",) * 12 + ("none", "wrong", "short", "long", "ttl", "cut", "id"))
            how = odd if odd in ("wrong", "none") and version == 4 else "right"
            body = self.bytes({"short": max(1, size // 2), "long": size + 3}.get(odd, size))
            self.id += {"id": 7, "cut": -1}.get(odd, 0)
            packet = self.ip(version, UDP, self.udp(version, body, how), ttl=9 if odd == "ttl" else 64,
                             place=0 if odd == "cut" else 0x4000)
            self.add(version, packet)
            self.id += 1

    def single(self, version):
        """A protocol without ports, or headers in front of the datagram."""
        body = self.bytes(self.random.randrange(4, LONGEST - 100))
        self.id += 1
        if version == 4:
            return self.add(4, self.ip(4, self.random.choice((47, 132, 200)), body, options=self.random.choice(OPTIONS),
                                       place=self.random.choice((0, 0x4000))))
        kind = self.random.choice(list(EXTENSIONS))
        return self.add(6, self.ip(6, kind, bytes((UDP, 0)) + EXTENSIONS[kind] + self.udp(6, body)))

    def in_fragments(self, version):
        if not self.fragments:
            return
        size = 8 * self.random.randrange(1, 150)
        datagram = self.udp(version, self.bytes(self.random.randrange(size + 1, 5 * size)))
        self.id += 1
        for offset in range(0, len(datagram), size):
            piece, more = datagram[offset:offset + size], offset + size < len(datagram)
            if version == 4:
                self.add(4, self.ip(4, UDP, piece, place=offset // 8 | (0x2000 if more else 0)))
            else:
                header = struct.pack("!BBHI", UDP, 0, offset | more, self.id)
                self.add(6, self.ip(6, 44, header + piece))

    def make(self):
        kinds = (self.uncut_tcp, self.uncut_udp, self.tcp_train, self.udp_train, self.single, self.in_fragments)
        for _ in range(ROUNDS):
            for kind in kinds:
                self.port += 1
                kind(self.random.choice((4, 6)))
                self.mark()
        self.port += 1
        for _ in range(20):
            self.id += 1
            self.add(4, self.ip(4, UDP, self.udp(4, LAST)))
        return b"".join(self.made)


class Pair:
    """plc – gwa – switch – gwb – hmi. What reaches hmi's cable is cut, so that what is heard is packets."""

    def __init__(self, lab, cut_at_wan):
        switch = lab.switch()
        self.server = KeyServer(lab.server(switch))
        self.gateways = [lab.gateway(name, switch) for name in ("gwa", "gwb")]
        self.hosts = {name: lab.host(name, gateway) for name, gateway in zip(("plc", "hmi"), self.gateways)}
        self.gateways[1].run("ethtool", "-K", "lan0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off",
                             "tx", "off")
        if cut_at_wan:
            for gateway in self.gateways:
                gateway.cut_at_wan()
                # Whoever cuts TCP writes its checksum. The kernel has two zeros for it, one when it cuts and another later.
                gateway.run("ethtool", "-K", "wan0", "tx", "off")
        # Only what was sent on purpose.
        for host in self.hosts.values():
            host.run("nft", "-f", "-", input="table inet quiet { chain out { type filter hook output priority 0; "
                     "meta l4proto tcp drop; icmp type != { echo-request, echo-reply } drop; "
                     "icmpv6 type { 1, 2, 3, 4 } drop; }; }")
        lab.ready()

    def arrives(self, seed, fragments):
        """What hmi gets of the shapes, flow by flow in its order."""
        plc, hmi = self.hosts["plc"], self.hosts["hmi"]
        # From a bridge's queue come pieces without their Ethernet header: what is before them between the two tells it.
        for version in (4, 6):
            plc.run("ping", f"-{version}", "-c", 1, "-w", int(10 * PATIENCE), hmi.address(version))
        file, socket = (plc.lab.run.folder / name for name in ("shapes", "heard"))
        socket.unlink(missing_ok=True)
        file.write_bytes(Shapes(self, seed, fragments).make())
        ear = hmi.start(sys.executable, SHAPES, "hear", "eth0", socket, log="shapes")
        ear.wait_line(lambda line: line == "listening")
        plc.run(sys.executable, SHAPES, "send", "eth0", file, socket, timeout=120 * PATIENCE)
        assert ear.wait(30 * PATIENCE) == 0, ear.complaint()
        flows = defaultdict(list)
        for line in ear.lines[1:]:
            packet = bytes.fromhex(line)
            if LAST not in packet and self.is_shape(packet):
                flows[flow(packet)].append(packet)
        return flows

    def is_shape(self, packet):
        plc, hmi = self.hosts["plc"], self.hosts["hmi"]
        version = packet[0] >> 4
        ends = plc.packed(version) + hmi.packed(version)
        at = 12 if version == 4 else 8
        return packet[at:at + len(ends)] == ends and packet[9 if version == 4 else 6] not in (1, 58)


def flow(packet):
    """What order counts in."""
    if packet[0] >> 4 == 6:
        return packet[6], packet[8:44]
    fragment = struct.unpack_from("!H", packet, 6)[0] & 0x3FFF
    at = (packet[0] & 15) * 4
    return packet[9], packet[12:20], packet[4:6] if fragment else packet[at:at + 4]


@pytest.mark.parametrize(("encap", "cut_at_wan"), (("protocol", False), ("udp", False), ("udp", True)))
def test_every_shape_arrives_as_from_a_plain_bridge(attach, encap, cut_at_wan, cases):
    # An iptables queue gets fragments put together, and cuts them as it pleases.
    fragments = attach != "nfqueue" or attaches.without_bridge_queue() is None
    seed = int(os.environ.get("TSG_LAB_SEED") or random.SystemRandom().getrandbits(32))
    print(f"seed {seed}")
    with Lab("shapes") as lab:
        pair = Pair(lab, cut_at_wan)
        wanted = pair.arrives(seed, fragments)
        pair.server.start()
        pair.server.group(GROUP, EVERYTHING, mode="enforce", encap=encap)
        boxes = [Box(gateway, pair.server, attach) for gateway in pair.gateways]
        bring_up(pair.server, boxes)
        joins = "rx-udp-gro-forwarding: " + ("off" if attach == "nfqueue" else "on")
        for gateway in pair.gateways:
            assert joins in gateway.run("ethtool", "-k", "wan0").stdout
        got = pair.arrives(seed, fragments)
        sealed = boxes[0].status()["counters"]
        # Told in a line each: the packets themselves would fill pages.
        wrong = [differs(got[key], packets) for key, packets in wanted.items() if got[key] != packets]
        assert not wrong, f"{len(wrong)} of {len(wanted)} flows, seed {seed}; the first: {wrong[0]}"
        assert got.keys() == wanted.keys()
        number = sum(map(len, wanted.values()))
        assert sealed["sealed"] >= number, sealed
        cases(number)


def differs(got, wanted):
    """Where two flows part."""
    for number, (one, other) in enumerate(zip(got, wanted)):
        if one != other:
            return f"packet {number} of {len(wanted)}:\n{one.hex()}\n{other.hex()}"
    return f"{len(got)} of {len(wanted)} packets: {wanted[min(len(got), len(wanted) - 1)].hex()}"
