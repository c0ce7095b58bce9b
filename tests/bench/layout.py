"""Host – gateway – gateway – host, and a key server that reaches the gateways by wires of its own."""

from topology import SERVER_NUMBER, Lab

# What is routed from one site to the other.
SITES = ("10.78.1", "10.78.2")
# The gateways' addresses on the wire between them, where that is no port of the bridge.
OUTSIDE = ("10.79.0.1", "10.79.0.2")


class Layout:
    """`bridged`: the wire between the gateways is a port of their bridges."""

    # The wire between the gateways carries 64 KiB at once, as between virtual machines, and not what a cable carries.
    uncut = False

    def __init__(self, lab: Lab, bridged=True):
        self.lab = lab
        self.gateways = [lab.gateway("gwa"), lab.gateway("gwb")]
        near, far = self.gateways
        lab.wire(near.ns, "wan0", far, "wan0")
        for gateway, address in zip(self.gateways, OUTSIDE):
            if bridged:
                gateway.adopt("wan0")
            else:
                gateway.ns.ip("addr", "add", f"{address}/24", "dev", "wan0")
                gateway.ns.ip("link", "set", "wan0", "up")
        self.hosts = [lab.host("hosta", near), lab.host("hostb", far)]
        self.target = self.hosts[1].ip4
        # Without offloads nothing is whole, and nothing is joined.
        if lab.offloads and not self.uncut:
            for gateway in self.gateways:
                gateway.cut_at_wan()

    def set_mtu(self, mtu):
        """What a tunnel leaves to the hosts."""
        for host in self.hosts:
            host.ns.ip("link", "set", "eth0", "mtu", mtu)

    def route(self):
        """The hosts in two networks, and the gateways their routers instead of bridges."""
        for site, host, gateway in zip(SITES, self.hosts, self.gateways):
            gateway.ns.ip("link", "set", "lan0", "nomaster")
            gateway.ns.ip("addr", "add", f"{site}.1/24", "dev", "lan0")
            gateway.ns.sysctl({"net/ipv4/ip_forward": 1})
            host.ns.ip("addr", "flush", "dev", "eth0")
            host.ns.ip("addr", "add", f"{site}.2/24", "dev", "eth0")
            host.ns.ip("route", "add", "default", "via", f"{site}.1")
        self.target = f"{SITES[1]}.2"

    def control(self):
        """The key server's machine."""
        switch = self.lab.switch("control")
        server = self.lab.server(switch)
        for gateway in self.gateways:
            self.lab.cable(gateway.ns, "ctl0", switch)
            gateway.ns.ip("link", "set", "ctl0", "up")
            gateway.ns.ip("route", "add", f"10.77.0.{SERVER_NUMBER}", "dev", "ctl0")
        return server
