"""Frames that an attacker on the plant network could send, and some that only a member could make.

Sealed packets are made from docs/protocol.md with the keys that the key server reveals, by the opener's
key schedule and not by ours: so a test can show that a packet is opened as it is, and not once a bit of
it is changed.
"""

import ipaddress
import struct
import sys
import time

from plant import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tests" / "opener"))

import frames  # noqa: E402
import opener  # noqa: E402

MARK = b"FORGED-IN-THE-LAB"
# Nobody else has it: whatever arrives from it at a host got through.
ATTACKER = bytes.fromhex("02bad0bad0ba")
VERSIONS = (4, 6)
SEALED, HEADER, ETHER_TYPE = 253, {4: 20, 6: 40}, {4: b"\x08\x00", 6: b"\x86\xdd"}
UDP_HEADER = 8
# Bits of the IP header that are not authenticated (docs/protocol.md 1.4); the protocol number, as with another one the packet
# is none of the sealed ones; and the version, which is another matter.
UNPROTECTED = {4: [*range(4), *range(8, 16), *range(32, 50), *range(64, 96)],
               6: [*range(32), *range(48, 64)]}
# No gateway is given this many numbers, and the key server announces at least 256.
SENDER = 200


def ethernet(destination, version, packet, source=ATTACKER, tags=()):
    """A frame; `tags` are pairs of EtherType and VLAN, the outermost first."""
    stack = b"".join(struct.pack("!HH", tag, vlan) for tag, vlan in tags)
    return destination + source + stack + ETHER_TYPE[version] + packet


def ip(source, destination, protocol, payload, identification=1, place=0x4000):
    """An IP packet of the version that the addresses have. `place` are IPv4's flags and offset."""
    source, destination = (ipaddress.ip_address(address).packed for address in (source, destination))
    if len(source) == 16:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    else:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identification, place, 64,
                             protocol, 0)
    return right(header + source + destination + payload)


def right(packet):
    """An IPv4 packet with its header checksum put right; others as they are."""
    end = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or not 20 <= end <= len(packet):
        return packet
    header = packet[:10] + b"\0\0" + packet[12:end]
    return header[:10] + struct.pack("!H", checksum(header)) + packet[12:]


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def udp(source, destination, source_port, destination_port, data):
    """A UDP header and data, with its checksum."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    header = struct.pack("!HHHH", source_port, destination_port, 8 + len(data), 0)
    total = checksum(ends + struct.pack("!II", 8 + len(data), frames.UDP) + header + data)
    return header[:6] + struct.pack("!H", total or 0xFFFF) + data


def tcp(source_port, destination_port, data, flags=0x18):
    """A TCP header and data. The checksum is wrong: no gateway looks at it, and no host shall get it."""
    header = struct.pack("!HHIIBBHHH", source_port, destination_port, 7, 7, 0x50, flags, 8192, 0xBAD, 0)
    return header + data


def icmp(version, kind, code, field, quoted):
    """An ICMP error that quotes a packet."""
    body = struct.pack("!BBHI", kind, code, 0, field) + quoted
    return body if version == 6 else body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def carried(source, destination, esp, port=None):
    """ESP on the plant network, as an IP protocol or in UDP from and to this port."""
    if port:
        return ip(source, destination, frames.UDP, udp(source, destination, port, port, esp))
    return ip(source, destination, SEALED, esp)


class Member:
    """Seals as a member of the group, under a sender number that nobody uses; with `port` in UDP.

    The time comes from a sealed packet on the wire, as docs/protocol.md 1.2 gives it.
    """

    def __init__(self, keys, heard, sender=SENDER, port=None):
        self._port = port
        self._epochs = opener.Epochs(keys)
        self.epoch_byte, self._sender, self._sequence = heard.payload[0], sender, 0
        self._heard = struct.unpack_from("!I", heard.payload, 8)[0], heard.time

    @property
    def spi(self):
        return self.epoch_byte << 24 | self._sender

    def now(self):
        """The epoch's pseudo-time."""
        pseudo, seen = self._heard
        return int(pseudo + (time.time() - seen) * 1000) & 0xFFFFFFFF

    def seal(self, source, destination, protocol, payload, when=None):
        """A sealed packet with the next sequence number."""
        cipher, salt = self._epochs.sender(self.spi)
        self._sequence += 1
        iv = struct.pack("!II", self.now() if when is None else when, self._sequence)
        padding = bytes(range(1, 1 + -(len(payload) + 2) % 4))
        head = struct.pack("!II", self.spi, self._sequence)
        ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
        plain = payload + padding + bytes([len(padding), protocol])
        sealed = cipher.encrypt(salt + iv, plain, head + ends)
        return carried(source, destination, head + iv + sealed, self._port)

    def datagram(self, source, destination, when=None):
        """A sealed UDP datagram that the policy of the lab's plants wants sealed."""
        inside = udp(source, destination, 20000, 9, MARK)
        return self.seal(source, destination, frames.UDP, inside, when)


def looks_sealed(source, destination, epoch_byte, sender, pseudo_time, port=None):
    """What nobody can tell from a sealed packet without the key."""
    head = struct.pack("!IIII", epoch_byte << 24 | sender, 1, pseudo_time, 1)
    return carried(source, destination, head + bytes(48), port)


def sealed_in(capture, port=None):
    """The sealed packets of a capture that was stopped."""
    with capture.path.open("rb") as file:
        return list(frames.sealed(file, SEALED, port))


def protected(packet, port=None):
    """The bits of a sealed packet that the key or its shape protects."""
    version = packet[0] >> 4
    spared = set(UNPROTECTED[version])
    if port:
        header = 8 * HEADER[version]
        # But its length. With other ports, or an IPv4 header that ends elsewhere, it is any datagram.
        spared |= {*range(8), *range(header, header + 32), *range(header + 48, header + 8 * UDP_HEADER)}
    return [bit for bit in range(len(packet) * 8) if bit not in spared]


def flipped(packet, bits):
    """The packet with each of these bits turned over in turn, IPv4's header checksum put right."""
    for bit in bits:
        changed = bytearray(packet)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield right(bytes(changed))


def cut(packet):
    """The packet at every shorter length: cut on the wire, and with a header that agrees."""
    at = HEADER[packet[0] >> 4]
    for length in range(at, len(packet)):
        yield packet[:length]
        if at == 20:
            yield right(packet[:2] + struct.pack("!H", length) + packet[4:length])
        else:
            yield packet[:4] + struct.pack("!H", length - at) + packet[6:length]
