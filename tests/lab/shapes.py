#!/usr/bin/python3
"""Runs on a host: sends packets of every shape, or tells which arrive.

    shapes.py send DEVICE FILE     the frames of FILE: a length in two bytes, a header of virtio-net, the frame
    shapes.py hear DEVICE          prints every IP packet that comes in, in hexadecimal, until one holds LAST and
                                   none follows
"""

import socket
import struct
import sys
import time

SOL_PACKET, VIRTIO_HEADERS, ALL, RECEIVE_BUFFER_FORCE = 263, 15, 3, 33
VIRTIO = struct.Struct("=BBHHHH")
LAST = b"the last of all shapes"
# What the kernel's queues surely take.
BATCH, PAUSE = 16, 0.01
OUTGOING = 4
SILENCE = 1.0
ETHERNET, IPV4, IPV6 = 14, b"\x08\x00", b"\x86\xdd"


def send(device, file):
    with open(file, "rb") as source, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.setsockopt(SOL_PACKET, VIRTIO_HEADERS, 1)
        wire.bind((device, 0))
        sent = 0
        while header := source.read(2):
            wire.send(source.read(struct.unpack("!H", header)[0]))
            sent += 1
            if sent % BATCH == 0:
                time.sleep(PAUSE)
    print(sent)


def hear(device):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as wire:
        wire.bind((device, ALL))
        wire.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, 64 << 20)
        print("listening", flush=True)
        while True:
            try:
                frame, (_, _, kind, *_) = wire.recvfrom(1 << 17)
            except TimeoutError:
                return
            packet = ip_packet(frame)
            if kind == OUTGOING or packet is None:
                continue
            print(packet.hex())
            if LAST in packet:
                # What took another way may still come.
                wire.settimeout(SILENCE)


def ip_packet(frame):
    """The packet in a frame, without padding behind it."""
    kind, packet = frame[ETHERNET - 2:ETHERNET], frame[ETHERNET:]
    if kind == IPV4:
        return packet[:struct.unpack_from("!H", packet, 2)[0]]
    if kind == IPV6:
        return packet[:40 + struct.unpack_from("!H", packet, 4)[0]]
    return None


if __name__ == "__main__":
    {"send": send, "hear": hear}[sys.argv[1]](*sys.argv[2:])
