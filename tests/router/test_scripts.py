"""Hotplug, uci-defaults, and what an upgrade keeps."""

import pytest


@pytest.mark.parametrize("port, action, held", [
    ("lan1", "add", True), ("wan", "add", True), ("wan", "move", True), ("lan1", "remove", False),
    ("lan", "add", False), ("lan11", "add", False), ("eth0", "add", False)])
def test_a_port_that_comes_back_has_its_gate(router, port, action, held):
    calls = router.hotplug("net", ACTION=action, DEVICENAME=port)
    assert calls == (["tsg gate"] if held else [])


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


@pytest.mark.parametrize("status, shown", [
    ('{"state":"sealing","alarms":[]}', {"trigger": "none", "brightness": "255"}),
    ('{"state":"sealing","alarms":["br0: no"]}', {"trigger": "timer", "delay_on": "1000", "delay_off": "1000"}),
    ('{"state":"pending","alarms":["an operator"]}', {"trigger": "timer", "delay_on": "100", "delay_off": "100"}),
    ('{"state":"idle","alarms":[]}', {"trigger": "none", "brightness": "0"}),
    ("", {"trigger": "none", "brightness": "0"})])
def test_the_led_shows_how_the_gateway_is(router, status, shown):
    leds = router.path("/router/leds/green:status")
    leds.mkdir(parents=True)
    (leds / "max_brightness").write_text("255")
    # The bus: the answer, and a subscription that tells what the LED shows while it lasts.
    router.path("/router/bus").write_text(f"""#!/bin/sh
case $* in
"call tsg status") echo '{status}' ;;
"subscribe tsg") mkdir /router/seen; cp /router/leds/*/* /router/seen ;;
esac
""")
    router.run("cp", "/router/bus", "/usr/sbin/ubus")
    router.run("chmod", "755", "/usr/sbin/ubus")
    router.run("/usr/libexec/tsg/led", "green:status", LEDS="/router/leds")
    seen = {path.name: path.read_text().strip() for path in router.path("/router/seen").iterdir()}
    assert {name: seen.get(name) for name in shown} == shown
    assert (leds / "brightness").read_text() == "0\n", "off without a daemon"


def test_a_led_that_is_not_there_is_said(router):
    router.path("/router/leds/blue:wan").mkdir(parents=True)
    done = router.run("timeout", "1", "/usr/libexec/tsg/led", "green:status", check=False, LEDS="/router/leds")
    assert len(done.stderr.splitlines()) == 1, "not again and again"
    assert '"green:status"' in done.stderr and "blue:wan" in done.stderr
