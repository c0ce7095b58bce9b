"""What /etc/init.d/tsg tells procd, and what it does itself."""

import json
import re

import pytest

from router import BRIDGE, is_call

KEY = "cH0UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
SERVER = ("set tsg.main.server=tcp://192.0.2.10:5555", f"set tsg.main.server_key={KEY}")

# A value that is wrong for each option that has a form, and what the log names.
WRONG = [
    ("main.enabled", "maybe"), ("main.server_key", "short"), ("main.name", "n" * 65), ("main.attach", "magic"),
    ("main.oversize", "big"), ("main.path_mtu", "575"), ("main.path_mtu", "9217"), ("main.path_mtu", "many"),
    ("main.cache_keys", "2"), ("main.routed", "2"), ("main.log_level", "loud"), ("main.fail", "shut"),
    ("bridge.wan", "a-name-of-16-let"), ("bridge.device", "a-name-of-16-let"), ("bridge.standalone", "alone"),
    ("bridge.box", "a-name-of-16-let"), ("front.action", "encode"), ("front.enabled", "perhaps"),
    ("eth.device", "a-name-of-16-let"), ("eth.gro", "full"), ("eth.lro", "x"), ("eth.tso", "x"),
    ("eth.gso", "x"), ("eth.rx_gro_list", "x"), ("eth.rx_udp_gro_forwarding", "x"),
]


def test_the_instance(router):
    router.uci(*SERVER)
    calls = router.init("boot")
    message = router.message()
    assert message["name"] == "tsg"
    instance = message["instances"].pop("tsg")
    assert not message["instances"]
    assert instance["command"] == ["/usr/sbin/tsg", "run", "--log", "syslog"]
    assert instance["respawn"] == ["3600", "1", "0"], "0: procd never gives up"
    assert instance["stderr"] is True
    # ujail hands on no other environment, and the daemon runs nft.
    assert "/usr/sbin" in instance["env"]["PATH"].split(":")
    assert "file" not in instance, "of a wrong configuration, too, procd would start the program of an upgrade"
    assert "reload_signal" not in instance, "procd would never start it anew"
    assert KEY not in json.dumps(message), "who may ask procd would know"
    # The gate stands before procd starts anything.
    held = next(at for at, call in enumerate(calls) if call == "tsg gate")
    assert held < next(at for at, call in enumerate(calls) if is_call(call, "set"))


def test_a_set_up_that_nobody_has_confirmed_goes_before_anything_stands_on_its_ports(router):
    router.uci(*SERVER)
    assert "tsg setup --expire" not in router.init("boot")
    router.path("/etc/tsg").mkdir(exist_ok=True)
    router.path("/etc/tsg/setup.json").write_text("{}")
    calls = router.init("start")
    assert calls.index("tsg setup --expire") < calls.index("tsg gate")


def test_it_starts_before_the_network(router):
    script = router.path("/etc/init.d/tsg").read_text()
    assert "\nSTART=18\n" in script and "\nSTOP=89\n" in script
    assert router.path("/etc/init.d/tsg").stat().st_mode & 0o111 == 0o111


def test_the_rights(router):
    router.path("/sbin/ujail").touch()
    router.path("/sbin/ujail").chmod(0o755)
    router.init("start")
    instance = router.message()["instances"]["tsg"]
    assert instance["jail"]["name"] == "tsg"
    assert instance["no_new_privs"] is True
    rights = json.loads(router.path(instance["capabilities"]).read_text())
    wanted = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]
    for kind in ("bounding", "effective", "permitted", "inheritable"):
        assert rights[kind] == wanted, kind
    assert rights["ambient"] == []


def test_what_makes_it_look_again(router):
    router.init("start")
    triggers = router.message()["triggers"]
    assert [(event, test[2], then[1:]) for event, (_, test, then), *_ in triggers] == [
        ("config.change", package, ["/etc/init.d/tsg", "reload"]) for package in ("tsg", "network")]


@pytest.mark.parametrize("option, value", WRONG, ids=lambda text: text[:20])
def test_a_wrong_value_is_named_and_changes_nothing(router, option, value):
    router.uci(*SERVER, "set tsg.front=rule", "set tsg.front.action=drop",
               "set tsg.eth=port", "set tsg.eth.device=lan1")
    layout = router.settled()
    router.uci(f"set tsg.{option}={value}")
    calls = router.init("reload", check=False)
    section, name = option.split(".")
    said = [line for line in router.log().splitlines() if f"option {name} of section {section} " in line]
    assert len(said) == 1 and f'"{value}"' in said[0] and "/etc/config/tsg" in said[0], router.log()
    assert not any(is_call(call, method) for call in calls for method in ("set", "signal", "delete")), \
        "what ran goes on as it was"
    # At the start there is nothing that could go on: the gate holds what is right.
    router.procd_runs()
    calls = router.init("start")
    assert "tsg gate" in calls
    assert router.message()["instances"] == {}
    assert layout


def test_every_option_is_looked_at(router):
    """Each option of the shipped file is in one of the lists for validate_data."""
    script = router.path("/etc/init.d/tsg").read_text()
    shipped = (BRIDGE / "etc/config/tsg").read_text()
    options = {line.split()[-2] if line.split()[-3:-2] in (["option"], ["list"]) else line.split()[1]
               for line in shipped.replace("#", " ").splitlines()
               if line.split()[:1] in (["option"], ["list"])}
    assert options >= {"enabled", "server", "fail", "lan", "wan", "action"}, options
    for option in options:
        assert f"'{option}:" in script, option


@pytest.mark.parametrize("line", [
    "set tsg.main.fail=open", "set tsg.main.oversize=fragment", "set tsg.main.path_mtu=1400",
    "set tsg.main.log_level=debug", "set tsg.main.name=press4", "add tsg rule", "set tsg.main.server=tcp://192.0.2.11:5555"])
def test_what_sighup_takes_over_is_no_interruption(router, line):
    router.uci(*SERVER)
    layout = router.settled()
    router.uci(line)
    if line == "add tsg rule":
        router.uci("set tsg.@rule[0].action=drop")
    calls = router.init("reload")
    assert router.layout() == layout, "procd would start it anew"
    assert router.message("signal") == {"name": "tsg", "instance": "tsg", "signal": 1}
    assert "tsg gate" not in calls, "the gate is the daemon's while it runs"


@pytest.mark.parametrize("line", [
    "set tsg.main.attach=ingress", "set tsg.main.cache_keys=1", "set tsg.main.routed=1",
    "add_list tsg.bridge.lan=lan2", "set tsg.bridge.wan=eth1", "set tsg.bridge.device=br-x"])
def test_what_else_changes_is_a_new_start(router, line):
    router.uci(*SERVER)
    layout = router.settled()
    router.uci(line)
    calls = router.init("reload")
    assert router.layout() != layout
    assert not any(is_call(call, "signal") for call in calls), "it would meet a daemon that does not listen yet"


@pytest.mark.parametrize("file", ["/usr/sbin/tsg", "/etc/capabilities/tsg.json"])
def test_an_upgrade_is_a_new_start(router, file):
    """apk calls `start` after it, and nothing before it."""
    router.uci(*SERVER)
    layout = router.settled()
    router.init("start")
    assert router.layout() == layout
    with router.path(file).open("a") as program:
        program.write("\n")
    calls = router.init("start")
    assert router.layout() != layout, "procd leaves the old program running"
    assert not any(is_call(call, "signal") for call in calls), "it would meet a daemon that does not listen yet"
    assert "tsg gate" not in calls, "the ports are the same"


def test_a_new_led_script_is_started(router):
    router.uci(*SERVER, "set tsg.main.led=green:status")
    router.init("start")
    assert router.message()["instances"]["led"]["file"] == ["/usr/libexec/tsg/led"]


def test_start_is_all_that_a_first_set_up_takes(router):
    """The package has started it, idle."""
    layout = router.settled()
    router.uci(*SERVER)
    calls = router.init("start")
    assert router.layout() == layout
    assert router.message("signal") == {"name": "tsg", "instance": "tsg", "signal": 1}
    set_at = next(at for at, call in enumerate(calls) if is_call(call, "set"))
    assert next(at for at, call in enumerate(calls) if is_call(call, "signal")) > set_at


def test_a_restart_asks_nothing_of_a_daemon_that_ends(router):
    router.uci(*SERVER)
    router.settled()
    calls = router.init("restart")
    assert not any(is_call(call, "signal") for call in calls)
    assert router.message()["instances"]
    router.uci("set tsg.main.fail=shut")
    router.init("restart")
    assert router.message()["instances"] == {}, "it would not start"


@pytest.mark.parametrize("led", [None, "green:status"])
def test_start_with_a_mistake_leaves_what_runs(router, led):
    router.uci(*SERVER, "add_list tsg.bridge.lan=lan2", *([f"set tsg.main.led={led}"] if led else []))
    layout = router.settled()
    instances = router.message()["instances"]
    router.procd_runs(layout, led)
    router.uci("set tsg.main.fail=shut", "set tsg.bridge.wan=eth1", "set tsg.main.led=red:status")
    calls = router.init("start")
    assert router.message()["instances"] == instances, "procd would end it"
    assert not any(call.startswith("tsg ") or is_call(call, "signal") for call in calls)
    router.uci("set tsg.main.enabled=0")
    router.init("start")
    assert router.message()["instances"] == instances, "nothing of a wrong file is taken over"
    router.uci("set tsg.main.fail=open")
    router.init("start")
    assert router.message()["instances"] == {}, "switched off"


def test_start_with_an_unreadable_file_leaves_what_runs(router):
    router.uci(*SERVER, "set tsg.main.led=green:status")
    layout = router.settled()
    instances = router.message()["instances"]
    router.procd_runs(layout, "green:status")
    router.path("/etc/config/tsg").write_text("config tsg 'main\n")
    router.init("start")
    assert router.message()["instances"] == instances


@pytest.mark.parametrize("restarted", (True, False), ids=("restart", "stop and start"))
@pytest.mark.parametrize("spoil", (
    lambda text: text.replace("config bridge 'bridge'", "config bridge 'bridge"),
    lambda text: re.sub("option wan .*", "option wan 'a-name-of-16-let'", text),
    lambda text: text.replace("config tsg 'main'", "config tsg"),
    lambda text: ""), ids=("torn", "wrong", "nameless", "empty"))
def test_a_wrong_file_opens_no_port(router, spoil, restarted):
    """The names of the ports cannot be read, or are others: that makes the ports that are held nobody else's."""
    router.uci(*SERVER)
    router.settled()
    held = router.run("cat", "/var/run/tsg.ports").stdout
    assert len(held.split()) == 2, held
    file = router.path("/etc/config/tsg")
    before = file.read_text()
    file.write_text(spoil(before))
    assert file.read_text() != before
    if restarted:
        calls = router.init("restart", check=False)
    else:
        calls = router.init("stop")
        router.procd_runs()
        calls += router.init("start", check=False)
    assert not any("--clear" in call for call in calls), calls
    assert router.run("cat", "/var/run/tsg.ports").stdout == held
    assert "/etc/config/tsg: " in router.log()


def test_new_ports_have_their_gate_before_the_daemon_starts_anew(router):
    router.uci(*SERVER)
    router.settled()
    router.uci("add_list tsg.bridge.lan=lan2")
    calls = router.init("reload")
    assert calls.index("tsg gate") < next(at for at, call in enumerate(calls) if is_call(call, "set"))


def test_a_daemon_that_ended_is_started(router):
    router.uci(*SERVER)
    router.init("start")
    layout = router.layout()
    router.procd_runs()
    calls = router.init("reload")
    assert router.layout() == layout
    assert not any(is_call(call, "signal") for call in calls)


def test_switched_off(router):
    router.uci(*SERVER)
    router.settled()
    router.uci("set tsg.main.enabled=0")
    calls = router.init("reload")
    assert router.message()["instances"] == {}
    # After procd has ended it, since it leaves `closed` behind.
    assert calls.index("tsg gate") > next(at for at, call in enumerate(calls) if is_call(call, "set"))


def test_a_led_has_an_instance_of_its_own(router):
    router.uci(*SERVER, "set tsg.main.led=green:status")
    router.init("start")
    led = router.message()["instances"]["led"]
    assert led["command"] == ["/usr/libexec/tsg/led", "green:status"]
    assert "jail" not in led


def test_ports_that_leave_the_configuration_are_ports_as_any_other(router):
    router.uci(*SERVER, "add_list tsg.bridge.lan=lan2")
    router.settled()
    router.uci("del_list tsg.bridge.lan=lan2", "set tsg.bridge.wan=eth1")
    assert "tsg gate --clear lan2 wan" in router.init("reload")
    assert not any("--clear" in call for call in router.init("reload")), "once is enough"


def test_stop_leaves_what_the_daemon_leaves(router):
    router.uci(*SERVER)
    router.settled()
    calls = router.init("stop")
    assert router.message("delete")["name"] == "tsg"
    assert not any(call.startswith("tsg ") for call in calls)


def test_clear_leaves_nothing(router):
    router.uci(*SERVER)
    router.settled()
    router.run("mkdir", "-p", "/var/run/tsg")
    for name in ("lock", "tsg.sock", "state", "sequences", "group-keys", "offloads.json", "offloads.lock"):
        router.run("touch", f"/var/run/tsg/{name}")
    calls = router.init("clear")
    stopped = next(at for at, call in enumerate(calls) if is_call(call, "delete"))
    assert calls.index("tsg gate --clear") > stopped
    assert "tsg gate --clear lan1 wan" in calls
    assert "tsg offloads restore" in calls
    left = router.run("sh", "-c", "ls -d /var/run/tsg /var/run/tsg.ports 2>/dev/null || true").stdout
    assert left == ""


def test_clear_leaves_the_sockets_of_tunnels(router):
    """Those that netifd runs go on."""
    router.run("mkdir", "-p", "/var/run/tsg")
    router.run("touch", "/var/run/tsg/tunnel-vpn0.sock", "/var/run/tsg/lock", "/var/run/tsg/.state.new")
    router.init("clear")
    assert router.run("ls", "-A", "/var/run/tsg").stdout.split() == ["tunnel-vpn0.sock"]


def test_an_unreadable_file_is_said(router):
    router.path("/etc/config/tsg").write_text("config tsg 'main\n")
    router.init("start")
    assert "/etc/config/tsg" in router.log()
    assert router.message()["instances"] == {}
    assert "tsg gate" in router.calls()
