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
