"""What may stand in the gateways. Each is a context that gives a layout ready to be measured."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import attaches
from daemons import EVERYTHING, GROUP, Box, KeyServer, bring_up
from layout import OUTSIDE, Layout
from peers import PEERS, Unavailable, outside, route
from topology import Lab
from tunnels import DEVICE, connect, ends, options

HERE = Path(__file__).parent


@contextmanager
def plain(offloads):
    with Lab("plain", offloads=offloads) as lab:
        layout = Layout(lab)
        lab.ready()
        yield layout


@contextmanager
def tsg(attach, **settings):
    """A group that seals everything, and two gateways in it."""
    missing = attaches.offered()[attach]
    if missing:
        raise Unavailable(missing)
    with Lab("tsg") as lab:
        layout = Layout(lab)
        server = KeyServer(layout.control())
        lab.ready()
        server.start()
        server.group(GROUP, EVERYTHING, mode="enforce", **settings)
        bring_up(server, [Box(gateway, server, attach) for gateway in layout.gateways])
        yield layout


@contextmanager
def tsg_tunnel(udp):
    """Two routers, and the tunnel of docs/routed.md between them. The device says what it leaves to the hosts."""
    with outside() as layout:
        ends = connect(layout.gateways, OUTSIDE, options(udp), interface="wan0")
        route(layout, [DEVICE, DEVICE], ends[0].mtu)
        yield layout


@contextmanager
def kernel_xfrm(udp):
    """The same without `tsg`: both ends are the kernel's, by the scripts that `tsg tunnel --static --xfrm` prints."""
    with outside() as layout:
        near = layout.gateways[0]
        if near.run("ip", "link", "add", DEVICE, "type", "xfrm", "if_id", 1, check=False).returncode:
            raise Unavailable("this kernel has no XFRM: tests/vm/bench has one")
        near.ns.ip("link", "delete", DEVICE)
        one, other = ends(layout.gateways, OUTSIDE, [*options(udp), "--static"], interface="wan0")
        # It makes the key.
        one.start().process.stop()
        shutil.copy(one.key, other.key)
        for end, there in ((one, other), (other, one)):
            script = there.folder / "end"
            script.write_text(end.host.run(*end.argv("--xfrm")).stdout)
            there.host.run("sh", script)
            there.give_addresses()
        route(layout, [DEVICE, DEVICE], one.mtu)
        yield layout


@contextmanager
def predecessor():
    """One netfilter queue, one thread, a verdict a packet."""
    program = _compiled("predecessor")
    with Lab("old") as lab:
        layout = Layout(lab)
        layout.set_mtu(1400)
        for gateway in layout.gateways:
            gateway.ns.sysctl({"net/bridge/bridge-nf-call-iptables": 1})
            gateway.run("iptables", "-A", "FORWARD", "-m", "physdev", "--physdev-is-bridged",
                        "-j", "NFQUEUE", "--queue-num", "0")
            gateway.start(program, log="predecessor").wait_line(lambda line: line == "ready")
        lab.ready()
        yield layout


def _compiled(name):
    program = Path("/run/tsg-lab") / name
    program.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, HERE / f"{name}.c",
                    "-lnetfilter_queue", "-lnfnetlink", "-lsodium"], check=True)
    return program


def all_contestants():
    """By name, in the order of the table."""
    made = {
        "plain on": lambda: plain(True),
        "plain off": lambda: plain(False),
    }
    for attach in attaches.NAMES:
        for encap in ("protocol", "udp"):
            for cipher in ("aes-256-gcm", "chacha20-poly1305"):
                name = f"tsg {attach} {'253' if encap == 'protocol' else encap} {cipher}"
                made[name] = lambda attach=attach, encap=encap, cipher=cipher: tsg(
                    attach, encap=encap, cipher=cipher)
    made["tsg tunnel"] = lambda: tsg_tunnel(udp=False)
    made["tsg tunnel udp"] = lambda: tsg_tunnel(udp=True)
    made["kernel xfrm"] = lambda: kernel_xfrm(udp=False)
    made["kernel xfrm udp"] = lambda: kernel_xfrm(udp=True)
    return made | PEERS | {"predecessor": predecessor}
