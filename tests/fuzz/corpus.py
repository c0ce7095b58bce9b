#!/usr/bin/env python3
"""Writes the first inputs of the packet targets into corpus/, where they are committed."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"
V4 = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
V6 = bytes.fromhex("fd000000000000000000000000000001"), bytes.fromhex("fd000000000000000000000000000002")


def ipv4(protocol, payload, options=b"", flags=0, ident=7):
    length = 20 + len(options)
    header = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), ident, flags, 64, protocol, 0)
    header += V4[0] + V4[1] + options
    total = sum(struct.unpack(f"!{length // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", 0xFFFF - total) + header[12:] + payload


def ipv6(next_header, payload):
    return struct.pack("!IHBB", 0x60000000, len(payload), next_header, 64) + V6[0] + V6[1] + payload


def extended(next_header, payload, units=0):
    return bytes([next_header, units]) + bytes(6 + 8 * units) + payload


def fragment(next_header, payload, offset=0, more=1, ident=9):
    return struct.pack("!BBHI", next_header, 0, offset | more, ident) + payload


def udp(payload, port=502):
    return struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload


def tcp(options=b"", flags=2):
    return struct.pack("!HHIIBBHHH", 49152, 502, 1, 0, (20 + len(options)) << 2, flags, 8192, 0, 0) + options


def esp(payload=b"pump", next_header=6):
    trailer = bytes([1, 2, 2, next_header]) if len(payload) % 4 == 0 else bytes([0, next_header])
    body = payload + trailer
    return struct.pack("!IIII", 0x01000001, 1, 5000, 1) + body + bytes(16)


PLAIN = {
    "v4_udp": ipv4(17, udp(b"hello")),
    "v4_syn": ipv4(6, tcp(bytes([2, 4, 5, 180, 1, 3, 3, 7]))),
    "v4_syn_odd": ipv4(6, tcp(bytes([1, 2, 4, 5, 180, 1, 1, 0]))),
    "v4_data": ipv4(6, tcp(flags=16) + b"level"),
    "v6_pushed": ipv6(6, tcp(flags=24) + b"level"),
    "v4_options": ipv4(6, tcp(), bytes([148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0])),
    "v4_source_route": ipv4(6, tcp(), bytes([131, 7, 4, 10, 0, 0, 9, 0])),
    "v4_first": ipv4(17, udp(bytes(24)), flags=0x2000),
    "v4_later": ipv4(17, bytes(24), flags=4),
    "v6_udp": ipv6(17, udp(b"hello")),
    "v6_syn": ipv6(6, tcp(bytes([2, 4, 5, 180]))),
    "v6_hops": ipv6(0, extended(60, extended(6, tcp(bytes([2, 4, 5, 180]))), 1)),
    "v6_routing": ipv6(43, extended(6, tcp())),
    "v6_first": ipv6(44, fragment(17, udp(bytes(24)))),
    "v6_later": ipv6(60, extended(44, fragment(17, bytes(24), 16, 0))),
}
SEALED = {
    "v4": (0, ipv4(253, esp())),
    "v4_udp": (1, ipv4(17, udp(esp(), 4253))),
    "v4_routed": (2, ipv4(50, esp(next_header=4))),
    "v4_fragment": (0, ipv4(253, esp(fragment(17, bytes(16)), 44))),
    "v6": (0, ipv6(253, esp())),
    "v6_hops": (0, ipv6(0, extended(253, esp()))),
    "v6_udp": (3, ipv6(17, udp(esp(), 4500))),
    "v6_fragment": (0, ipv6(253, esp(fragment(17, bytes(16)), 44))),
}
ERRORS = {
    "v4_unreachable": ipv4(1, bytes([3, 3]) + bytes(6) + PLAIN["v4_udp"]),
    "v4_too_big": ipv4(1, bytes([3, 4]) + bytes(6) + PLAIN["v4_syn"][:28]),
    "v6_unreachable": ipv6(58, bytes([1, 4]) + bytes(6) + PLAIN["v6_udp"]),
    "v6_too_big": ipv6(58, bytes([2, 0]) + bytes(6) + PLAIN["v6_hops"]),
}
DATAGRAMS = {
    "esp_4253": udp(esp(), 4253),
    "esp_4500": udp(esp(), 4500),
    "ike": udp(bytes(4) + b"ike", 4500),
    "keepalive": udp(b"\xff", 4500),
}


def write(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# Found by fuzzing: a header checksum of 0xffff, which is the other zero of one's complement.
minus_zero = PLAIN["v4_udp"][:10] + b"\xff\xff" + PLAIN["v4_udp"][12:]
write("ip_outline", "v4_checksum_minus_zero", b"\0" + minus_zero)
for name, packet in PLAIN.items():
    write("ip_outline", name, b"\0" + packet)
    write("fragment_pieces", name, b"\0" + struct.pack("!H", 96) + packet)
    write("icmp_quote", name, struct.pack("!H", 1400) + packet)
    write("mss", name, struct.pack("!H", 1000) + packet)
    for flags in range(4):
        write("segments", f"{name}_{flags}", struct.pack("!BH", flags, 3) + packet)
    write("worker", name, struct.pack("<H", 100) + packet)
for name, (form, packet) in SEALED.items():
    write("open", name, bytes([form]) + packet)
    write("worker", "sealed_" + name, struct.pack("<H", 100) + packet)
for name, packet in ERRORS.items():
    write("worker", name, struct.pack("<H", 100) + packet)
    write("icmp_quote", name, struct.pack("!H", 1400) + packet)
for name, datagram in DATAGRAMS.items():
    write("udp", name, datagram)
for name, packet in PLAIN.items():
    write("tunnel", name, esp(packet, 4 if name.startswith("v4") else 41))
write("tunnel", "dummy", esp(b"", 59))
write("tunnel", "hello", bytes([1, 1, 4, 0]) + struct.pack("!I", 0x01000010) + bytes(range(1, 33)) + bytes(32))


def attribute(kind, value):
    """As the kernel writes it on a little-endian machine."""
    return (struct.pack("<HH", 4 + len(value), kind) + value).ljust((7 + len(value)) & ~3, b"\0")


def message(kind, body):
    return struct.pack("<IHHII", 16 + len(body), kind, 0, 1, 0) + body


QUEUED = attribute(1, struct.pack("!IHBx", 7, 0x0800, 1)) + attribute(0x8013, attribute(1, b"\x81\0")) + attribute(10, PLAIN["v4_udp"])
write("netlink", "queued", message(0x0300, bytes(4) + QUEUED))
write("netlink", "acknowledged", message(2, bytes(4) + message(0x0302, bytes(4))))
write("netlink", "refused", message(2, struct.pack("<i", -17)) + message(3, bytes(4)))
# Found by fuzzing: the one error number that has no opposite.
write("netlink", "lowest_error", message(2, struct.pack("<i", -(2**31))))

for name, body in {
    "filter": bytes(20) + attribute(1, b"bpf\0") + attribute(2, attribute(11, struct.pack("<I", 7))),
    "hook": struct.pack("<IIIII", 0, 5, 0xFFFF0000, 0xFFFFFFF1, 0) + attribute(7, attribute(3, struct.pack("<III", 0, 0, 9))),
    "interface": bytes(16) + attribute(1, bytes(6)) + attribute(10, struct.pack("<I", 3)),
    "neighbour": struct.pack("<III", 7, 4, 0) + attribute(2, bytes([2, 0, 0, 0, 0, 1])),
    "generation": bytes(4) + attribute(1, struct.pack("!I", 9)),
}.items():
    write("netlink", name, message(0x0A10, body))

ADDRESSES = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2])
HEADERS = attribute(7, struct.pack("!I", 5)) + attribute(8, struct.pack("!I", 6)) + attribute(9, struct.pack("!HH", 6, 0) + ADDRESSES[6:] + bytes(2))


def queued(family, ether_type, *parts):
    return message(0x0300, bytes([family, 0, 0, 3]) + attribute(1, struct.pack("!IHB", 7, ether_type, 1)) + b"".join(parts))


TAG = attribute(0x8013, attribute(2, b"\xa0\x05") + attribute(1, b"\x81\0"))
for name, datagram in {
    "bridge": queued(7, 0x0800, HEADERS, attribute(20, ADDRESSES + b"\x08\0"), attribute(10, PLAIN["v4_udp"])),
    "tagged": queued(7, 0x86DD, HEADERS, TAG, attribute(20, ADDRESSES + b"\x86\xdd"), attribute(10, PLAIN["v6_udp"])),
    "two_tags": queued(7, 0x8100, TAG, attribute(20, ADDRESSES + b"\x81\0"), attribute(10, b"\0\x07\x08\0" + PLAIN["v4_udp"])),
    "headless": queued(7, 0x0800, HEADERS, TAG, attribute(20, b"\xa0\x06\x08\0"), attribute(10, PLAIN["v4_syn"])),
    "routed": queued(2, 0x0800, HEADERS, attribute(3, struct.pack("!I", 1)), attribute(10, PLAIN["v4_udp"])),
    "no_payload": queued(2, 0x0800, HEADERS),
    "refused": message(2, struct.pack("<i", -17)) + queued(2, 0x0800, attribute(10, PLAIN["v4_udp"])),
}.items():
    write("queue", name, datagram)

ARP = bytes([0, 1, 8, 0, 6, 4, 0, 1]) + ADDRESSES[6:] + V4[0] + bytes(6) + V4[1]
ADVERTISEMENT = ipv6(58, bytes([136, 0, 0, 0, 0, 0, 0, 0]) + V6[0])
FRAMES = {
    "arp": (b"\x08\x06", ARP),
    "advertisement": (b"\x86\xdd", ADVERTISEMENT),
    "tagged": (b"\x81\0\0\x05\x08\x06", ARP),
    "two_tags": (b"\x88\xa8\0\x05\x81\0\0\x06\x08\0", PLAIN["v4_udp"]),
    "three_tags": (b"\x88\xa8\0\x05\x81\0\0\x06\x81\0\0\x07\x08\0", PLAIN["v4_udp"]),
    "profinet": (b"\x88\x92", bytes(46)),
}
for name, (ether_type, body) in FRAMES.items():
    write("frame", name, b"\0" + ADDRESSES + ether_type + body)
write("frame", "tag_taken_off", b"\x0b" + ADDRESSES + b"\x08\x06" + ARP)

RULES = b"""encrypt name=modbus proto=tcp dest_port=502
drop src_ip=192.0.2.0/25,fd00::/64 proto=udp src_port=1-3,161 dest_port=500-600
bypass proto=icmp,icmpv6,47 dest_ip=192.0.2.2
+encrypt proto=sctp,tcp dest_ip=fd00::/127
"""
for number, (name, packet) in enumerate({**PLAIN, **ERRORS, "sealed": SEALED["v4"][1], "sealed_udp": SEALED["v4_udp"][1]}.items()):
    ether_type = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
    # Settings of the plan, and of the frame: whose port, marked, from where.
    write("gate", name, bytes([number * 5 % 64]) + RULES + b"\0" + bytes([number % 16]) + ADDRESSES + ether_type + packet)
# Found by fuzzing: a fragment that no host accepts, of 33 bytes and not the last; a frame that ends in its tags.
odd = ipv4(17, udp(bytes(25)), flags=0x2000)
write("gate", "odd_fragment", b"\x19" + RULES + b"bypass\n\0\4" + ADDRESSES + b"\x08\0" + odd)
write("gate", "cut_in_its_tags", b"\0\0\4" + ADDRESSES + b"\x81\0")
for name, (ether_type, body) in FRAMES.items():
    write("gate", name, b"\0" + RULES + b"\0\x04" + ADDRESSES + ether_type + body)
SAVED = b"*mangle\n:FORWARD ACCEPT [0:0]\n:TSG/wan/top - [0:0]\n-A FORWARD -j TSG/wan/top\n-A TSG/wan/top -j DROP\nCOMMIT\n"
for settings in (0, 3, 13, 22, 32, 63):
    write("rules", f"settings_{settings}", bytes([settings]) + RULES + b"\0" + (SAVED if settings % 2 else b""))
