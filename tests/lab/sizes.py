#!/usr/bin/python3
"""Runs on a host of the lab: sends packets of many sizes and says what came of each.

    sizes.py ping ADDRESS FIRST LAST     every ICMP echo size, many under way at once
    sizes.py udp ADDRESS PORT DF SIZE…   datagrams to an echo server; DF is 0 or 1

Prints one JSON object: by size how it ended, and the path MTUs that ICMP errors told. A size ends
with "answered"; with "too big" when an error told a smaller MTU and the packet had to stay whole;
or with "silence"; after many silences the rest is "not tried". "again" counts what had to be sent
again after such an error.
"""

import json
import select
import socket
import struct
import sys
import time

# <linux/in.h>, <linux/in6.h>, <linux/errqueue.h>
IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 10, 11, 14
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR, IPV6_DONTFRAG = 23, 24, 25, 62
PMTUDISC_DONT, PMTUDISC_WANT, PMTUDISC_DO = 0, 1, 2
EMSGSIZE = 90

WINDOW, PATIENCE, TRIES, ENOUGH = 32, 1.0, 4, 64


class Echo:
    """A connected socket whose payloads come back, and whose ICMP errors are read."""

    def __init__(self, address, kind, protocol, port=0, must_stay_whole=None):
        self.v6 = ":" in address
        self.socket = socket.socket(socket.AF_INET6 if self.v6 else socket.AF_INET, kind, protocol)
        level, discover, errors, self._mtu = (
            (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_MTU) if self.v6 else
            (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU))
        self._level = level
        self.socket.setsockopt(level, errors, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        if must_stay_whole is not None:
            choice = PMTUDISC_DO if must_stay_whole else PMTUDISC_WANT if self.v6 else PMTUDISC_DONT
            self.socket.setsockopt(level, discover, choice)
            if self.v6:
                self.socket.setsockopt(level, IPV6_DONTFRAG, int(must_stay_whole))
        self.socket.connect((address, port))
        self.socket.setblocking(False)
        self.mtus = []

    def send(self, payload):
        """False if the packet is larger than the path is known to take."""
        for _ in range(2):
            try:
                self.socket.send(payload)
                return True
            except OSError as error:
                if error.errno != EMSGSIZE:
                    raise
                # The first time it may be an earlier packet's error that had not been read yet.
                self._errors()
        self.mtus.append(self.socket.getsockopt(self._level, self._mtu))
        return False

    def receive(self, seconds):
        """The payloads that came within the time, as soon as there are some."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.poll(seconds * 1000)
        self._errors()
        payloads = []
        while True:
            try:
                payloads.append(self.socket.recv(65536))
            except BlockingIOError:
                return payloads
            except OSError:
                self._errors()

    def _errors(self):
        while True:
            try:
                _, control, _, _ = self.socket.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _, _, data in control:
                number, _, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", data)
                if number == EMSGSIZE:
                    self.mtus.append(info)


def probe(echo, sizes, payload, size_of):
    """Sends every size until it is answered; returns how each ended and the repeats."""
    ended, again, silences, waiting, queue = {}, 0, 0, {}, list(reversed(sizes))
    tries = dict.fromkeys(sizes, 0)
    while queue or waiting:
        while queue and len(waiting) < WINDOW:
            size = queue.pop()
            tries[size] += 1
            if echo.send(payload(size)):
                waiting[size] = time.monotonic()
            else:
                ended[size] = "too big"
        for received in echo.receive(0.05):
            size = size_of(received)
            if size is not None and waiting.pop(size, None) is not None:
                ended[size] = "answered"
        for size in [s for s, sent in waiting.items() if time.monotonic() > sent + PATIENCE]:
            del waiting[size]
            # Whoever was told a smaller MTU may send again; silence without a reason is a loss.
            if echo.mtus and tries[size] < TRIES:
                again += 1
                queue.append(size)
            else:
                ended[size] = "silence"
                silences += 1
        if silences > ENOUGH:
            ended.update(dict.fromkeys(queue, "not tried"))
            queue = []
    return ended, again


def ping(address, first, last):
    v6 = ":" in address
    echo = Echo(address, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    request, reply, skip = (128, 129, 0) if v6 else (8, 0, 20)
    identifier = 0x7357

    def payload(size):
        body = bytes(i & 255 for i in range(size))
        header = struct.pack("!BBHHH", request, 0, 0, identifier, size)
        # For IPv6 the kernel fills in the checksum.
        return header[:2] + struct.pack("!H", 0 if v6 else checksum(header + body)) + header[4:] + body

    def size_of(packet):
        icmp = packet[skip:]
        if len(icmp) < 8 or icmp[0] != reply:
            return None
        _, _, _, got, size = struct.unpack_from("!BBHHH", icmp)
        return size if got == identifier and icmp[8:] == payload(size)[8:] else None

    return echo, *probe(echo, range(first, last + 1), payload, size_of)


def udp(address, port, must_stay_whole, sizes):
    echo = Echo(address, socket.SOCK_DGRAM, 0, port, must_stay_whole)

    def payload(size):
        return struct.pack("!I", size) + bytes(i * 7 & 255 for i in range(size - 4))

    def size_of(packet):
        return len(packet) if packet == payload(len(packet)) else None

    return echo, *probe(echo, sizes, payload, size_of)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def main(kind, address, *numbers):
    numbers = [int(number) for number in numbers]
    if kind == "ping":
        echo, ended, again = ping(address, *numbers)
    else:
        echo, ended, again = udp(address, numbers[0], bool(numbers[1]), sorted(set(numbers[2:])))
    by_end = {}
    for size, end in sorted(ended.items()):
        by_end.setdefault(end, []).append(size)
    print(json.dumps({"ended": by_end, "again": again, "mtus": sorted(set(echo.mtus))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
