#!/usr/bin/python3
"""Runs on a host of the lab: what a key server hears from people who have no business with it.

    hostile.py ADDRESS KEY hellos SECONDS    registrations of ever new keys, as fast as they go
    hostile.py ADDRESS KEY rest SECONDS      half-open connections, a deaf peer, malformed frames, 100 MB

ADDRESS is host:port, KEY the server's public key in base64. Prints one JSON object: what it did how often.
"""

import base64
import json
import os
import socket
import struct
import sys
import time
from collections import Counter

import zmq
from zmq.utils import z85

KEYS_AT_A_TIME, HELLOS_OF_A_KEY = 50, 20
HALF_OPEN, GREETING = 200, b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
LARGE = 100 << 20


def pack(value):
    """MessagePack, as far as a hello needs it."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack("!Q", value)
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())


def hello(number):
    """docs/protocol.md 2.1."""
    return pack({"v": 1, "body": {"register": {
        "request": number, "process": number, "name": f"stranger-{number}", "version": "1", "aes": True,
        "senders": 4, "holds": []}}})


class Strangers:
    """Sockets with keys that the server has never seen."""

    def __init__(self, address, key):
        self.context, self.address = zmq.Context(), f"tcp://{address}"
        self.key = z85.encode(base64.b64decode(key))
        self.did = Counter()

    def socket(self, curve=True):
        made = self.context.socket(zmq.DEALER)
        made.linger = 0
        if curve:
            made.curve_serverkey = self.key
            made.curve_publickey, made.curve_secretkey = zmq.curve_keypair()
        self.did["connections"] += 1
        return made

    def connected(self, **options):
        made = self.socket()
        for option, value in options.items():
            setattr(made, option, value)
        made.connect(self.address)
        return made

    def say(self, stranger, *frames):
        """Not for ever: who is thrown out may not send any more."""
        stranger.sndtimeo = 2000
        try:
            stranger.send_multipart(frames)
            self.did["messages"] += 1
        except zmq.Again:
            self.did["refused"] += 1


def hellos(strangers, end):
    number = 0
    while time.monotonic() < end:
        crowd = [strangers.connected() for _ in range(KEYS_AT_A_TIME)]
        for _ in range(HELLOS_OF_A_KEY):
            for stranger in crowd:
                number += 1
                strangers.say(stranger, hello(number))
        heard = zmq.Poller()
        for stranger in crowd:
            heard.register(stranger, zmq.POLLIN)
        strangers.did["answered"] += len(heard.poll(200))
        for stranger in crowd:
            stranger.close()


def rest(strangers, end):
    host, port = strangers.address.removeprefix("tcp://").rsplit(":", 1)
    openings = [b"", b"\xff", GREETING[:11], GREETING, b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096),
                GREETING + b"\x02" + struct.pack("!Q", 1 << 62),
                GREETING + b"\x06" + struct.pack("!Q", LARGE)]
    half_open = []
    for number in range(HALF_OPEN):
        half_open.append(socket.create_connection((host, port), timeout=5))
        half_open[-1].sendall(openings[number % len(openings)])
        strangers.did["half open"] += 1

    deaf = strangers.connected(rcvhwm=1, rcvbuf=2048)
    loud = strangers.connected()
    for number in range(2000):
        strangers.say(deaf, hello(number))
    good = hello(1)
    newer = good.replace(b"v" + pack(1), b"v" + pack(99))
    for frames in ([b""], [b"not MessagePack"], [good[:-3]], [b"\xdd\xff\xff\xff\xff"],
                   [b"\x81" * 60000], [newer], [good, good], [b"x"] * 300):
        strangers.say(loud, *frames)
    for stranger in (strangers.connected(), strangers.socket(curve=False)):
        stranger.connect(strangers.address)
        strangers.say(stranger, bytes(LARGE))
    raw = socket.create_connection((host, port), timeout=2)
    raw.sendall(GREETING + b"\x02" + struct.pack("!Q", LARGE))
    chunk, left = bytes(1 << 16), LARGE
    try:
        while left > 0:
            left -= raw.send(chunk)
    except OSError:
        strangers.did["cut off"] += 1
    while time.monotonic() < end:
        strangers.say(loud, hello(int(time.monotonic() * 1000)))
        zmq.select([], [], [], 0.02)


def main(address, key, what, seconds):
    strangers = Strangers(address, key)
    {"hellos": hellos, "rest": rest}[what](strangers, time.monotonic() + float(seconds))
    print(json.dumps(strangers.did))


if __name__ == "__main__":
    main(*sys.argv[1:])
