#!/usr/bin/python3
"""Runs on a host of the lab: flows of numbered datagrams, side by side.

    rows.py hear PORT                    says "listening", and when it is ended prints one JSON object for each flow:
                                         "heard", and "late" for those that came behind a later one
    rows.py send ADDRESS PORT FLOWS COUNT
"""

import json
import signal
import socket
import sys
import time

RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE, which the module lacks
SIZE = 1_200
BURST = 4


def hear(port):
    flows = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as row:
        row.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, 32 << 20)
        row.bind(("", port))
        print("listening", flush=True)
        try:
            while True:
                datagram, sender = row.recvfrom(2 * SIZE)
                number = int.from_bytes(datagram[:4], "big")
                flow = flows.setdefault(sender, {"heard": 0, "late": 0, "last": -1})
                flow["heard"] += 1
                flow["late"] += number < flow["last"]
                flow["last"] = max(flow["last"], number)
        finally:
            for flow in flows.values():
                print(json.dumps(flow), flush=True)


def send(address, port, flows, count):
    rows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
    for row in rows:
        row.connect((address, port))
    for first in range(0, count, BURST):
        for row in rows:
            for number in range(first, min(first + BURST, count)):
                row.send(number.to_bytes(4, "big") + bytes(SIZE - 4))
        time.sleep(0.005)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "hear":
        hear(int(arguments[0]))
    else:
        send(arguments[0], *map(int, arguments[1:]))
