"""Faults under load: a dead daemon, rules flushed, cables, ports and bridges gone, no key server, a wrong
configuration, clocks that jump. Nothing leaves in clear, and it works again by itself."""

import glob
import re
import signal

import pytest

from capture import Capture
from daemons import Box, unix_time
from netns import wait_for
from outage import Outage
from plant import settle, start_all_ways
from sealed import two_gateways

STANDALONE = True

# The smallest that a group takes, and some seconds more than a pause of the machine.
LIFETIME, ISLAND = 60, 6
# What the kernel needs to tell of a new port and the daemon to put the filter onto it, on a busy machine.
AT_ONCE = 0.15


@pytest.fixture(scope="module")
def plant(attach, island):
    """Beside it the island's time runs out."""
    with two_gateways(attach) as plant:
        yield Outage(plant)


@pytest.fixture(scope="module")
def island(attach):
    """A plant whose key server is gone for good, as soon as it works."""
    made = unix_time()
    with two_gateways(attach, name="island", key_lifetime=LIFETIME, island_time=ISLAND) as plant:
        plant.wire = plant.capture()
        # The epoch was made when the first gateway was let in; this is when it has to end.
        plant.least, plant.most = (at + LIFETIME + ISLAND for at in (made, unix_time()))
        plant.end = unix_time() + plant.boxes["gwa"].status()["epochs"][-1]["ends_in_s"]
        plant.pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"], rate=5)
        settle(plant.pollers, answers=3)
        plant.server.process.stop(signal.SIGKILL)
        yield plant


def test_killed(plant, cases):
    """`fail closed` holds with a dead daemon, and the new one goes on where the old one was."""
    with plant.nothing_in_clear():
        plant.kill()
        plant.stays_shut()
        plant.box.start()
        plant.comes_back()
    cases(1)


def test_rules_flushed(plant, cases):
    before = plant.rules()
    assert len(before) > 3, before
    with plant.nothing_in_clear():
        for flush in ("nft flush ruleset", "iptables -F; ip6tables -F; nft flush ruleset"):
            plant.box.gateway.run("sh", "-c", flush)
            plant.rules_are(before)
            plant.comes_back()
    cases(2)


@pytest.mark.parametrize("port", ("wan0", "lan0"))
def test_cable_out(plant, port, cases):
    gateway = plant.box.gateway
    with plant.nothing_in_clear():
        gateway.ns.ip("link", "set", port, "down")
        try:
            plant.stays_shut()
        finally:
            gateway.ns.ip("link", "set", port, "up")
        wait_for("the port forwards", gateway.forwards)
        plant.comes_back()
    cases(1)


def test_wan_port_replaced(plant, cases):
    gateway = plant.box.gateway
    with plant.nothing_in_clear():
        port = plant.lab.replace_wire(gateway.ns, "wan0", plant.switch)
        plant.switch.take_back(port)
        gateway.take_back("wan0")
        plant.comes_back(10)
    plant.rekey()
    cases(1)


def test_wan_port_replaced_without_rules(plant, cases):
    """A new port that is in the bridge at once, and no rules: the kernel's word that it is there brings the
    filter, not the look of every second."""
    gateway, switch = plant.box.gateway, plant.switch
    _, port = plant.lab.far_ends[gateway.ns.name, "wan0"]
    batch = f"""link del wan0
        link add wan0 address {gateway.ns.mac("wan0").hex(":")} type veth peer name {port} netns {switch.ns.name}
        link set wan0 {" ".join(gateway.join)}"""
    for _ in range(3):
        capture = Capture(switch)
        gateway.run("sh", "-c", f"nft flush ruleset; echo '{batch}' | ip -batch -")
        switch.take_back(port)
        plant.comes_back(10)
        capture.stop()
        leaked = capture.times("modbus || udp")
        assert not leaked or leaked[-1] - leaked[0] < AT_ONCE, \
            f"{len(leaked)} frames in clear within {leaked[-1] - leaked[0]:.2f} s"
    plant.rekey()
    cases(3)


def test_lan_port_replaced(plant, cases):
    with plant.nothing_in_clear():
        gateway = plant.box.gateway
        port = plant.lab.replace_wire(plant.plc.ns, "eth0", gateway)
        gateway.take_back(port)
        plant.plc.plug_in()
        plant.comes_back(10)
    cases(1)


def test_lan_port_replaced_without_rules(plant, cases):
    """On a kernel whose rules do not follow a port's name, there are none for the new port at first."""
    with plant.nothing_in_clear():
        gateway = plant.box.gateway
        port = plant.lab.replace_wire(plant.plc.ns, "eth0", gateway)
        gateway.run("sh", "-c", f"nft flush ruleset; ip link set {port} {' '.join(gateway.join)}")
        plant.plc.plug_in()
        plant.comes_back(10)
    cases(1)


def test_bridge_replaced(plant, cases):
    with plant.nothing_in_clear():
        plant.box.gateway.replace_bridge()
        plant.comes_back(10)
    plant.rekey()
    cases(1)


def test_no_key_server(plant, cases):
    """Traffic goes on without it, with a gateway that was restarted meanwhile as well."""
    with plant.nothing_in_clear():
        with plant.load.undisturbed():
            plant.server.process.stop(signal.SIGKILL)
            plant.load.goes_on()
        plant.kill()
        plant.box.start()
        plant.comes_back()
        with plant.load.undisturbed():
            plant.server.start()
            plant.rekey()
    cases(3)


def test_clocks_jump(plant, cases):
    """Those of the key server and of a gateway, by hours, forwards and back."""
    clock = plant.lab.run.folder / "clock"
    clock.write_text("+0\n")
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")[0]
    env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    plant.server.process.stop()
    plant.server.start(env=env)
    plant.kill()
    plant.box.start(env=env)
    plant.comes_back()
    plant.rekey()
    with plant.nothing_in_clear(), plant.load.undisturbed():
        for jump in ("+5h", "-7h", "+0"):
            clock.write_text(f"{jump}\n")
            said = plant.server.process.said()
            wait_for("the key server has noticed", lambda: plant.server.process.said() != said)
            plant.load.goes_on()
            plant.rekey()
    cases(3)


# The line of /etc/config/tsg to change, and what to write there; the option that is to be named.
WRONG = {
    "enabled": ("main", "option enabled 'perhaps'"),
    "server": ("main", "option server 'udp://192.0.2.1:5555'"),
    "server_key": ("main", "option server_key 'AAAA'"),
    "name": ("main", f"option name '{'x' * 65}'"),
    "attach": ("main", "option attach 'magic'"),
    "oversize": ("main", "option oversize 'shrink'"),
    "path_mtu": ("main", "option path_mtu '575'"),
    "cache_keys": ("main", "option cache_keys 'maybe'"),
    "log_level": ("main", "option log_level 'loud'"),
    "fail": ("main", "option fail 'ajar'"),
    "lan": ("bridge", "list lan 'lan/0'"),
    "wan": ("bridge", "option wan 'a/b'"),
    "device": ("bridge", "option device 'a-name-that-is-too-long'"),
    "standalone": ("bridge", "option standalone 'perhaps'"),
    "box": ("bridge", "option box 'a b'"),
    "action": ("rule", "option action 'seal'"),
    "proto": ("rule", "option proto 'modbus'"),
    "src_ip": ("rule", "option src_ip '10.0.0.300'"),
    "dest_ip": ("rule", "option dest_ip '10.0.0.0/33'"),
    "src_port": ("rule", "option src_port '70000'"),
    "dest_port": ("rule", "option dest_port '9-3'"),
}


def test_wrong_configuration(plant, cases):
    """Each option wrong in turn: a gateway that runs says which, of which file, and goes on as it was;
    and with such a file none starts."""
    box, file = plant.box, plant.box.folders["config"] / "tsg"
    right, running = file.read_text(), box.status()
    try:
        with plant.nothing_in_clear(), plant.load.undisturbed():
            for option, (section, line) in WRONG.items():
                file.write_text(spoiled(right, section, option, line))
                assert_refused(box, file, option)
            torn = (right.replace("option fail 'closed'", "option fail 'closed"), "\0" * 100,
                    right + "config\n", right + "package\n", "{}")
            for text in torn:
                file.write_text(text)
                assert_refused(box, file)
            now = box.status()
            for part in ("state", "policy", "mode", "fail", "bridges", "alarms", "servers"):
                assert now[part] == running[part], part
    finally:
        file.write_text(right)
    reloaded(box, "configuration read again")
    cases(len(WRONG) + len(torn))


def spoiled(right, section, option, line):
    """The file with this option wrong and nothing else."""
    if section == "rule":
        whole = {"action": "encrypt", "proto": "tcp"}
        lines = [f"\toption {name} '{value}'" for name, value in whole.items() if name != option]
        return "\n".join([right, "config rule", *lines, f"\t{line}", ""])
    kept = [old for old in right.splitlines() if not re.match(rf"\s*(option|list) {option}\s", old)]
    at = next(number for number, old in enumerate(kept) if old.startswith(f"config {section}")
              or old == f"config tsg '{section}'")
    return "\n".join([*kept[:at + 1], f"\t{line}", *kept[at + 1:], ""])


def assert_refused(box, file, option=None):
    """By the daemon that runs, and by one that would start."""
    told = reloaded(box, "stays as it was")
    started = box.gateway.run(*box.argv("run"), check=False, timeout=10)
    assert started.returncode, f"started with a wrong {option}"
    for complaint in (told, started.stderr):
        assert str(file) in complaint, complaint
        assert option is None or f"option {option}:" in complaint, complaint


def reloaded(box, answer):
    """What the daemon says to SIGHUP."""
    before = box.process.said()
    box.process.send(signal.SIGHUP)
    wait_for(f"{box.name} says {answer!r}", lambda: answer in box.process.said()[len(before):], 5)
    return box.process.said()[len(before):]


def test_a_key_of_the_key_server_with_one_character_wrong(plant, attach, cases):
    """No form shows that it is wrong, but the key server does not answer to it: the gateway says which
    option may be wrong."""
    box = newcomer(plant, "gwc", attach)
    box.config["server_key"] = changed(box.config["server_key"], 20)
    box.write_config()
    box.start()

    def named():
        return "server_key" in box.process.said() + str((box.status() or {}).get("alarms"))
    try:
        wait_for("the option with the wrong key is named", named, 15)
    except TimeoutError as late:
        raise AssertionError(f"{late}: {box.status()['alarms']}, {box.process.said()}") from None
    finally:
        box.process.stop()
    cases(1)


def test_an_own_key_with_one_character_wrong(plant, attach, cases):
    """The gateway does not start, says which file it is, and leaves it alone."""
    box = newcomer(plant, "gwd", attach)
    box.gateway.run(*box.argv("keygen"))
    file = box.folders["state"] / "key"
    right = file.read_text()
    secret, public = (right.index(word) + 20 for word in ("\nsecret ", "\npublic "))
    spoiled_ones = (changed(right, secret), changed(right, public), right[:secret] + right[secret + 1:],
                    right[:secret] + "!" + right[secret + 1:], "", "\0" * 44)
    for wrong in spoiled_ones:
        file.write_text(wrong)
        done = box.gateway.run(*box.argv("run"), check=False, timeout=10)
        assert done.returncode and str(file) in done.stderr, done.stderr
        assert file.read_text() == wrong
    cases(len(spoiled_ones))


def newcomer(plant, name, attach):
    """A gateway with a machine, of which nobody knows yet."""
    gateway = plant.lab.gateway(name, plant.switch)
    plant.lab.host(f"{name}-machine", gateway)
    return Box(gateway, plant.server, attach)


def changed(text, at):
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:]


def test_island_time(plant, island, cases):
    """Without its key server a group works until its key's lifetime and the island time are over, and
    not longer."""
    assert plant.box.status()["connected"]
    ended = {}
    for poller in island.pollers:
        poller.wait(lambda now: now["lost"] > 3, LIFETIME + ISLAND + 20)
        ended[poller] = poller.now()["last_answer_ms"] / 1000
    for box in island.boxes.values():
        box.wait_status("an alarm", lambda status: "no key" in str(status["alarms"]), 5)
    island.wire.stop()
    assert island.wire.count("modbus", "udp") == [0, 0]
    assert island.least - 1 <= island.end <= island.most + 1
    for poller, end in ended.items():
        off = end - island.end
        assert -2 < off < 2, f"{poller.name}: answered until {off:+.1f} s of what the gateway said"
    cases(len(ended))
