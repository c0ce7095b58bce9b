"""Hotplug, uci-defaults, what an upgrade keeps, and the LED."""

import subprocess
import threading
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("port, action, held", [
    ("lan1", "add", True), ("wan", "add", True), ("wan", "move", True), ("lan1", "remove", False),
    ("lan", "add", False), ("lan11", "add", False), ("eth0", "add", False)])
def test_a_port_that_comes_back_has_its_gate(router, port, action, held):
    calls = router.hotplug("net", ACTION=action, DEVICENAME=port)
    assert calls == (["tsg gate"] if held else [])


def test_lro_stays_off_where_ports_are_connected_without_a_daemon(router):
    router.uci("set tsg.bridge.standalone=1")
    assert router.hotplug("net", ACTION="add", DEVICENAME="lan1") == ["tsg gate", "tsg offloads"]


def test_the_daemon_looks_after_ports_itself(router):
    router.settled()
    assert router.hotplug("net", ACTION="add", DEVICENAME="lan1") == []


@pytest.mark.parametrize("standalone, action, connected", [
    ("1", "ifup", True), ("1", "ifupdate", True), ("1", "ifdown", False), ("0", "ifup", False)])
def test_standalone_ports_follow_the_addresses_of_the_box(router, standalone, action, connected):
    router.uci(f"set tsg.bridge.standalone={standalone}")
    calls = router.hotplug("iface", ACTION=action, INTERFACE="lan", DEVICE="box0")
    assert calls == (["tsg gate"] if connected else [])


def defaults(router):
    return router.run("sh", "/etc/uci-defaults/50-tsg")


def test_settings_without_a_name_get_it_once(router):
    before = router.path("/etc/config/tsg").read_text()
    defaults(router)
    assert router.path("/etc/config/tsg").read_text() == before, "nothing to do"
    router.path("/etc/config/tsg").write_text("config tsg\n\toption fail 'open'\n")
    for _ in range(2):
        defaults(router)
        assert router.run("uci", "get", "tsg.main.fail").stdout == "open\n"
    assert router.path("/etc/config/tsg").stat().st_mode & 0o777 == 0o600


def test_nothing_to_migrate_is_no_failure(router):
    router.path("/etc/config/tsg").unlink()
    defaults(router)


def test_an_upgrade_keeps_the_identity_and_no_keys(router):
    for path in ("/etc/tsg/key", "/etc/tsg/policy.json", "/etc/tsg.cache/keys"):
        router.path(path).parent.mkdir(exist_ok=True)
        router.path(path).write_text("x")
    # As sysupgrade's list of files is made.
    kept = router.run("sh", "-c", "find $(sed -ne '/^[[:space:]]*$/d; /^#/d; p' /lib/upgrade/keep.d/tsg) -type f"
                      ).stdout.split()
    assert sorted(kept) == ["/etc/tsg/key", "/etc/tsg/policy.json"]


def test_an_upgrade_keeps_the_keys_of_tunnels(router):
    """By tsg-proto's own list, on a router that has no gateway."""
    router.path("/etc/tsg/tunnel-vpn0.key").write_text("x")
    kept = router.run("sh", "-c", "find $(sed -ne '/^[[:space:]]*$/d; /^#/d; p' /lib/upgrade/keep.d/tsg-proto) -type f")
    assert kept.stdout.split() == ["/etc/tsg/tunnel-vpn0.key"]


STEADY = {"trigger": "none", "brightness": "255"}
SLOW = {"trigger": "timer", "delay_on": "1000", "delay_off": "1000"}
FAST = {"trigger": "timer", "delay_on": "100", "delay_off": "100"}
OFF = {"trigger": "none", "brightness": "0"}


class Led:
    """The script at work. The bus answers with what is in a file, and not at all without one."""

    def __init__(self, router, pause="1"):
        self.router, self.folder = router, router.path("/router/leds/green:status")
        self.folder.mkdir(parents=True)
        (self.folder / "max_brightness").write_text("255")
        ubus = router.path("/usr/sbin/ubus")
        ubus.write_text("""#!/bin/sh
case $* in
*"call tsg status") cat /router/status 2>/dev/null ;;
*subscribe*) exec sleep 60 ;;
esac
""")
        self.pause = pause

    def __enter__(self):
        self.process = subprocess.Popen(self.router.argv("/usr/libexec/tsg/led", "green:status"), env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LEDS": "/router/leds", "PAUSE": self.pause})
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def says(self, status):
        """The next answer of the bus."""
        self.router.path("/router/next").write_text(status)
        self.router.path("/router/next").rename(self.router.path("/router/status"))

    def shows(self, wanted, seconds=10):
        """Waits for it."""
        deadline, tick = time.monotonic() + seconds, threading.Event()
        while True:
            files = {path.name: path.read_text().strip() for path in self.folder.iterdir()}
            seen = {name: files.get(name) for name in wanted}
            if seen == wanted:
                return
            assert time.monotonic() < deadline, f"{seen} instead of {wanted}"
            tick.wait(0.05)

    def children(self):
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()


PORTS = '[{"device":"br0","attach":"ingress"}]'


def sealing(more='"bypass":null', mode="enforce", attach='"ingress"', alarms=""):
    return f'{{"state":"sealing","mode":"{mode}",{more},"bridges":[{{"device":"br0","attach":{attach}}}],"alarms":[{alarms}]}}'


@pytest.mark.parametrize("status, shown", [
    (sealing(), STEADY), (sealing(mode="migrate"), STEADY), (sealing(alarms='"br0: no"'), SLOW),
    (sealing(mode="learn"), FAST), (sealing(mode="receive-only"), FAST), (sealing(attach="null"), FAST),
    (sealing().replace(PORTS, "[]"), FAST), (sealing('"bypass":null,"routed":true').replace(PORTS, "[]"), STEADY),
    (sealing('"bypass":{"ends_in_s":60}', alarms='"bypass"'), FAST),
    ('{"state":"pending","alarms":["an operator"]}', FAST), ('{"state":"idle","alarms":[]}', OFF), (None, OFF)])
def test_the_led_shows_how_the_gateway_is(router, status, shown):
    led = Led(router)
    if status:
        led.says(status)
    with led:
        led.shows(shown)


def test_the_led_goes_out_with_the_daemon_and_on_with_it(router):
    """However that ends: nothing tells of it."""
    led = Led(router)
    led.says(sealing())
    with led:
        led.shows(STEADY)
        router.path("/router/status").unlink()
        led.shows(OFF)
        led.says(sealing(mode="learn"))
        led.shows(FAST)


def test_the_led_is_left_off_and_nothing_behind(router):
    """procd kills by force five seconds after it has told to end."""
    led = Led(router, pause="60")
    led.says(sealing())
    with led:
        led.shows(STEADY)
        deadline, tick = time.monotonic() + 10, threading.Event()
        while not led.children() and time.monotonic() < deadline:
            tick.wait(0.05)
        children = led.children()
        assert children
        led.process.terminate()
        assert led.process.wait(4) == 0
        led.shows(OFF, 0)
        deadline = time.monotonic() + 2
        while (left := [pid for pid in children if Path(f"/proc/{pid}/exe").exists()]) and time.monotonic() < deadline:
            tick.wait(0.05)
        assert not left


def test_a_led_that_is_not_there_is_said(router):
    router.path("/router/leds/blue:wan").mkdir(parents=True)
    # As procd ends it: alone, and not what it waits for, of which the shell would say so.
    done = router.run(
        "timeout", "--foreground", "1", "/usr/libexec/tsg/led", "green:status", check=False, LEDS="/router/leds")
    assert len(done.stderr.splitlines()) == 1, "not again and again"
    assert '"green:status"' in done.stderr and "blue:wan" in done.stderr
