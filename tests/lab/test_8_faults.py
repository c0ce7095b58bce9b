"""Faults under load: a dead daemon, rules flushed, cables, ports and bridges gone, no key server, a wrong
configuration, clocks that jump. Nothing leaves in clear, and it works again by itself."""

import errno
import glob
import json
import re
import shutil
import signal
from contextlib import contextmanager

import pytest

from capture import Capture
from daemons import MODBUS_AND_UDP, Box, unix_time
from netns import command, wait_for
from outage import Outage
from plant import binary, settle, start_all_ways
from sealed import two_gateways

STANDALONE = True

# Room for what is in the folders of a box, and for little more.
DISK = "256k"
# The smallest that a group takes, and some seconds more than a pause of the machine.
LIFETIME, ISLAND = 60, 6
# What the kernel needs to tell of a new port and the daemon to put the filter onto it, on a busy machine.
AT_ONCE = 0.15


@pytest.fixture(scope="module")
def plant(attach, request):
    """Beside it the island's time runs out, if a test wants to see that."""
    if any("island" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("island")
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


@pytest.mark.parametrize("server", ("there", "away"))
def test_boot(plant, server, cases):
    """The gate holds from before the ports are in their bridge; a gateway that finds no key server has no key, says that it
    finds none, and stays shut until there is one."""
    box = plant.box
    with plant.nothing_in_clear():
        plant.kill()
        if server == "away":
            plant.server.process.stop(signal.SIGKILL)
        boot(box)
        plant.stays_shut()
        box.start()
        if server == "away":
            for alarm in ("no answer of the key server yet", "no key: what the rules match is stopped"):
                box.wait_status("an alarm", lambda status, alarm=alarm: alarm in str(status["alarms"]))
            plant.stays_shut()
            plant.server.start()
        plant.comes_back(20)
    plant.rekey()
    cases(1)


def boot(box):
    """What was in RAM, rules, filters and bridged ports are gone; and then comes what the init script and netifd do."""
    gateway = box.gateway
    for port in gateway.ports:
        gateway.ns.ip("link", "set", port, "down")
        gateway.ns.ip("link", "set", port, "nomaster")
        gateway.run("tc", "qdisc", "del", "dev", port, "clsact", check=False)
    gateway.run("sh", "-c", "nft flush ruleset; iptables -F; ip6tables -F")
    shutil.rmtree(box.folders["run"])
    box.folders["run"].mkdir(mode=0o700)
    gateway.run(*box.argv("gate"))
    for port in gateway.ports:
        gateway.ns.ip("link", "set", port, *gateway.join)


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
        leaked = capture.times("in clear")
        lasted = leaked[-1] - leaked[0] if leaked else 0
        print(f"{len(leaked)} frames in clear within {lasted * 1000:.1f} ms")
        assert lasted < AT_ONCE
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


def test_torn_files(plant, cases):
    """What a power cut may leave of a file is said, and is no reason not to work."""
    torn = [(kind, name, keep) for kind, name in (("state", "policy.json"), ("run", "state"), ("run", "sequences"))
            for keep in (0, -1)]
    for kind, name, keep in torn:
        file = plant.box.folders[kind] / name
        with plant.nothing_in_clear():
            plant.kill()
            file.write_bytes(file.read_bytes()[:keep])
            plant.box.start()
            plant.comes_back(10)
        assert str(file) in plant.box.process.said(), plant.box.process.said()
    plant.rekey()
    cases(len(torn))


def test_what_cannot_be_written(plant, cases):
    """Flash that is full and takes no policy, and sequence numbers that cannot be stored: an alarm says so, nothing leaves in clear, and
    once there is room it works, and begins with that policy after the next boot."""
    box = plant.box
    older, cannot_seal = "would begin with an older policy", "sequence numbers cannot be stored"

    def alarms():
        return str(box.status()["alarms"])
    with plant.nothing_in_clear():
        plant.kill()
        with own_disk(box.folders["state"]) as flash:
            box.start()
            plant.comes_back()
            with plant.load.undisturbed():
                with filled(flash):
                    before = box.status()["policy"]
                    plant.server.policy(MODBUS_AND_UDP)
                    box.wait_status(older, lambda status: older in str(status["alarms"]), 30)
                    assert str(box.folders["state"]) in alarms()
                    box.wait_status("the new policy holds", lambda status: status["policy"] > before, 30)
                wait_for("the alarm ends", lambda: older not in alarms(), 30)
            kept = json.loads((box.folders["state"] / "policy.json").read_text())
            assert kept["version"] == box.status()["policy"] > before
            plant.kill()
        box.start()
        plant.comes_back()
        # The name under which they are written first.
        in_the_way = box.folders["run"] / "sequences.new"
        in_the_way.mkdir()
        plant.server.rekey()
        wait_for(cannot_seal, lambda: cannot_seal in alarms(), 60)
        plant.stays_shut()
        in_the_way.rmdir()
        plant.comes_back(10)
        wait_for("the alarm ends", lambda: cannot_seal not in alarms(), 10)
    cases(2)


@contextmanager
def own_disk(folder):
    """The folder with what is in it, on a small disk of its own until the end."""
    disk = folder.with_name(f"{folder.name}.disk")
    disk.mkdir()
    command("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "none", disk)
    try:
        copy_files(folder, disk)
        command("mount", "--bind", disk, folder)
        try:
            yield folder
        finally:
            command("umount", "--lazy", folder)
        copy_files(disk, folder)
    finally:
        command("umount", "--lazy", disk)
    disk.rmdir()


def copy_files(folder, to):
    """All but sockets."""
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy2(path, to)


@contextmanager
def filled(folder):
    """No room is left in it meanwhile."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
    try:
        yield
    finally:
        ballast.unlink()


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


# What to write into /etc/config/tsg instead of the option that is to be named. Of all options, but for `led`, which is the
# init script's.
WRONG = {
    "main": {
        "enabled": "option enabled 'perhaps'",
        "server": "option server 'udp://192.0.2.1:5555'",
        "server_key": "option server_key 'AAAA'",
        "name": f"option name '{'x' * 65}'",
        "attach": "option attach 'magic'",
        "oversize": "option oversize 'shrink'",
        "path_mtu": "option path_mtu '575'",
        "cache_keys": "option cache_keys 'maybe'",
        "routed": "option routed 'perhaps'",
        "log_level": "option log_level 'loud'",
        "fail": "option fail 'ajar'",
    },
    "bridge": {
        "lan": "list lan 'lan/0'",
        "wan": "option wan 'a/b'",
        "device": "option device 'a-name-that-is-too-long'",
        "standalone": "option standalone 'perhaps'",
        "box": "option box 'a b'",
    },
    "rule": {
        "name": "list name 'one'\n\tlist name 'two'",
        "action": "option action 'seal'",
        "proto": "option proto 'modbus'",
        "src_ip": "option src_ip '10.0.0.300'",
        "dest_ip": "option dest_ip '10.0.0.0/33'",
        "src_port": "option src_port '70000'",
        "dest_port": "option dest_port '9-3'",
        "enabled": "option enabled 'perhaps'",
    },
    "port": {
        "device": "option device 'a-name-that-is-too-long'",
        "gro": "option gro 'maybe'",
        "lro": "option lro '2'",
        "tso": "option tso 'perhaps'",
        "gso": "option gso '-1'",
        "rx_gro_list": "option rx_gro_list 'of'",
        "rx_udp_gro_forwarding": "option rx_udp_gro_forwarding 'yess'",
    },
}
# A section of its own, for options of sections that the file has none of.
WHOLE = {"rule": {"action": "encrypt", "proto": "tcp"}, "port": {"device": "lan0"}}


def test_every_option_is_tried(tmp_path):
    """Those that the program names when it meets one that it does not know. `led` may have any name."""
    right = {"main": "config tsg 'main'\n", "bridge": "config bridge\n\tlist lan 'lan0'\n\toption wan 'wan0'\n",
             "rule": "config rule\n\toption action 'encrypt'\n", "port": "config port\n\toption device 'lan0'\n"}
    for section, lines in WRONG.items():
        (tmp_path / "tsg").write_text("".join((right | {section: right[section] + "\toption odd '1'\n"}).values()))
        told = command(binary("tsg"), "-c", tmp_path, "check", check=False).stdout
        known = re.search(r"option odd:.* known are ([\w, ]+)", told)
        assert known, told
        assert set(known[1].split(", ")) - {"led"} == set(lines), section


def test_wrong_configuration(plant, cases):
    """Each option wrong in turn: a gateway that runs says which, of which file, and goes on as it was;
    and with such a file none starts."""
    box, file = plant.box, plant.box.folders["config"] / "tsg"
    right, running = file.read_text(), box.status()
    wrong = [(section, option, line) for section, lines in WRONG.items() for option, line in lines.items()]
    try:
        with plant.nothing_in_clear(), plant.load.undisturbed():
            for section, option, line in wrong:
                file.write_text(spoiled(right, section, option, line))
                assert_refused(box, file, option)
            torn = (right.replace("option fail 'closed'", "option fail 'closed"), "\0" * 100,
                    right + "config\n", right + "package\n", "{}")
            for text in torn:
                file.write_text(text)
                assert_refused(box, file)
            wrong_file = "the settings are wrong"
            box.wait_status("an alarm", lambda status: wrong_file in str(status["alarms"]), 5)
            file.write_text(right)
            now = box.wait_status("no alarm", lambda status: wrong_file not in str(status["alarms"]), 5)
            for part in ("state", "policy", "mode", "fail", "bridges", "alarms", "servers"):
                assert now[part] == running[part], part
    finally:
        file.write_text(right)
    reloaded(box, "configuration read again")
    cases(len(wrong) + len(torn))


def spoiled(right, section, option, line):
    """The file with this option wrong and nothing else."""
    if section in WHOLE:
        lines = [f"\toption {name} '{value}'" for name, value in WHOLE[section].items() if name != option]
        return "\n".join([right, f"config {section}", *lines, f"\t{line}", ""])
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
    island.wire.never("in clear")
    assert island.least - 1 <= island.end <= island.most + 1
    for poller, end in ended.items():
        off = end - island.end
        assert -2 < off < 2, f"{poller.name}: answered until {off:+.1f} s of what the gateway said"
    cases(len(ended))
