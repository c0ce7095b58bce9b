"""`proto tsg`: the tunnel as an interface of netifd, the real one, from `ifup` to `ifdown`."""

import os
import shutil
import signal
import time

import pytest

from capture import Capture
from netifd import NETIFD, PROGRAM, NetifdHost
from netns import wait_for
from plant import binary
from topology import Lab

pytestmark = pytest.mark.skipif(not NETIFD, reason="TSG_NETIFD names no folder with OpenWrt's netifd")

# Of the script, before it tries once more.
PAUSE = 4
NETWORKS = """
config interface 'wan'
	option device 'eth0'
	option proto 'static'
	list ipaddr '{here}/24'
	list ip6addr '{here6}/64'

config interface 'vpn0'
	option proto 'tsg'
	option peer '{there}'
	list addresses '10.9.0.1/24'
	list addresses 'fd09::1/64'
"""


class Plant:
    """`left` has netifd, `right` the same tunnel by hand."""

    def __init__(self, version=4):
        self.lab, self.version = Lab("netifd"), version

    def __enter__(self):
        self.lab.__enter__()
        try:
            switch = self.lab.switch()
            self.left, self.right = (self.lab.host(name, switch) for name in ("left", "right"))
            self.lab.ready()
            self.box = NetifdHost(self.left, NETWORKS.format(
                here=self.left.ip4, here6=self.left.ip6, there=self.right.address(self.version)))
        except BaseException:
            self.lab.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error):
        self.box.close()
        self.lab.__exit__(*error)

    def other_end(self, *options):
        """Started by hand, with the key that the first has made."""
        key = self.lab.run.folder / "key"
        made = self.box.router.path("/etc/tsg/tunnel-vpn0.key")
        wait_for("there is a key", made.exists)
        shutil.copy(made, key)
        process = self.right.start(binary("tsg"), "--log", "stderr", "tunnel", "eth0", "--dst",
                                   self.left.address(self.version), "--tun", "tsg0", "--key-file", key, *options,
                                   log="tunnel")
        process.wait_log("tsg0: to ")
        self.right.ns.ip("addr", "add", "10.9.0.2/24", "dev", "tsg0")
        self.right.ns.ip("addr", "add", "fd09::2/64", "dev", "tsg0", "nodad")
        return process

    def pings(self, *addresses):
        return all(self.left.run("ping", "-c", 1, "-W", 1, address, check=False).returncode == 0
                   for address in addresses)

    def wait_ping(self):
        wait_for("packets go through", lambda: self.pings("10.9.0.2", "fd09::2"), 20)


@pytest.mark.parametrize("version", (4, 6))
def test_up_and_down(version):
    with Plant(version) as plant:
        box = plant.box
        status = box.wait("it comes up at boot", lambda status: status["up"])
        assert (status["l3_device"], status["proto"]) == ("vpn0", "tsg")
        assert [(one["address"], one["mask"]) for one in status["ipv4-address"]] == [("10.9.0.1", 24)]
        assert [(one["address"], one["mask"]) for one in status["ipv6-address"]] == [("fd09::1", 64)]
        plant.other_end()
        plant.wait_ping()
        first = box.pid()
        box.ifdown()
        box.wait("it is down", lambda status: not status["up"] and not status["pending"])
        wait_for("the program has ended", lambda: not os.path.exists(f"/proc/{first}"))
        assert "vpn0" not in plant.left.run("ip", "-br", "link").stdout
        box.ifup()
        box.wait("it is up again", lambda status: status["up"])
        plant.wait_ping()


def test_a_program_that_dies_is_started_again():
    with Plant() as plant:
        plant.box.wait("it comes up at boot", lambda status: status["up"])
        plant.other_end()
        plant.wait_ping()
        first = plant.box.pid()
        os.kill(first, signal.SIGKILL)
        wait_for("another one runs", lambda: plant.box.pid() not in (None, first))
        plant.box.wait("it is up again", lambda status: status["up"])
        plant.wait_ping()


def test_a_box_that_is_slow():
    """The interface waits for its device."""
    with Plant() as plant:
        box = plant.box
        box.wait("it comes up at boot", lambda status: status["up"])
        box.run("mv", PROGRAM, f"{PROGRAM}.real")
        box.write(PROGRAM, f'#!/bin/sh\nsleep 2\nexec {PROGRAM}.real "$@"\n', 0o755)
        box.ifup()
        status = box.wait("it is up again", lambda status: status["up"] and status["uptime"] < 2)
        assert status["ipv4-address"] and "inet 10.9.0.1" in plant.left.run("ip", "addr", "show", "vpn0").stdout


def test_what_is_wrong_is_named_and_stays_down():
    """Until it is corrected."""
    with Plant() as plant:
        box = plant.box
        box.wait("it comes up at boot", lambda status: status["up"])
        for line, code in (("set network.vpn0.peer=1.2.3.400", "TSG_PEER"), ("delete network.vpn0.peer", "MISSING_PEER_ADDRESS")):
            box.uci(line)
            box.wait(code, lambda status, code=code: codes(status) == [code] and not status["up"])
        assert "option peer is missing" in box.netifd.said() and box.pid() is None
        said = box.netifd.said()
        time.sleep(2 * PAUSE)
        assert box.netifd.said() == said, "it is said once"
        box.uci(f"set network.vpn0.peer={plant.right.ip4}")
        box.wait("it is up again", lambda status: status["up"])
        box.uci("delete network.vpn0.peer")
        box.wait("it is down", lambda status: codes(status) == ["MISSING_PEER_ADDRESS"])
        box.ifdown()
        box.wait("nothing waits any more", lambda status: not status["pending"])
        waiting = plant.left.run("ip", "netns", "pids", plant.left.ns.name).stdout.split()
        assert not any("2147483647" in plant.left.run("cat", f"/proc/{pid}/cmdline", check=False).stdout for pid in waiting)


def test_a_program_that_cannot_start_is_tried_again_with_pauses():
    with Plant() as plant:
        box = plant.box
        box.wait("it comes up at boot", lambda status: status["up"])
        key = box.router.path("/etc/tsg/tunnel-vpn0.key")
        key.chmod(0o644)
        os.kill(box.pid(), signal.SIGKILL)
        box.wait("why it is not up", lambda status: codes(status) == ["TSG_FAILED"])
        assert "chmod 600" in box.netifd.said()
        key.chmod(0o600)
        box.wait("it comes up by itself", lambda status: status["up"])
        key.chmod(0o644)
        os.kill(box.pid(), signal.SIGKILL)
        box.wait("that it is not up again", lambda status: codes(status) == ["TSG_FAILED"])
        box.ifdown()
        box.wait("it is down at once", lambda status: not status["pending"], 2)


def test_a_link_that_comes_later():
    """And one that goes, and a name that nobody knows at first."""
    with Plant() as plant:
        box = plant.box
        box.wait("it comes up at boot", lambda status: status["up"])
        box.uci("set network.vpn0.tunlink=wan", "set network.vpn0.peer=vpn.example.org")
        box.wait("nobody knows the name", lambda status: codes(status) == ["PEER_RESOLVE_FAIL"])
        box.write("/router/names", f"vpn.example.org {plant.right.ip4}\n")
        box.wait("it comes up by itself", lambda status: status["up"])
        box.ifdown("wan")
        box.wait("it is not there", lambda status: not status["up"] and not status["available"])
        wait_for("why not is said", lambda: f"no way to {plant.right.ip4} by interface wan yet" in box.netifd.said())
        assert box.pid() is None
        box.ubus("network.interface.wan", "up")
        box.wait("it comes up by itself", lambda status: status["up"])
        plant.other_end()
        plant.wait_ping()


def test_everything_through_the_tunnel_but_the_tunnel():
    with Plant() as plant:
        box, there = plant.box, "203.0.113.9"
        box.wait("it comes up at boot", lambda status: status["up"])
        plant.right.ns.ip("addr", "add", f"{there}/32", "dev", "lo")
        box.uci(f"set network.wan.gateway={plant.right.ip4}", f"set network.vpn0.peer={there}",
                "add_list network.vpn0.routes=0.0.0.0/0", "add_list network.vpn0.routes=::/0")
        box.wait("it is up by another route", lambda status: status["up"] and len(status["route"]) == 4)
        shown = plant.left.run("ip", "route", "get", there).stdout
        assert "dev eth0" in shown, shown
        assert all("dev vpn0" in plant.left.run("ip", "route", "get", address).stdout for address in ("1.2.3.4", "198.51.100.1", "2001:db8::1"))
        box.ifdown()
        box.wait("it is down", lambda status: not status["up"] and not status["pending"])
        wait_for("the way that was there before is there again",
                 lambda: "dev eth0" in plant.left.run("ip", "route", "get", "1.2.3.4").stdout)


def test_an_other_end_that_calls_from_anywhere():
    with Plant() as plant:
        box = plant.box
        box.wait("it comes up at boot", lambda status: status["up"])
        box.uci("set network.vpn0.peer=0.0.0.0")
        box.wait("it is not said by which interface", lambda status: codes(status) == ["TSG_TUNLINK"])
        box.uci("set network.vpn0.tunlink=wan")
        box.wait("it is up", lambda status: status["up"])
        plant.other_end()
        plant.wait_ping()


def test_transport_mode():
    """Under the addresses that the two have, by the interface that is named, and never in clear again."""
    with Plant() as plant:
        box, here, there = plant.box, plant.left, plant.right.ip4
        box.wait("it comes up at boot", lambda status: status["up"])
        box.uci("set network.vpn0.transport=1", "set network.vpn0.tunlink=wan")
        box.wait("there is nothing in such a tunnel", lambda status: codes(status) == ["TSG_TRANSPORT"])
        box.uci("delete network.vpn0.addresses")
        for again in range(2):
            if again:
                box.ifup()
            box.wait("it is up", lambda status: status["up"])
            other = plant.other_end("--transport")
            capture = Capture(here, device="eth0")
            wait_for("packets go through", lambda: plant.pings(there), 20)
            capture.stop()
            clear, sealed = capture.count("icmp", f"esp && ip.dst == {there}")
            assert clear == 0 and sealed > 0
            other.stop()
            box.ifdown()
            box.wait("it is down", lambda status: not status["up"] and not status["pending"])
            assert not plant.pings(there)


def codes(status):
    return [error["code"] for error in status.get("errors", [])]
