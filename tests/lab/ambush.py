"""A plant in which somebody is on the way between gateways and key server: what he does there, and what the
gateways make of the time."""

import json
import shutil
import signal
import statistics
import struct
import sys
from collections import defaultdict

from capture import Capture
from forging import sealed_in
from load import Load
from netns import wait_for
from plant import REPOSITORY, Poller

RELAY = REPOSITORY / "tests" / "lab" / "relay.py"
PORTS = {"gwa": 6001, "gwb": 6002}
# What the time may be off, in milliseconds, unless the gateway says so (docs/security.md).
PROMISED = 500
# A thread of a loaded machine seals that much later than it looked at the clock.
JITTER = 15


class Relay:
    """Who is on the way of one gateway."""

    def __init__(self, host, port, server):
        self.host, self.port, self.server = host, port, server
        self.folder = host.lab.run.folder / f"relay-{port}"
        self.folder.mkdir()
        self.late()
        self.start()

    def start(self):
        self.process = self.host.start(sys.executable, RELAY, "pass", self.port, self.server,
                                       self.folder, log=f"relay-{self.port}")
        self.process.wait_line(lambda line: line == "listening")

    def late(self, questions=0.0, answers=0.0):
        """Whatever passes from now on passes so many seconds late."""
        fresh = self.folder / "delays.new"
        fresh.write_text(json.dumps({"questions": questions, "answers": answers}))
        fresh.rename(self.folder / "delays")

    def connections(self):
        return sum(line.startswith("connection") for line in self.process.lines)

    def cut(self):
        """Ends the connection, and waits until there is a new one."""
        before = self.connections()
        self.process.send(signal.SIGUSR1)
        wait_for("a new connection", lambda: self.connections() > before, 20)

    def recorded(self, way):
        """A file with what passed one way on the newest connection."""
        lines = [json.loads(line) for line in (self.folder / "record").read_text().splitlines()]
        newest = max(line["connection"] for line in lines)
        of_it = [line for line in lines if line["connection"] == newest and line["way"] == way]
        file = self.folder / f"{way}-{newest}"
        file.write_text("\n".join(map(json.dumps, of_it)))
        return file


class Ambush:
    """`plc` behind `gwa` and `hmi` behind `gwb` poll each other; both gateways reach the key server through
    somebody. Nobody touches the link of `gwc`: what it seals for `drive` shows the true time."""

    def __init__(self, plant):
        self.plant, self.server, self.boxes = plant, plant.server, plant.boxes
        self.box = plant.boxes["gwa"]
        self.mallory = plant.hosts["mallory"]
        server = f"{plant.server.host.ip4}:5555"
        self.relays = {name: Relay(self.mallory, port, server) for name, port in PORTS.items()}
        self.relay = self.relays["gwa"]
        for name, port in PORTS.items():
            box = self.boxes[name]
            box.config["server"] = f"tcp://{self.mallory.ip4}:{port}"
            box.write_config()
            box.process.stop()
            box.start()
            box.wait_ready()
        self.load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        self.watch = Poller(plant.hosts["drive"], plant.hosts["hmi"], "udp", 4, rate=25)
        self.watch.wait_answers()

    def honest(self):
        """Nobody delays anything any more, and every gateway works and knows the time well."""
        for relay in self.relays.values():
            relay.late()
        for name in PORTS:
            self.reboot(name)
            self.boxes[name].wait_ready()
        self.load.goes_on()

    def reboot(self, name):
        """As after a power cut: a daemon that knows no key and no time."""
        box = self.boxes[name]
        box.process.stop(signal.SIGKILL)
        shutil.rmtree(box.folders["run"])
        box.folders["run"].mkdir(mode=0o700)
        box.start()

    def rekey(self):
        """A new epoch: every gateway is sent a state, takes it over and asks for the time."""
        before = max(epoch["id"] for epoch in self.server.keys()["epochs"])
        self.server.rekey()
        for box in self.boxes.values():
            box.wait_status("a new epoch", lambda status: (status["epoch"] or 0) > before, 30)

    def off(self, host):
        """By how many milliseconds the time in what is sealed for this host is ahead of the true time."""
        with_time = defaultdict(list)
        capture = Capture(self.plant.switch, "time")
        self.load.goes_on()
        self.watch.wait_answers()
        for packet in sealed_in(capture.stop()):
            pseudo = struct.unpack_from("!I", packet.payload, 8)[0]
            with_time[packet.payload[0], packet.source].append(pseudo - packet.time * 1000)
        hosts = self.plant.hosts[host].packed(4), self.plant.hosts["drive"].packed(4)
        epochs = [byte for byte, source in with_time if source == hosts[0] and (byte, hosts[1]) in with_time]
        here, there = (statistics.median(with_time[epochs[-1], source]) for source in hosts)
        # Pseudo-time goes round.
        return (here - there + 2**31) % 2**32 - 2**31

    def keeps_the_promise(self, name, host):
        """The time is right, or as wrong as the gateway says. Returns how wrong it is, and how wrong by its
        own word."""
        before = self.boxes[name].status()
        off = self.off(host)
        status = self.boxes[name].status()
        error = max(before["time_error_ms"], status["time_error_ms"])
        print(f"{name}: off by {off:+.0f} ms, says {error} ms; {status['alarms']}")
        allowed = error + self.boxes["gwc"].status()["time_error_ms"] + JITTER
        assert abs(off) <= allowed, f"{name}: off by {off:+.0f} ms and says {error} ms"
        assert error <= PROMISED or says_so(status), status
        return off, error


def says_so(status):
    """The gateway says that its time is no good."""
    return any("the time " in alarm for alarm in status["alarms"])
