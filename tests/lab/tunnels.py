"""Two hosts on a switch, a tunnel between them, and machines' programs on both that talk through it."""

import shutil

from plant import PORTS, Poller, binary, serve
from topology import Lab

DEVICE = "tsg0"
# What the hosts are called inside.
INSIDE = {4: "10.9.0.{}", 6: "fd09::{}"}


class End:
    """One host with its end of the tunnel."""

    def __init__(self, host, number, peer, options):
        self.host, self.number, self.peer, self.options = host, number, peer, options
        self.folder = host.lab.run.folder / f"{host.name}-state"
        self.folder.mkdir(mode=0o700)
        self.key = self.folder / "key"
        self.process = None

    def address(self, version):
        return INSIDE[version].format(self.number)

    def argv(self, *more):
        """The command of this end."""
        return [binary("tsg"), "--log", "stderr", "--state", self.folder / "tsg", "tunnel", "eth0", "--dst", self.peer,
                "--tun", DEVICE, "--key-file", self.key, *self.options, *more]

    def start(self):
        self.process = self.host.start(*self.argv(), log="tunnel")
        self.process.wait_log(f"{DEVICE}: to {self.peer}")
        self.give_addresses()
        return self

    def give_addresses(self):
        for version, prefix in ((4, 24), (6, 64)):
            more = ["nodad"] if version == 6 else []
            self.host.ns.ip("addr", "add", f"{self.address(version)}/{prefix}", "dev", DEVICE, *more)

    def ping(self, other, version, *options, check=True):
        return self.host.run("ping", f"-{version}", "-c", 3, "-i", 0.2, "-W", 2, *options, other.address(version),
                             check=check)

    def poll(self, other, protocol, version, **options):
        address, port = other.address(version), PORTS[protocol]
        endpoint = f"{address}:{port}" if version == 4 else f"[{address}]:{port}"
        return Poller(self.host, endpoint, protocol, version, **options)


class Tunnel:
    """`left` and `right`, with the same key, and everything that crosses the switch between them in `switch`."""

    def __init__(self, version=4, udp=False, cipher=None):
        """With a cipher the keys are static."""
        self.lab = Lab("tunnel")
        self.version, self.static = version, ["--static", "--cipher", cipher] if cipher else []
        self.options = [*(["--udp"] if udp else []), *self.static]

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.switch = self.lab.switch()
            hosts = [self.lab.host(name, self.switch) for name in ("left", "right")]
            self.lab.ready()
            addresses = [host.address(self.version) for host in hosts]
            self.left, self.right = (
                End(host, number, peer, self.options)
                for number, (host, peer) in enumerate(zip(hosts, reversed(addresses)), 1))
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
            for end in (self.left, self.right):
                end.process.wait_log("agreed on keys")

    def __exit__(self, *error):
        self.lab.__exit__(*error)

    def pollers(self, **options):
        """In both directions, by both protocols and both versions of IP, through the tunnel."""
        for end in (self.left, self.right):
            for protocol in PORTS:
                serve(end.host, protocol)
        return [here.poll(there, protocol, version, **options)
                for here, there in ((self.left, self.right), (self.right, self.left))
                for protocol in PORTS for version in (4, 6)]
