#!/usr/bin/python3
"""Runs on a host of the lab: a TCP stream whose every byte is accounted for.

    bulk.py serve PORT                   says "listening", then serves one peer after the other
    bulk.py send ADDRESS PORT BYTES      to the server
    bulk.py fetch ADDRESS PORT BYTES     from the server

The client prints one JSON object: "bytes" and "mbit" per second, "same" if what was received has the
digest of what was sent, and the sender's "retransmits".
"""

import hashlib
import json
import random
import socket
import struct
import sys
import time

BLOCK = random.Random(1).randbytes(1 << 16)
TOTAL_RETRANS = 100  # where <linux/tcp.h> has tcpi_total_retrans in struct tcp_info


def push(peer, length):
    """Sends `length` bytes, no two blocks alike; returns their digest."""
    digest = hashlib.sha256()
    for number, start in enumerate(range(0, length, len(BLOCK))):
        block = (number.to_bytes(8, "big") + BLOCK[8:])[:length - start]
        digest.update(block)
        peer.sendall(block)
    return digest.hexdigest()


def pull(reader, length):
    digest = hashlib.sha256()
    while length:
        piece = reader.read1(min(length, 1 << 16))
        if not piece:
            raise EOFError(f"the stream ended {length} bytes early")
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest()


def retransmits(peer):
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TOTAL_RETRANS + 4)
    return struct.unpack_from("=I", info, TOTAL_RETRANS)[0]


def tell(peer, what):
    peer.sendall(json.dumps(what).encode() + b"\n")


def serve(port):
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("listening", flush=True)
        while True:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as reader:
                wanted = json.loads(reader.readline())
                if wanted["kind"] == "send":
                    tell(peer, {"digest": pull(reader, wanted["bytes"])})
                else:
                    digest = push(peer, wanted["bytes"])
                    reader.readline()  # all has arrived
                    tell(peer, {"digest": digest, "retransmits": retransmits(peer)})


def ask(kind, address, port, length):
    with socket.create_connection((address, port), timeout=60) as peer, peer.makefile("rb") as reader:
        start = time.monotonic()
        tell(peer, {"kind": kind, "bytes": length})
        digest = push(peer, length) if kind == "send" else pull(reader, length)
        if kind == "fetch":
            tell(peer, {})
        other = json.loads(reader.readline())
        seconds = time.monotonic() - start
        print(json.dumps({
            "bytes": length, "mbit": length * 8e-6 / seconds, "same": digest == other["digest"],
            "retransmits": other.get("retransmits", retransmits(peer))}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    ask(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
