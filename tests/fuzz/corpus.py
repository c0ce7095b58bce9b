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
    write("worker", name, struct.pack("<H", 100) + packet)
for name, (form, packet) in SEALED.items():
    write("open", name, bytes([form]) + packet)
    write("worker", "sealed_" + name, struct.pack("<H", 100) + packet)
for name, packet in ERRORS.items():
    write("worker", name, struct.pack("<H", 100) + packet)
    write("icmp_quote", name, struct.pack("!H", 1400) + packet)
for name, datagram in DATAGRAMS.items():
    write("udp", name, datagram)


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
