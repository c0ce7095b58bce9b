#!/usr/bin/python3
"""Runs where the wire is: puts frames onto it, as they are.

    inject.py DEVICE FILE                  every frame of FILE: a length in two bytes, then the frame
    inject.py DEVICE FILE SECONDS RATE     the frames of FILE again and again, some bytes at random

A flood's FILE begins with a line of JSON: [[offset, length], …], the bytes that are random in each frame.
Prints one JSON object: how many frames went out.
"""

import json
import os
import socket
import struct
import sys
import time

# What a queue of the kernel surely takes, and how often: what is counted must not depend on its length.
BATCH, PAUSE = 64, 0.01


def frames(data):
    at = 0
    while at < len(data):
        length = struct.unpack_from("!H", data, at)[0]
        yield data[at + 2:at + 2 + length]
        at += 2 + length


def once(wire, data):
    sent = 0
    for frame in frames(data):
        wire.send(frame)
        sent += 1
        if sent % BATCH == 0:
            time.sleep(PAUSE)
    return sent


def flood(wire, data, seconds, rate):
    line, data = data.split(b"\n", 1)
    spots = json.loads(line)
    patterns = [bytearray(frame) for frame in frames(data)]
    start, sent = time.monotonic(), 0
    while (passed := time.monotonic() - start) < seconds:
        while sent < passed * rate:
            frame = patterns[sent % len(patterns)]
            for offset, length in spots:
                frame[offset:offset + length] = os.urandom(length)
            wire.send(frame)
            sent += 1
        time.sleep(0.001)
    return sent


def main(device, file, *numbers):
    with open(file, "rb") as source, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((device, 0))
        data = source.read()
        sent = flood(wire, data, *map(float, numbers)) if numbers else once(wire, data)
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
