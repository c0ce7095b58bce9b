#!/usr/bin/python3
"""Opens what a capture holds of a tunnel with static keys, written from section 4.3 of docs/protocol.md alone.

    static_keys.py [--transport] KEY-FILE CIPHER ADDRESS ADDRESS capture.pcap

It is of tunnels with IP protocol 50, or UDP port 4500; `--transport`: of transport mode (section 4.4).

Prints one JSON object: for each direction its SPI, its key and salt as tshark and the kernel take them, how many
packets opened, and what must not be: those that did not, and numbers and nonces that came twice.
"""

import ipaddress
import json
import sys
from collections import Counter

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import frames
from tunnel_end import ESP, hkdf, read_key, sender_key, usable

CIPHERS = {"chacha20-poly1305": (1, ChaCha20Poly1305), "aes-256-gcm": (2, AESGCM)}
PORT, KEEP_ALIVE = 4500, b"\xff"
# Whole packets, or what is behind the header of one: ICMP, TCP, UDP and ICMPv6 in the lab.
TUNNEL, TRANSPORT = (4, 41), (1, 6, 17, 58)


class Direction:
    """What goes from one address to another."""

    def __init__(self, secret, cipher, may_follow, source, destination):
        self._may_follow = may_follow
        number, cipher = CIPHERS[cipher]
        what = bytes([number]) + source + destination
        self.spi = usable(hkdf(secret, b"", b"tsg tunnel 1 static spi" + what)[:4])
        self.key, self.salt = sender_key(hkdf(secret, b"", b"tsg tunnel 1 static" + what), self.spi)
        self._cipher = cipher(self.key)
        self.opened, self.inside, self.refused = 0, Counter(), []
        self._numbers, self._nonces = Counter(), Counter()
        self.runs = set()

    def take(self, packet):
        esp = packet.payload
        self._numbers[esp[4:8]] += 1
        self._nonces[esp[8:16]] += 1
        self.runs.add(esp[8:12])
        try:
            plain = self._cipher.decrypt(self.salt + esp[8:16], esp[16:], esp[:8])
        except InvalidTag:
            self.refused.append(packet.number)
            return
        pad, next_header = plain[-2:]
        right = plain[len(plain) - 2 - pad:-2] == bytes(range(1, 1 + pad)) and next_header in self._may_follow
        self.inside[next_header] += 1
        if right:
            self.opened += 1
        else:
            self.refused.append(packet.number)

    def report(self):
        return {"spi": "0x" + self.spi.hex(), "key": "0x" + (self.key + self.salt).hex(), "opened": self.opened,
                "inside": dict(self.inside), "refused": self.refused, "runs": len(self.runs),
                "numbers_twice": sum(count > 1 for count in self._numbers.values()),
                "nonces_twice": sum(count > 1 for count in self._nonces.values())}


def main(path, cipher, one, other, capture, transport=False):
    secret = read_key(path)
    if transport:
        secret = hkdf(secret, b"", b"tsg tunnel 1 transport")
    may_follow = TRANSPORT if transport else TUNNEL
    ends = [ipaddress.ip_address(end).packed for end in (one, other)]
    directions = {pair: Direction(secret, cipher, may_follow, *pair) for pair in (tuple(ends), tuple(reversed(ends)))}
    strangers = 0
    with open(capture, "rb") as file:
        for packet in frames.sealed(file, ESP, PORT):
            if packet.payload == KEEP_ALIVE:
                continue
            direction = directions.get((packet.source, packet.destination))
            if direction and packet.payload[:4] == direction.spi and not packet.is_fragment:
                direction.take(packet)
            else:
                strangers += 1
    print(json.dumps({"strangers": strangers, "directions": [one.report() for one in directions.values()]}))


if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--transport"]
    main(*arguments, transport="--transport" in sys.argv)
