"""Sends a datagram in a frame made by hand: frames.py INTERFACE TAGS SOURCE_PORT.

10.9.0.1 to 10.9.0.2 port 502, to everybody, with VLAN tags 101, 102 of priority 5.
"""
import socket
import struct
import sys

interface, tags, source_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def checksum(header):
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


payload = b"data"
udp = struct.pack("!HHHH", source_port, 502, 8 + len(payload), 0) + payload
addresses = bytes([10, 9, 0, 1]) + bytes([10, 9, 0, 2])
header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0) + addresses
header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
with open(f"/sys/class/net/{interface}/address", encoding="ascii") as file:
    source = bytes.fromhex(file.read().strip().replace(":", ""))
vlans = b"".join(struct.pack("!HH", 0x8100, 0xA000 | (101 + n)) for n in range(tags))
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((interface, 0))
link.send(b"\xff" * 6 + source + vlans + b"\x08\x00" + header + udp)
