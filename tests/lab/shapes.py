#!/usr/bin/python3
"""Runs on a host: sends packets of every shape, or tells which arrive.

    shapes.py send DEVICE FILE SOCKET     the frames of FILE: a length in two bytes, a header of virtio-net, the frame;
                                          after one that holds MARK it waits until that was heard
    shapes.py hear DEVICE SOCKET          prints every other IP packet that comes in, in hexadecimal, until one holds
                                          LAST and none follows; tells of marks
"""

import contextlib
import socket
import struct
import sys
import time

from netns import PATIENCE

SOL_PACKET, VIRTIO_HEADERS, ALL, RECEIVE_BUFFER_FORCE = 263, 15, 3, 33
VIRTIO = struct.Struct("=BBHHHH")
LAST = b"the last of all shapes"
MARK = b"tell me when you heard this"
# Then a mark may have been lost, and is sent again; so often.
AGAIN, TRIES = 2.0 * PATIENCE, 5
OUTGOING = 4
SILENCE = 1.0 * PATIENCE
ETHERNET, IPV4, IPV6 = 14, b"\x08\x00", b"\x86\xdd"


def send(device, file, path):
    with (open(file, "rb") as source, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
          socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard):
        wire.setsockopt(SOL_PACKET, VIRTIO_HEADERS, 1)
        wire.bind((device, 0))
        heard.bind(path)
        heard.settimeout(AGAIN)
        while header := source.read(2):
            frame = source.read(struct.unpack("!H", header)[0])
            wire.send(frame)
            if MARK in frame:
                wait_for(heard, lambda frame=frame: wire.send(frame))


def wait_for(heard, again):
    for _ in range(TRIES):
        with contextlib.suppress(TimeoutError):
            heard.recv(16)
            return
        again()
    raise SystemExit(f"a mark was not heard, sent {TRIES} times")


def hear(device, path):
    with (socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as wire,
          socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard):
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
            if MARK in packet:
                # Who sent it twice may have gone by now.
                with contextlib.suppress(OSError):
                    heard.sendto(b"", path)
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
