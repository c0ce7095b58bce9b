"""A plant under attack: who sends what from where, what came of it, and what must not come of it."""

import ipaddress
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from capture import Capture
from daemons import MODBUS_AND_UDP, resident_kb
from forging import ATTACKER, HEADER, MARK, VERSIONS, Member, carried, cut, ethernet, flipped, protected, sealed_in
from load import Load
from netns import wait_for
from plant import REPOSITORY, scale
from sealed import sealed_plant

FOLDER = REPOSITORY / "tests" / "lab"
# What came from the attacker, what he wrote, and what nobody opened.
ARRIVED = (f"eth.src == {ATTACKER.hex(':')} || frame contains \"{MARK.decode()}\" || "
           "ip.proto == 253 || ipv6.nxt == 253 || udp.port == 4253")
# Counters of the kernel's IP layer, which br_netfilter uses: too short, or a header that cannot be.
UNREADABLE = {"InHdrErrors", "InTruncatedPkts", "InDiscards",
              "Ip6InHdrErrors", "Ip6InTruncatedPkts", "Ip6InDiscards"}
# Of a flood; the rest finds a queue of the kernel full.
FULL = 0.9
GROWTH_KB = 2048
# At its peak, with hundreds of connections at a time.
SERVER_GROWTH_KB = 32 * 1024
# What a flood that is not known to be one is dropped for.
GUESSES = ("malformed", "unknown_epoch", "unknown_sender", "stale", "future", "too_old", "replayed", "unauthentic",
           "budget")

LAYOUT = {"gwa": ["plc"], "gwb": ["hmi"], "": ["mallory"]}
POLICY = {"rules": [
    {"name": "time", "action": "bypass", "proto": "udp", "dest_port": "123"},
    {"name": "web", "action": "bypass", "proto": "tcp", "dest_port": "80"},
    *MODBUS_AND_UDP["rules"],
]}
# How long, and how many frames a second.
FLOOD = (float(os.environ.get("TSG_LAB_FLOOD", "10")), 20_000 * scale())
# Wide, so that it is never the age alone that makes an attack fail.
WINDOW = 60


@contextmanager
def besieged(attach, port=None, **settings):
    """A plant under siege; with `port` its group carries ESP in UDP there."""
    if port:
        settings |= {"encap": "udp", "encap_port": port}
    with sealed_plant(LAYOUT, attach=attach, policy=POLICY, replay_window=WINDOW, **settings) as plant:
        yield Siege(plant, port)


class Siege:
    """`plc` behind `gwa` is attacked by somebody on the wire before gwa; `hmi` behind `gwb` polls it."""

    def __init__(self, plant, port=None):
        self.plant, self.server, self.port = plant, plant.server, port
        self.boxes, self.box = plant.boxes, plant.boxes["gwa"]
        self.plc, self.hmi = plant.hosts["plc"], plant.hosts["hmi"]
        self.target = self.plc.ns.mac("eth0")
        self.load = Load(self.plc, self.hmi)
        self.heard_at_the_start = self.record()[-100:], time.monotonic()
        self.follow()
        self._size = self.box.resident_kb()

    def new_member(self, keys=None):
        """Somebody who seals in the epoch in force, with the keys of the group or with others."""
        return Member(keys or self.server.keys(), self.record()[-1], port=self.port)

    def record(self):
        """What was sealed for plc and crossed the switch just now."""
        with self.capture("record") as capture:
            self.load.goes_on()
        own = {self.plc.packed(version) for version in (4, 6)}
        return [packet for packet in sealed_in(capture, self.port) if packet.destination in own]

    @contextmanager
    def capture(self, name, node=None, device="br0"):
        capture = Capture(node or self.plant.switch, name, device=device)
        yield capture
        capture.stop()

    def ends(self, version):
        """The addresses that the attacker claims and aims at."""
        return self.hmi.address(version), self.plc.address(version)

    def drops(self):
        """Drops by reason, as `tsg status` has them."""
        counters = self.box.status()["counters"]
        return Counter({name[5:]: count for name, count in counters.items()
                        if name.startswith("drop_")})

    def inject(self, frames, *flood, spots=(), device="wan0", box=None):
        """Puts frames onto the wire to the gateway; with `flood`, which is seconds and frames a second,
        again and again."""
        gateway = (box or self.box).gateway
        switch, port = gateway.lab.far_ends[gateway.ns.name, device]
        file = gateway.lab.run.folder / "frames"
        head = json.dumps(list(spots)).encode() + b"\n" if flood else b""
        file.write_bytes(head + b"".join(len(f).to_bytes(2, "big") + f for f in frames))
        done = switch.run(sys.executable, FOLDER / "inject.py", port, file, *flood)
        return json.loads(done.stdout)["sent"]

    def frames(self, version, packets, tags=()):
        """Packets as the attacker sends them to plc."""
        return [ethernet(self.target, version, packet, tags=tags) for packet in packets]

    def repelled(self, frames, *reasons, uncounted=0):
        """None of these reaches the host, each is counted for one of the reasons, but for those that the kernel drops and
        counts nowhere, and no poll is lost."""
        drops, malformed = self.drops(), self._malformed()
        with self.load.undisturbed(), self.capture("host", self.plc, "eth0") as host:
            assert self.inject(frames) == len(frames)

            def counted():
                return (self.drops() - drops).total() + self._malformed() - malformed
            try:
                wait_for("all drops are counted", lambda: counted() >= len(frames) - uncounted, 5)
            except TimeoutError:
                print(f"{len(frames)} frames, counted {self.drops() - drops}, "
                      f"{self._malformed() - malformed} by the kernel")
        host.never(ARRIVED)
        by_reason = self.drops() - drops
        assert set(by_reason) <= set(reasons), f"dropped for other reasons: {by_reason}"
        assert counted() == len(frames) - uncounted, \
            f"{len(frames)} frames, counted {by_reason}, {self._malformed() - malformed} by the kernel"
        self.has_not_grown()
        return len(frames)

    def _malformed(self):
        """What bridge netfilter found no IP packet before anybody else could see it: the kernel counts
        that."""
        files = (f"/proc/net/{name}" for name in ("snmp", "netstat", "snmp6"))
        lines, total = self.box.gateway.run("cat", *files).stdout.splitlines(), 0
        for names, values in zip(lines, lines[1:]):
            if names.split()[:1] == values.split()[:1]:
                total += sum(int(value) for name, value in zip(names.split(), values.split())
                             if name in UNREADABLE and value.isdigit())
        return total + sum(int(line.split()[1]) for line in lines if line.split()[0] in UNREADABLE)

    def repels_flipped(self, version, *more):
        """A packet with each bit turned over that is protected, and for `more` reasons than all of them have."""
        packet, others = self.member.datagram(*self.ends(version)), self.hmi.packed(version)
        place = slice(HEADER[version] - len(others), HEADER[version])
        # With one bit the address is that of a machine behind another gateway: such a packet passes unopened.
        forged = [packet for packet in flipped(packet, protected(packet, self.port)) if packet[place] != others]
        tried = self.repelled(self.frames(version, forged), "malformed", "malformed_ip", "sealed_fragment",
                              "unknown_epoch", "unknown_sender", "replayed", "stale", "future", "too_old",
                              "unauthentic", *more)
        self.taken(version, packet)
        return tried

    def repels_cut(self, version, uncounted=0):
        """A packet at every length."""
        packet = self.member.datagram(*self.ends(version))
        tried = self.repelled(self.frames(version, cut(packet)), "malformed", "malformed_ip", "unauthentic", "in_clear",
                              uncounted=uncounted)
        self.taken(version, packet)
        return tried

    def repels_replays(self):
        """Of what was opened a moment ago, and of the other gateway's polls in the middle of their stream."""
        frames = []
        for version in VERSIONS:
            packet = self.member.datagram(*self.ends(version))
            self.taken(version, packet)
            frames += self.frames(version, [packet] * 100)
        frames += [self.again(heard) for heard in self.record()]
        return self.repelled(frames, "replayed")

    def taken(self, version, packet):
        """This one is opened: it was the attack that made the others fail, and not how they were made."""
        opened = self.box.status()["counters"]["opened"]
        with self.capture("taken", self.plc, "eth0") as host:
            self.inject(self.frames(version, [packet]))
            wait_for("it is opened, and polls after it",
                     lambda: self.box.status()["counters"]["opened"] > opened + 10)
        got = host.lines(f"eth.dst == {self.target.hex(':')} && frame contains \"{MARK.decode()}\"")
        assert len(got) == 1 and "UDP" in got[0], f"what the group sealed was not opened once: {got}"

    def again(self, heard):
        """A recorded packet as a frame of the attacker's."""
        ends = (ipaddress.ip_address(end).compressed for end in (heard.source, heard.destination))
        version = 4 if len(heard.source) == 4 else 6
        return ethernet(self.target, version, carried(*ends, heard.payload, self.port))

    def rekey(self):
        """A new epoch, in which everybody has to be heard for the first time."""
        before = self.server.keys()["epochs"][-1]["id"]
        self.server.rekey()
        for box in self.boxes.values():
            box.wait_status("the new epoch is in force", lambda status: status["epoch"] > before, 30)

    def follow(self):
        """The member that the attacker has recorded goes on in the epoch in force."""
        self.member = self.new_member()
        # A sender that was heard costs no derivation any more, of which there are few in a second.
        self.taken(4, self.member.datagram(*self.ends(4)))

    def flood(self, frames, seconds, rate, spots, meanwhile=None):
        """So many frames that polls may be lost; but they go on, nothing gets through, and drops are
        counted for what they are, but for what the kernel has no room for, before anybody can look at it."""
        before = self.drops()
        with self.capture("host", self.plc, "eth0") as host, ThreadPoolExecutor(1) as beside:
            flood = beside.submit(self.inject, frames, seconds, rate, spots=spots)
            self.load.goes_on(seconds)
            if meanwhile:
                meanwhile()
            self.load.goes_on(seconds)
            sent = flood.result()
            self.load.goes_on()
        host.never(ARRIVED)
        try:
            wait_for("drops are counted", lambda: (self.drops() - before).total() > FULL * sent, 5)
        except TimeoutError as late:
            raise AssertionError(f"{sent} frames, counted {self.drops() - before}") from late
        by_reason = self.drops() - before
        assert set(by_reason) <= set(GUESSES), f"dropped for other reasons: {by_reason}"
        self.has_not_grown()
        return sent

    def upon_the_key_server(self, what, seconds):
        """Somebody without a right to it, see hostile.py. Meanwhile the members are served: a rekey goes
        through."""
        server = self.server
        process, mallory = server.process, self.plant.hosts["mallory"]
        before, started = resident_kb(process), server.ask("status")
        with self.load.undisturbed():
            stranger = mallory.start(sys.executable, FOLDER / "hostile.py", f"{server.host.ip4}:5555",
                                     self.box.config["server_key"], what, seconds, log="hostile")
            self.rekey()
            assert stranger.wait(seconds + 60) == 0, stranger.complaint()
        self.follow()
        did, status = stranger.last_json(), server.ask("status")
        grown = resident_kb(process, "VmHWM:") - before
        print(f"{what}: {did}; the key server grew by {grown} kB and dropped {status['dropped']}")
        assert process.running and grown < SERVER_GROWTH_KB, f"the key server has grown by {grown} kB"
        for box in self.boxes.values():
            assert box.status()["connected"], box.process.complaint()
        self.has_not_grown()
        return did, Counter(status["dropped"]) - Counter(started["dropped"]), status

    def has_not_grown(self):
        assert self.box.process.running, self.box.process.complaint()
        grown = self.box.resident_kb() - self._size
        assert grown < GROWTH_KB, f"{self.box.name} has grown by {grown} kB"
