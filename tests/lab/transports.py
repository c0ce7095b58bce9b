"""Two hosts on a switch in transport mode, which talk under their own addresses."""

from netns import wait_for
from plant import PORTS
from tunnels import DEVICE, End, Tunnel

TABLE = f"tsg-transport-{DEVICE}"


class TransportEnd(End):
    """One host. There are no addresses but its own, of the carrier's version."""

    def address(self, version):
        return self.host.address(version)

    def give_addresses(self):
        pass

    def is_guarded(self):
        """Whether the filter is there that keeps out what is in clear."""
        return bool(self.filter())

    def filter(self):
        """As nft lists it; nothing if there is none."""
        return self.host.run("nft", "list", "table", "inet", TABLE, check=False).stdout


class Transport(Tunnel):
    kind = TransportEnd

    def __init__(self, version=4, udp=False, cipher=None):
        super().__init__(version, udp, cipher)
        self.options.append("--transport")

    def pollers(self, servers=True, **options):
        """In both directions, by both protocols."""
        if servers:
            self.serve()
        return [here.poll(there, protocol, self.version, **options)
                for here, there in ((self.left, self.right), (self.right, self.left)) for protocol in PORTS]

    def change_mtu(self, mtu):
        """Of the path; both devices follow."""
        for end in (self.left, self.right):
            end.host.ns.ip("link", "set", "eth0", "mtu", mtu)
            wait_for("another MTU", lambda end=end: mtu - 60 < end.mtu < mtu)


def sealed_and_clear(version, udp):
    """In tshark's words: what carries ESP, and all else between the two hosts but how they find each other on the wire."""
    ip, hosts = ("ip", "10.77.0.0/24") if version == 4 else ("ipv6", "fd77::/64")
    # Only the first fragment has ports.
    later = f"({'ip.frag_offset > 0' if version == 4 else 'ipv6.fraghdr.offset > 0'})"
    if udp:
        sealed = f"(udp.srcport == 4500 && udp.dstport == 4500 || {later})"
    else:
        sealed = "(ip.proto == 50)" if version == 4 else "(ipv6.nxt == 50 || ipv6.fraghdr.nxt == 50)"
    between = f"({ip}.src == {hosts} && {ip}.dst == {hosts})"
    neighbours = "(icmpv6.type == 135 || icmpv6.type == 136)"
    return f"{between} && {sealed}", f"{between} && !{sealed} && !{neighbours}"
