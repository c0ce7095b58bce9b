"""Two hosts on a switch, a tunnel between them, and machines' programs on both that talk through it."""

import json
import shutil
import sys
from pathlib import Path

from capture import Capture
from netns import command
from plant import PORTS, Poller, binary, serve, settle
from topology import Lab

FOLDER = Path(__file__).parent
DEVICE = "tsg0"
# What the hosts are called inside.
INSIDE = {4: "10.9.0.{}", 6: "fd09::{}"}
ESP = 50
# What goes through, in tshark's words, and what of it is never to be seen on the switch.
WITHIN = "(ip.addr == 10.9.0.0/24 || ipv6.addr == fd09::/64)"
CLEAR = f"modbus || tcp.port == 502 || udp.port == 20000 || icmp.type == 8 || {WITHIN} && !esp"


class End:
    """One host with its end of the tunnel."""

    def __init__(self, host, number, peer, options, interface="eth0"):
        self.host, self.number, self.peer, self.options, self.interface = host, number, peer, options, interface
        self.folder = host.lab.run.folder / f"{host.name}-state"
        self.folder.mkdir(mode=0o700)
        self.key = self.folder / "key"
        self.process = None
        # Has it run with so many processors, where it is not to have all.
        self.processors = None

    def address(self, version):
        return INSIDE[version].format(self.number)

    @property
    def mtu(self):
        return int(self.host.run("cat", f"/sys/class/net/{DEVICE}/mtu").stdout)

    def argv(self, *more):
        """The command of this end."""
        return [binary("tsg"), "--log", "stderr", "--state", self.folder / "tsg", "--run", self.folder, "tunnel",
                self.interface, "--dst", self.peer, "--tun", DEVICE, "--key-file", self.key, *self.options, *more]

    def start(self):
        some = ["taskset", "-c", f"0-{self.processors - 1}"] if self.processors else []
        self.process = self.host.start(*some, *self.argv(), log="tunnel")
        self.process.wait_log(f"{DEVICE}: to ")
        self.give_addresses()
        return self

    def give_addresses(self):
        for version, prefix in ((4, 24), (6, 64)):
            more = ["nodad"] if version == 6 else []
            self.host.ns.ip("addr", "replace", f"{self.address(version)}/{prefix}", "dev", DEVICE, *more)

    def status(self):
        """As `tsg status` tells it to programs."""
        answer = json.loads(self.host.run(binary("tsg"), "--run", self.folder, "status", "--json").stdout)
        [tunnel] = answer["tunnels"]
        return tunnel

    def ping(self, other, version, *options, check=True):
        return self.host.run("ping", f"-{version}", "-c", 3, "-i", 0.2, "-W", 2, *options, other.address(version),
                             check=check)

    def poll(self, other, protocol, version, **options):
        address, port = other.address(version), PORTS[protocol]
        endpoint = f"{address}:{port}" if version == 4 else f"[{address}]:{port}"
        return Poller(self.host, endpoint, protocol, version, **options)


def ends(hosts, addresses, options, kind=End, **more):
    """Both ends of a tunnel between two hosts of these addresses."""
    return [kind(host, number, peer, options, **more)
            for number, (host, peer) in enumerate(zip(hosts, reversed(addresses)), 1)]


def connect(hosts, addresses, options, **more):
    """The same, agreed on keys."""
    one, other = ends(hosts, addresses, options, **more)
    one.start()
    # As an operator does it: the first has made the key.
    shutil.copy(one.key, other.key)
    other.start()
    wait_agreed(one, other)
    return one, other


def wait_agreed(*ends):
    for end in ends:
        end.process.wait_log("agreed on keys")


class Tunnel:
    """`left` and `right`, with the same key, and everything that crosses the switch between them in `switch`."""

    kind = End

    def __init__(self, version=4, udp=False, cipher=None, called=False):
        """With `called` the right one is not told where the left one is; with a cipher the keys are static."""
        # What an opener is to read goes one by one, as on a wire.
        self.lab = Lab("tunnel", offloads=not cipher)
        self.version, self.called = version, called
        self.static = ["--static", "--cipher", cipher] if cipher else []
        self.options = [*options(udp), *self.static]

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.switch = self.lab.switch()
            hosts = [self.lab.host(name, self.switch) for name in ("left", "right")]
            self.lab.ready()
            addresses = [host.address(self.version) for host in hosts]
            if self.called:
                addresses[0] = {4: "0.0.0.0", 6: "::"}[self.version]
            self.left, self.right = ends(hosts, addresses, self.options, self.kind)
            self.left.start()
            # As an operator does it: the first has made the key.
            shutil.copy(self.left.key, self.right.key)
            self.start_right()
        except BaseException:
            self.lab.__exit__(None, None, None)
            raise
        return self

    def start_right(self):
        self.right.start()
        if not self.static:
            wait_agreed(self.left, self.right)

    def __exit__(self, *error):
        self.lab.__exit__(*error)

    def change(self, version, udp):
        """Both ends stop, and begin again over this version of IP, in UDP or not."""
        for end, other in ((self.left, self.right), (self.right, self.left)):
            end.process.stop()
            end.peer, end.options = other.host.address(version), options(udp)
            end.start()
        wait_agreed(self.left, self.right)

    def serve(self):
        for end in (self.left, self.right):
            for protocol in PORTS:
                serve(end.host, protocol)

    def pollers(self, servers=True, **options):
        """In both directions, by both protocols and both versions of IP, through the tunnel."""
        if servers:
            self.serve()
        return [here.poll(there, protocol, version, **options)
                for here, there in ((self.left, self.right), (self.right, self.left))
                for protocol in PORTS for version in (4, 6)]

    def inject(self, file):
        """Frames from the switch: those of a file as inject.py has it."""
        self.switch.run(sys.executable, FOLDER / "inject.py", "br0", file)

    def replay(self, frames):
        """Frames once more, from the switch to both ends: as they were, and with a changed bit. Gives how many."""
        changed = [frame[:-1] + bytes([frame[-1] ^ 1]) for frame in frames]
        file = self.lab.run.folder / "replay"
        file.write_bytes(b"".join(len(frame).to_bytes(2, "big") + frame for frame in [*frames, *changed]))
        self.inject(file)
        return len(frames) + len(changed)


def options(udp):
    """What `tsg tunnel` is told of its carrier."""
    return ["--udp"] if udp else []


def esp_of(path):
    """The frames of IP protocol 50 in a capture."""
    from scapy.all import rdpcap  # Slow to import, and for few.
    esp = f"ip.proto == {ESP} || ipv6.nxt == {ESP}"
    shown = command("tshark", "-n", "-r", path, "-Y", esp, "-T", "fields", "-e", "frame.number").stdout
    numbers = set(map(int, shown.split()))
    return [bytes(frame) for number, frame in enumerate(rdpcap(str(path)), 1) if number in numbers]


def assert_pings_do_not_come_out(tunnel, frames, seconds):
    """Frames with pings, sent once more, before and after a restart of the right end, which is back in so many seconds."""
    pollers = tunnel.pollers()
    settle(pollers)
    for again in range(2):
        heard = Capture(tunnel.right.host, f"heard-{again}", DEVICE)
        tunnel.replay(frames)
        settle(pollers)
        heard.stop()
        assert heard.count("icmp || icmpv6.type == 128 || icmpv6.type == 129")[0] == 0
        tunnel.right.process.stop()
        tunnel.right.start()
        settle(pollers, seconds=seconds)
