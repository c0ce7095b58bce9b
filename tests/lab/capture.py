"""What crossed the switch, recorded by tcpdump and counted by tshark: the lab's only evidence."""

import re
import signal
import sys

from netns import command, wait_for

# How a frame is told, in tshark's words.
KINDS = {
    "all": "frame",
    "sealed": "ip.proto == 253 || ipv6.nxt == 253",
    "modbus": "tcp.port == 502",
    "udp": "udp.port == 20000",
    "ping": "icmp.type == 8 || icmp.type == 0 || icmpv6.type == 128 || icmpv6.type == 129",
    # What no wire of MTU 1500 carries, and what a gateway on the other side would have to drop.
    "unfit": "(ip.proto == 253 || ipv6.nxt == 253 || udp.port == 4253) && "
             "(frame.len > 1514 || ip.flags.mf == 1 || ip.frag_offset > 0)",
    "control": "tcp.port == 5555 || tcp.port == 5556",
    "in clear": "tcp.port == 502 || udp.port == 20000",
}


class Broken(AssertionError):
    """What must never be was seen. Once is enough: see tests/lab/run."""


# A frame that only the capture is meant to hear: EtherType for local experiments.
_MARKER = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind((sys.argv[1], 0))
    s.send(bytes.fromhex("020000000001020000000002") + bytes.fromhex("88b5") + sys.argv[2].encode())
"""


class Capture:
    """Every frame that enters the switch, once, until `stop`."""

    def __init__(self, node, name="plant", device="br0", snap=0):
        self._node, self._device = node, device
        self.path = node.lab.run.folder / f"{name}.pcap"
        self.path.unlink(missing_ok=True)
        self._process = node.start(
            "tcpdump", "-i", device, "-n", "-s", str(snap), "-B", "65536", "-U", "-Z", "root",
            "-w", self.path, log=f"tcpdump-{name}")
        self._process.wait_log("listening on")
        self._marks = 0

    def stop(self):
        """Ends it once everything sent so far is in the file, and makes sure that nothing is missing."""
        self.mark()
        self._process.stop(signal.SIGINT)
        report = self._process.said()
        dropped = re.search(r"(\d+) packets? dropped by kernel", report)
        if dropped is None or int(dropped[1]):
            raise RuntimeError(f"the capture is not complete: {report.strip()}")
        return self

    def mark(self):
        """Waits until the file holds all that has crossed the switch so far."""
        self._marks += 1
        mark = f"capture-mark-{self._node.lab.run.prefix}-{self._marks:06d}"
        before = self.path.stat().st_size
        self._node.run(sys.executable, "-c", _MARKER, self._device, mark)
        wait_for("the capture is written", lambda: mark.encode() in self._since(before), 15)

    def _since(self, offset):
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read()

    def count(self, *filters):
        """How many frames pass each of the filters (tshark's language, or a name of KINDS)."""
        return count(self.path, *filters)

    def never(self, kind):
        """No frame of that kind is to be there, ever."""
        if seen := self.lines(kind):
            raise Broken("\n".join([f"{self.count(kind)[0]} frames of {kind!r}, the first:", *seen]))

    def lines(self, kind, most=10):
        """Frames of a kind as tshark shows them, for people."""
        return _tshark(self.path, "-Y", KINDS.get(kind, kind)).splitlines()[:most]

    def times(self, kind):
        """When frames of a kind passed, in seconds since 1970."""
        shown = _tshark(self.path, "-Y", KINDS.get(kind, kind), "-T", "fields",
                        "-e", "frame.time_epoch")
        return [float(line) for line in shown.split()]

    def values(self, field, kind):
        """All that frames of a kind have in that field."""
        return set(_tshark(self.path, "-Y", KINDS.get(kind, kind), "-T", "fields", "-e", field).split())


def count(path, *filters):
    """One number for each filter, in one reading of the file."""
    terms = [KINDS.get(kind, kind) for kind in filters]
    shown = _tshark(path, "-q", "-z", "io,stat,0," + ",".join(f"({term})" for term in terms))
    row = next(line for line in shown.splitlines() if "<>" in line and "Interval" not in line)
    frames = [int(number) for number in re.findall(r"\d+", row.split("<>")[1].split("|", 1)[1])]
    return frames[::2] if len(frames) > 2 else frames[:1]


def _tshark(path, *options):
    # Streams stay apart: what a frame is must not depend on another frame.
    return command("tshark", "-n", "-r", path, "-o", "tcp.desegment_tcp_streams:FALSE",
                   "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
                   *options, timeout=300).stdout
