#!/usr/bin/python3
"""Opens what a capture holds of sealed packets, with the keys that the key server reveals.

    tsg-server group keys GROUP --reveal --json > keys.json
    opener.py keys.json capture.pcap

A second implementation of docs/protocol.md, written from that text alone: `cryptography` for the
ciphers, `hashlib` for the key derivation, nothing of the Rust code. It judges the gateways, so it is
strict: padding, piece order, checksums inside and repeated sequence numbers are all looked at.
Prints one JSON object; exit code 1 if anything sealed did not open.
"""

import argparse
import base64
import hashlib
import ipaddress
import json
import struct
import sys
from collections import Counter

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import frames

CIPHERS = {"chacha20-poly1305": ChaCha20Poly1305, "aes-256-gcm": AESGCM}
HEADER, ICV, FRAGMENT = 16, 16, 44


class Refused(Exception):
    """Why a packet does not open; the first argument is the name of the counter."""


class Epochs:
    """The keys of a group, by epoch byte, and those of the senders as they are heard."""

    def __init__(self, revealed):
        self._epochs = {1 + (epoch["id"] - 1) % 255: epoch for epoch in revealed["epochs"]}
        self._senders = {}

    def sender(self, spi):
        """The cipher and the salt of one SPI."""
        if spi not in self._senders:
            epoch = self._epochs.get(spi >> 24)
            if epoch is None:
                raise Refused("unknown epoch")
            output = hashlib.blake2b(digest_size=36, key=base64.b64decode(epoch["tek"]),
                                     salt=struct.pack("<QQ", spi, 0), person=b"TSGESP01").digest()
            self._senders[spi] = (CIPHERS[epoch["cipher"]](output[:32]), output[32:])
        return self._senders[spi]


class Opener:
    """Opens one packet after the other and keeps account."""

    def __init__(self, epochs):
        self._epochs = epochs
        self.counts = Counter()
        self.inner = Counter()
        self.failures = []
        self.spis = {}
        self._seen = set()
        self._pieces = {}

    def take(self, packet):
        """Counts one sealed packet, opened or refused."""
        self.counts["sealed"] += 1
        try:
            if packet.is_fragment:
                raise Refused("sealed packet in fragments")
            next_header, inside = self._open(packet)
            if next_header == FRAGMENT:
                self._piece(packet, inside)
            else:
                self._whole(packet, next_header, inside)
            self.counts["opened"] += 1
        except Refused as why:
            self.counts["refused: " + why.args[0]] += 1
            self.failures.append(f"frame {packet.number}: {why}")

    def _open(self, packet):
        sealed = packet.payload
        if len(sealed) < HEADER + 4 + ICV or len(sealed) % 4:
            raise Refused("length", len(sealed))
        spi, sequence = struct.unpack_from("!II", sealed)
        cipher, salt = self._epochs.sender(spi)
        associated = sealed[:8] + packet.source + packet.destination
        try:
            plain = cipher.decrypt(salt + sealed[8:HEADER], sealed[HEADER:], associated)
        except InvalidTag:
            raise Refused("not authentic", hex(spi), sequence) from None
        self._account(spi, sequence, sealed[8:HEADER])
        pad, next_header = plain[-2], plain[-1]
        if pad + 2 > len(plain) or plain[-2 - pad:-2] != bytes(range(1, pad + 1)):
            raise Refused("padding")
        return next_header, plain[:-2 - pad]

    def _account(self, spi, sequence, iv):
        if sequence == 0 or struct.unpack("!II", iv)[1] != sequence:
            raise Refused("sequence number", hex(spi), sequence)
        if (spi, sequence) in self._seen:
            self.counts["repeated"] += 1
        self._seen.add((spi, sequence))
        lowest, highest = self.spis.get(spi, (sequence, sequence))
        self.spis[spi] = (min(lowest, sequence), max(highest, sequence))

    def _whole(self, packet, protocol, inside):
        self.inner[frames.name(protocol, inside)] += 1
        if not frames.checksum_is_right(packet, protocol, inside):
            raise Refused("checksum inside", frames.name(protocol, inside))

    def _piece(self, packet, inside):
        """RFC 8200, 4.5: the pieces of a packet, in any order; complete without a gap or an overlap."""
        if len(inside) < 8:
            raise Refused("fragment header")
        protocol, _, place, identification = struct.unpack_from("!BBHI", inside)
        offset, more, data = place & ~7, place & 1, inside[8:]
        if more and len(data) % 8:
            raise Refused("piece length", len(data))
        self.counts["pieces"] += 1
        flow = (packet.source, packet.destination, identification, protocol)
        parts = self._pieces.setdefault(flow, {})
        if offset in parts:
            raise Refused("piece twice", offset)
        parts[offset] = (data, more)
        end = 0
        while end in parts:
            data, more = parts[end]
            end += len(data)
            if not more:
                if len(data) and end != sum(len(part) for part, _ in parts.values()):
                    raise Refused("pieces overlap")
                whole = b"".join(parts[at][0] for at in sorted(parts))
                del self._pieces[flow]
                self.counts["reassembled"] += 1
                self._whole(packet, protocol, whole)
                return

    def report(self):
        return {
            "sealed": self.counts["sealed"], "opened": self.counts["opened"],
            "repeated": self.counts["repeated"], "pieces": self.counts["pieces"],
            "reassembled": self.counts["reassembled"], "incomplete": len(self._pieces),
            "refused": {key[9:]: n for key, n in self.counts.items() if key.startswith("refused: ")},
            "inner": dict(self.inner), "first_failures": self.failures[:10],
            "senders": {f"0x{spi:08x}": {"first": low, "last": high}
                        for spi, (low, high) in sorted(self.spis.items())},
        }


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    options.add_argument("keys", help="JSON of `tsg-server group keys GROUP --reveal --json`")
    options.add_argument("capture", help="pcap file of Ethernet frames")
    options.add_argument("--protocol", type=int, default=253, help="the group's IP protocol number")
    options.add_argument("--udp-port", type=int, help="the group's port, with `encap udp`")
    options.add_argument("--after", type=float, default=0, metavar="SECONDS",
                         help="only what passed later than this, in seconds since 1970")
    options.add_argument("--not-from", action="append", default=[], metavar="ADDRESS",
                         help="pass over what this address sent")
    options = options.parse_args()
    strangers = {ipaddress.ip_address(address).packed for address in options.not_from}
    with open(options.keys, encoding="utf-8") as file:
        opener = Opener(Epochs(json.load(file)))
    with open(options.capture, "rb") as file:
        for packet in frames.sealed(file, options.protocol, options.udp_port):
            if packet.time > options.after and packet.source not in strangers:
                opener.take(packet)
    report = opener.report()
    print(json.dumps(report, indent=1))
    return 0 if report["sealed"] == report["opened"] and not report["repeated"] else 1


if __name__ == "__main__":
    sys.exit(main())
