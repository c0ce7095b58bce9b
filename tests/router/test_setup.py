"""`tsg setup` with the program itself: whom it calls, in which order, and what it takes back."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from router import OPENWRT, Router

REPOSITORY = Path(__file__).resolve().parents[2]
NETWORK = """config interface 'loopback'
	option device 'lo'

config interface 'wan'
	option device 'wan'
	option proto 'dhcp'
"""

pytestmark = pytest.mark.skipif(OPENWRT is not None, reason="the program is this machine's")


@pytest.fixture(scope="module")
def program():
    subprocess.run([REPOSITORY / "tests/programs"], check=True)
    return REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "release/tsg"


@pytest.fixture
def box(tools, program):
    """A router with two ports. Its `tsg` is the program; what that and the init script call is the stand-in."""
    name = f"tsg-setup-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for port in ("lan1", "wan"):
            subprocess.run(["ip", "-n", name, "link", "add", port, "type", "veth", "peer", "name", f"{port}-far"], check=True)
        router = Router(tools, enter=("ip", "netns", "exec", name))
        router.procd_runs()
        shutil.copy(program, router.path("/router/tsg"))
        router.path("/etc/init.d/network").write_text('#!/bin/sh\necho "network $*" >>/router/calls\n')
        router.path("/etc/init.d/network").chmod(0o755)
        router.path("/etc/config/network").write_text(NETWORK)
        yield router
        router.close()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def calls_of(box, *arguments):
    box.path("/router/calls").write_text("")
    box.run("/router/tsg", "setup", *arguments)
    return [call for call in box.calls() if not call.startswith("ubus")]


def test_the_gate_stands_before_the_ports_join_their_bridge(box):
    assert calls_of(box, "--lan", "lan1", "--wan", "wan", "--apply")[:2] == ["tsg gate", "network reload"]
    assert "br-tsg" in box.path("/etc/config/network").read_text()


def test_an_undo_leaves_the_server_that_came_since(box):
    before = box.run("uci", "show", "tsg.bridge").stdout
    calls_of(box, "--lan", "lan1", "--wan", "wan", "--apply")
    assert box.run("uci", "show", "tsg.bridge").stdout != before
    # uci writes the whole file anew.
    box.uci("set tsg.main.server=tcp://192.0.2.10:5555")
    assert calls_of(box, "--undo")[0] == "network reload"
    assert box.path("/etc/config/network").read_text() == NETWORK
    assert box.run("uci", "show", "tsg.bridge").stdout == before
    assert box.run("uci", "get", "tsg.main.server").stdout == "tcp://192.0.2.10:5555\n"
