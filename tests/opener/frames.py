"""Reading a pcap file down to the sealed packets in it: Ethernet, VLAN tags, IPv4 and IPv6.

Only what the opener needs; anything else in the capture is passed over.
"""

import struct
from dataclasses import dataclass

ETHERNET, VLAN_TAGS, IPV4, IPV6 = 1, (0x8100, 0x88A8), 0x0800, 0x86DD
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}


@dataclass
class Packet:
    """An IP packet: `payload` is what follows the headers that stay in clear."""

    number: int
    time: float
    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    is_fragment: bool


def sealed(file, protocol, udp_port=None):
    """The sealed packets of a capture, in order."""
    for number, time, frame in _frames(file):
        packet = _ip(frame)
        if packet is None:
            continue
        packet.number, packet.time = number, time
        if packet.protocol == protocol:
            yield packet
        elif udp_port and packet.protocol == UDP and not packet.is_fragment:
            source, destination, length = struct.unpack_from("!HHH", packet.payload)
            if source == destination == udp_port:
                packet.payload = packet.payload[8:length]
                yield packet


def _frames(file):
    header = file.read(24)
    kinds = {struct.pack(order + "I", magic): (order, fraction) for order in "<>"
             for magic, fraction in ((0xA1B2C3D4, 1e-6), (0xA1B23C4D, 1e-9))}
    if header[:4] not in kinds:
        raise ValueError("not a pcap file")
    order, fraction = kinds[header[:4]]
    if struct.unpack(order + "I", header[20:24])[0] & 0xFFFF != ETHERNET:
        raise ValueError("not a capture of Ethernet frames")
    number = 0
    while len(record := file.read(16)) == 16:
        number += 1
        seconds, parts, kept, on_wire = struct.unpack(order + "IIII", record)
        frame = file.read(kept)
        if kept != on_wire or len(frame) != kept:
            raise ValueError(f"frame {number} was cut by the capture")
        yield number, seconds + parts * fraction, frame


def _ip(frame):
    at = 12
    kind = struct.unpack_from("!H", frame, at)[0]
    while kind in VLAN_TAGS:
        at += 4
        kind = struct.unpack_from("!H", frame, at)[0]
    packet = frame[at + 2:]
    if kind == IPV4 and len(packet) >= 20:
        return _ipv4(packet)
    if kind == IPV6 and len(packet) >= 40:
        return _ipv6(packet)
    return None


def _ipv4(packet):
    start = (packet[0] & 15) * 4
    length, _, place = struct.unpack_from("!HHH", packet, 2)
    return Packet(0, 0.0, packet[12:16], packet[16:20], packet[9], packet[start:length],
                  bool(place & 0x3FFF))


def _ipv6(packet):
    length, protocol = struct.unpack_from("!HB", packet, 4)
    end, at = 40 + length, 40
    source, destination, is_fragment = packet[8:24], packet[24:40], False
    # Only hop-by-hop options stay in front of what is sealed.
    if protocol == 0 and at + 8 <= end:
        protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    if protocol == 44 and at + 8 <= end:
        protocol, at, is_fragment = packet[at], at + 8, True
    return Packet(0, 0.0, source, destination, protocol, packet[at:end], is_fragment)


def name(protocol, inside):
    """What a packet is, for people: `tcp 502`, `udp 20000`, `icmp 8`."""
    if protocol in (TCP, UDP) and len(inside) >= 4:
        return f"{NAMES[protocol]} {min(struct.unpack_from('!HH', inside))}"
    if protocol in (ICMP, ICMPV6) and inside:
        return f"{NAMES[protocol]} {inside[0]}"
    return f"protocol {protocol}"


def checksum_is_right(packet, protocol, inside):
    """RFC 1071 over the payload, with the pseudo-header where there is one."""
    pseudo = (packet.source + packet.destination + struct.pack("!II", len(inside), protocol))
    if protocol == UDP and inside[6:8] == b"\0\0":
        return len(packet.source) == 4
    if protocol == ICMP:
        return _sum(inside) == 0xFFFF
    if protocol in (TCP, UDP, ICMPV6):
        return _sum(pseudo + inside) == 0xFFFF
    return True


def _sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
