"""A router whose interfaces are netifd's, the real one, with a tunnel as one of them.

TSG_NETIFD names the folder of what tests/router/netifd builds."""

import json
import os
import sys
from pathlib import Path

from netns import wait_for
from plant import REPOSITORY

sys.path.append(str(REPOSITORY / "tests/router"))
from router import STAND_INS, Router  # noqa: E402

NETIFD = os.environ.get("TSG_NETIFD")
# Where tsg-proto has the tunnel's program.
PROGRAM = "/usr/libexec/tsg/tunnel"
# Names that can be looked up, one `NAME ADDRESS` a line.
RESOLVEIP = """#!/bin/sh
for name; do :; done
sed -n "s/^$name //p" /router/names
"""


class NetifdHost:
    """netifd on a host of the lab. `networks` is what /etc/config/network has beside the loopback."""

    def __init__(self, host, networks):
        self.host, folder = host, Path(NETIFD)
        programs = {name: folder / name for name in ("netifd", "ubusd", "ubus", "jshn")}
        self.router = Router(folder, {**programs, "logger": STAND_INS["logger"]}, host.ns.argv(), "tsg-proto")
        for name in ("names", "calls", "log"):
            self.write(f"/router/{name}", "")
        self.write("/usr/sbin/resolveip", RESOLVEIP, 0o755)
        # /lib is a link.
        for name, where in (("netifd-proto.sh", "/usr/lib/netifd"), ("utils.sh", "/usr/lib/netifd"),
                            ("jshn.sh", "/usr/share/libubox")):
            self.write(f"{where}/{name}", (folder / name).read_text())
        self.write("/etc/config/network", networks)
        self.run("mkdir", "-p", "/var/run/ubus")
        socket = "/var/run/ubus/ubus.sock"
        self.bus = host.start(*self.router.argv("ubusd", "-s", socket), log="ubusd")
        wait_for("ubusd is there", lambda: self.run("test", "-S", socket, check=False).returncode == 0)
        self.netifd = host.start(*self.router.argv("netifd", "-s", socket, "-r", "/tmp/resolv.conf", "-h", "/bin/true",
                                                   "-l", "5", "-S"), log="netifd")

    def write(self, path, text, mode=0o644):
        path = self.router.path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(self, *argv, **options):
        return self.host.run(*self.router.argv(*argv), timeout=60, **options)

    def ubus(self, *argv, check=True):
        done = self.run("ubus", "call", *argv, check=check)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def uci(self, *lines):
        """Settings as an operator makes them, and taken over."""
        for line in lines:
            self.run("uci", *line.split(" ", 1))
        self.run("uci", "commit", "network")
        self.ubus("network", "reload")

    def ifup(self, name="vpn0"):
        self.ubus(f"network.interface.{name}", "down")
        self.ubus(f"network.interface.{name}", "up")

    def ifdown(self, name="vpn0"):
        self.ubus(f"network.interface.{name}", "down")

    def status(self, name="vpn0"):
        return self.ubus(f"network.interface.{name}", "status", check=False)

    def wait(self, what, probe, seconds=15):
        """Until netifd says so; returns all that it says."""
        def seen():
            status = self.status()
            return status if status and probe(status) else None
        return wait_for(f"netifd says: {what}", seen, seconds)

    def pid(self):
        """The program's, as the router has only one."""
        found = self.host.run("pgrep", "-f", f"^{PROGRAM} .*tunnel ", check=False).stdout.split()
        own = set(self.host.run("ip", "netns", "pids", self.host.ns.name).stdout.split())
        found = [int(pid) for pid in found if pid in own]
        assert len(found) < 2, found
        return found[0] if found else None

    def close(self):
        self.netifd.stop()
        self.bus.stop()
        self.router.close()
