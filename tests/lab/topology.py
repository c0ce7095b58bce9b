"""The plant: hosts, gateways and a switch, wired as the caller says.

    with Lab("name") as lab:
        switch = lab.switch()
        gwa, gwb = lab.gateway("gwa", switch), lab.gateway("gwb", switch)
        plc, hmi = lab.host("plc", gwa), lab.host("hmi", gwb)

Without daemons a gateway is a plain bridge that carries everything. Addresses are 10.77.0.N and
fd77::N: hosts from 10 up, gateways from 101 up, the key server 250.
"""

import ipaddress
import itertools
import os
import signal
import sys

from netns import Namespace, Run, wait_for

SERVER_NUMBER = 250


class Node:
    """A namespace with addresses on one interface."""

    def __init__(self, lab, name, number):
        self.lab, self.name, self.number = lab, name, number
        self.ns = Namespace(lab.run, name)
        self.ip4, self.ip6 = f"10.77.0.{number}", f"fd77::{number}"

    def address(self, version):
        return self.ip4 if version == 4 else self.ip6

    def packed(self, version):
        return ipaddress.ip_address(self.address(version)).packed

    def endpoint(self, version, port):
        """Address and port as programs write it."""
        return f"{self.ip4}:{port}" if version == 4 else f"[{self.ip6}]:{port}"

    def _configure(self, device):
        self.ns.ip("addr", "add", f"{self.ip4}/24", "dev", device)
        self.ns.ip("addr", "add", f"{self.ip6}/64", "dev", device, "nodad")
        self.ns.ip("route", "add", "224.0.0.0/4", "dev", device)

    def start(self, *argv, log, env=None):
        return self.ns.start(*argv, log=f"{self.name}-{log}", env=env)

    def run(self, *argv, **kwargs):
        return self.ns.run(*argv, **kwargs)


class Bridge(Node):
    """What others can be plugged into."""

    def __init__(self, lab, name, number):
        super().__init__(lab, name, number)
        lab.bridges.append(self)
        self.ports = []
        self.ns.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")

    def up(self):
        self.ns.ip("link", "set", "br0", "up")

    def replace_bridge(self):
        """Another bridge of that name, with another address and the same ports."""
        self.ns.ip("link", "del", "br0")
        self.ns.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        for port in self.ports:
            self.ns.ip("link", "set", port, "master", "br0", "up")
        self.up()
        self._configure("br0")

    def new_port(self):
        """The name of a port that is not there yet; `adopt` follows."""
        raise NotImplementedError

    join = ["master", "br0", "up"]

    def adopt(self, port):
        self.ports.append(port)
        self.take_back(port)

    def take_back(self, port):
        """A port of this bridge that was not there for a while."""
        self.ns.ip("link", "set", port, *self.join)

    def forwards(self):
        states = self.run("sh", "-c", "cat /sys/class/net/*/brport/state /sys/class/net/br0/carrier")
        return states.stdout.split() == ["3"] * len(self.ports) + ["1"]


class Switch(Bridge):
    """The plant's switch. Its bridge device sees every frame once: captures happen there."""

    def __init__(self, lab, name):
        super().__init__(lab, name, 0)
        self.ns.sysctl({"net/ipv6/conf/br0/disable_ipv6": 1})
        self.up()

    def new_port(self):
        return f"port{len(self.ports)}"


class Gateway(Bridge):
    """The box: `br0` of `lan0`, `lan1`, … and `wan0`, with its own address on the bridge. Without an
    uplink the caller plugs `wan0` in."""

    def __init__(self, lab, name, number, uplink=None):
        super().__init__(lab, name, number)
        self.standalone = False
        if uplink:
            lab.cable(self.ns, "wan0", uplink)
            self.adopt("wan0")
        self.up()
        self._configure("br0")

    def stand_alone(self):
        """Without a bridge from now on, as the ports of a switch chip have to be. The box's own address is on
        `box0`, and `box1` is the port that it is behind."""
        self.standalone = True
        self.ns.ip("link", "del", "br0")
        self._wire_box()

    def _wire_box(self):
        self.ns.ip("link", "add", "box0", "type", "veth", "peer", "name", "box1")
        for device in ("box0", "box1"):
            self.ns.ip("link", "set", device, "up")
        self._configure("box0")

    def replace_bridge(self):
        if not self.standalone:
            return super().replace_bridge()
        self.ns.ip("link", "del", "box0")
        self._wire_box()

    @property
    def join(self):
        """What `ip link set` says of a port that comes in."""
        return ["up"] if self.standalone else super().join

    def forwards(self):
        return self.standalone or super().forwards()

    def cut_at_wan(self):
        """The wire at `wan0` is as real ones are: nothing goes over it uncut, and GRO may join what comes."""
        self.run("ethtool", "-K", "wan0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "on")

    @property
    def lan(self):
        return [port for port in self.ports if port.startswith("lan")]

    def new_port(self):
        return f"lan{len(self.lan)}"


class Host(Node):
    """A machine that knows nothing of all this."""

    def __init__(self, lab, name, number, uplink):
        super().__init__(lab, name, number)
        lab.cable(self.ns, "eth0", uplink)
        self.plug_in()

    def plug_in(self):
        """The device is there: it gets its addresses."""
        self.ns.ip("link", "set", "eth0", "up")
        self._configure("eth0")


class Lab:
    """One run: makes the parts, wires them, and takes all away at the end."""

    def __init__(self, name="lab", offloads=os.environ.get("TSG_LAB_OFFLOADS") != "0"):
        prefix = os.environ.get("TSG_LAB_PREFIX")
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.run = Run(f"{prefix}{worker}{name}" if prefix else f"tsg{os.getpid()}{name}")
        self.offloads, self.bridges, self.far_ends = offloads, [], {}
        self._hosts, self._gateways = itertools.count(10), itertools.count(101)

    def switch(self, name="plant"):
        return Switch(self, name)

    def gateway(self, name, uplink=None):
        return Gateway(self, name, next(self._gateways), uplink)

    def host(self, name, uplink, number=None):
        return Host(self, name, number or next(self._hosts), uplink)

    def server(self, uplink):
        """The machine of the key server."""
        return self.host("server", uplink, SERVER_NUMBER)

    def cable(self, namespace, device, uplink):
        """Plugs a new `device` of `namespace` into a new port of `uplink`."""
        port = uplink.new_port()
        self.wire(namespace, device, uplink, port)
        uplink.adopt(port)

    def wire(self, namespace, device, uplink, port):
        """A wire from `device` of `namespace` to `port` of `uplink`, which no bridge has yet."""
        namespace.ip("link", "add", device, "type", "veth",
                     "peer", "name", port, "netns", uplink.ns.name)
        if not self.offloads:
            for end, name in ((namespace, device), (uplink.ns, port)):
                end.run("ethtool", "-K", name, "tx", "off", "rx", "off", "tso", "off",
                        "gso", "off", "gro", "off")
        self.far_ends[namespace.name, device] = uplink.ns, port

    def replug(self, namespace, device, uplink):
        """Pulls the plug of `device` and puts it, with the address it has, into a new port of `uplink`."""
        address = namespace.mac(device).hex(":")
        namespace.ip("link", "del", device)
        self.cable(namespace, device, uplink)
        namespace.ip("link", "set", device, "address", address)

    def replace_wire(self, namespace, device, uplink):
        """Takes a wire with both its ports away and puts in a new one, with the names and the address
        of the old one. It carries frames before a bridge has it. Returns the uplink's port."""
        _, port = self.far_ends[namespace.name, device]
        address = namespace.mac(device).hex(":")
        namespace.ip("link", "del", device)
        self.wire(namespace, device, uplink, port)
        namespace.ip("link", "set", device, "address", address, "up")
        uplink.ns.ip("link", "set", port, "up")
        for end, name in ((namespace, device), (uplink.ns, port)):
            state = f"/sys/class/net/{name}/operstate"
            wait_for(f"{name} carries", lambda: end.run("cat", state).stdout.strip() == "up")
        return port

    def ready(self):
        """Waits until every bridge forwards on every port: the kernel needs a second for that."""
        for bridge in self.bridges:
            wait_for(f"{bridge.name} forwards", bridge.forwards)

    def __enter__(self):
        self._handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_error):
        signal.signal(signal.SIGTERM, self._handler)
        self.run.close()
