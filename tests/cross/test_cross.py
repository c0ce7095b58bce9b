"""The programs that go onto routers, each as its processor would run it: under qemu-user, with the real key server.

The processors that qemu plays are those of cross/targets: what a program has in it that they do not know ends it. The packet path is
not tried here, since qemu-user knows neither packet sockets nor eBPF: the daemon says so, and keeps on. A tunnel has its device, but
cannot send: qemu-user does not know what the kernel is told with each packet.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from kinds import KINDS, kind

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cross"))
from elf import Elf

TARGETS = {line.split()[0]: line.split()[1:] for line in (ROOT / "cross/targets").read_text().splitlines()
           if line and not line.startswith("#")}
NAMES = os.environ["TSG_CROSS"].split()
VERSION = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version ="))
SERVER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tsg-server"
PROGRAMS = ("tsg", "tsg-tunnel")
# Runs a command where the tunnel's program is installed, or is not: `$1` is a script or nothing.
INSTALLED = """
mount -t tmpfs tmpfs /usr/libexec
if [ -n "$1" ]; then mkdir /usr/libexec/tsg && cp "$1" /usr/libexec/tsg/tunnel; fi
shift
exec "$@"
"""
# Emulation on a busy machine.
PATIENCE = 120

# Name, processor, whether that has instructions for AES that libsodium uses. Without them AES-256-GCM must not be offered.
AES = [(name, TARGETS[name][3], name == "aarch64") for name in NAMES]
AES += [("x86_64", "max", True)] if "x86_64" in NAMES else []


class Router:
    """The programs of cross/build, with files of their own."""

    def __init__(self, folder, name, processor=None):
        _, _, emulator, usual = TARGETS[name]
        self.folder = folder
        self.emulated = {program: [emulator, "-cpu", processor or usual, ROOT / "target/cross" / name / program]
                         for program in PROGRAMS}
        self.folders = ["-c", folder / "config", "--state", folder / "state", "--run", folder / "run"]
        (folder / "config").mkdir(parents=True)
        # As it is shipped; its ports are not on this machine.
        (folder / "config/tsg").write_bytes((ROOT / "files/etc/config/tsg").read_bytes())

    def run(self, program, *arguments, given=None, good=(0,), enter=()):
        done = subprocess.run([*enter, *self.emulated[program], *self.folders, *arguments], input=given, text=True,
                              capture_output=True, timeout=PATIENCE)
        assert done.returncode in good, f"{program} {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def tsg(self, *arguments, **options):
        return self.run("tsg", *arguments, **options).stdout

    @contextmanager
    def running(self, program="tsg", arguments=("run",)):
        log = (self.folder / "log").open("w+")
        command = [*self.emulated[program], *self.folders, "--log", "stderr", *arguments]
        with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                yield process
            finally:
                process.terminate()


class KeyServer:
    def __init__(self, folder):
        self.folder = folder
        self.prefix = [SERVER, "--socket", folder / "socket"]

    def ask(self, *arguments, check=True):
        done = subprocess.run([*self.prefix, *arguments], text=True, capture_output=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout if done.returncode == 0 else None

    def gateways(self):
        return {gateway["fingerprint"]: gateway for gateway in json.loads(self.ask("gateway", "list", "--json"))}

    def token(self):
        return self.ask("token", "create", "--group", "line1", "--server", "tcp://127.0.0.1:5555")


def wait_for(what, probe):
    deadline = time.monotonic() + PATIENCE
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.2)
    return found


def links():
    return subprocess.run(["ip", "link"], check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    server = KeyServer(folder)
    with (folder / "log").open("w") as log, subprocess.Popen(
            [*server.prefix, "run", "--data", folder / "data", "--listen", "127.0.0.1", "--web", ""], stdout=log, stderr=log) as process:
        try:
            wait_for("the key server answers", lambda: server.ask("status", check=False))
            server.ask("group", "add", "line1")
            yield server
        finally:
            process.terminate()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_one_file_for_that_processor(program, name):
    elf = Elf((ROOT / "target/cross" / name / program).read_bytes())
    assert kind(elf) == KINDS[name]
    assert elf.needed() == []
    assert elf.interpreter() is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_says_its_version(program, name, tmp_path):
    assert Router(tmp_path, name).run(program, "--version").stdout == f"tsg {VERSION}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_program_has_tunnels_alone(name, tmp_path):
    router = Router(tmp_path, name)
    commands = [line.split()[0] for line in router.run("tsg-tunnel", "help").stdout.splitlines()
                if line.startswith("  ") and not line.startswith("  -") and line[2] != " "]
    assert commands == ["status", "tunnel", "help"]
    text = router.run("tsg-tunnel", "help", "tunnel").stdout
    assert "package tsg-proto" in text and text == router.tsg("help", "tunnel")
    for arguments, said in ((("run",), "install the package tsg-bridge"), (("tunnel", "lo", "--mtu", "5"), "needs --dst"),
                            (("tunnel", "lo", "--dst", "::", "--tun", "cross0", "--mtu", "5"), "--mtu is between 576")):
        assert said in router.run("tsg-tunnel", *arguments, good=(2,)).stderr
    assert "no tunnel runs here" in router.run("tsg-tunnel", "status", good=(1,)).stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_tunnel_runs(name, tmp_path):
    """So known answers are right; it begins with them. Both programs tell of it."""
    router = Router(tmp_path, name)
    arguments = ("tunnel", "lo", "--dst", "0.0.0.0", "--tun", "cross0", "--udp")
    with router.running("tsg-tunnel", arguments) as process:
        def is_there():
            assert process.poll() is None, f"it ended: {(tmp_path / 'log').read_text()}"
            return router.run("tsg-tunnel", "status", "--json", good=(0, 1)).stdout

        (tunnel,) = json.loads(wait_for("it runs", is_there))["tunnels"]
        assert "cross0" in links()
        assert (tunnel["tunnel"], tunnel["state"], tunnel["carrier"]) == ("cross0", "down", "UDP port 4500")
        (seen,) = json.loads(router.tsg("status", "--json"))["tunnels"]
        assert seen["tunnel"] == "cross0"
        assert (tmp_path / "state/tunnel-cross0.key").stat().st_mode & 0o777 == 0o600
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert "cross0" not in links()


@pytest.mark.parametrize("name", NAMES)
def test_the_gateways_program_hands_tunnels_over(name, tmp_path):
    router = Router(tmp_path, name)
    script = tmp_path / "tunnel"
    emulated = " ".join(map(str, router.emulated["tsg-tunnel"]))
    script.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/given\nexec {emulated} "$@"\n')
    script.chmod(0o755)

    def tsg(installed, *arguments, good):
        enter = ("unshare", "--mount", "sh", "-ec", INSTALLED, "sh", installed)
        return router.run("tsg", *arguments, good=good, enter=enter).stderr

    assert "install the package tsg-proto" in tsg("", "tunnel", "lo", good=(1,))
    assert "no interface nosuch0" in tsg(script, "tunnel", "nosuch0", "--dst", "::", "--tun", "cross0", good=(1,))
    assert (tmp_path / "state/tunnel-cross0.key").exists(), "the folders are handed on, too"
    # An option of a later version, which this one knows nothing of.
    assert "--later" in tsg(script, "tunnel", "--later", "a b", good=(2,))
    assert (tmp_path / "given").read_text() == f"{' '.join(map(str, router.folders))} tunnel --later a b\n"


@pytest.mark.parametrize("name, processor, aes", AES)
def test_known_answers_are_right_and_aes_is_for_hardware(name, processor, aes, tmp_path):
    # Its ports are not here, which is a problem of its own: exit code 1.
    lines = Router(tmp_path, name, processor).tsg("check", good=(0, 1)).splitlines()
    (cipher,) = [line for line in lines if " cipher: " in line]
    assert cipher.startswith("ok ") and "known answers are right" in cipher
    assert ("in hardware, AES-256-GCM" in cipher) == aes, cipher


@pytest.mark.parametrize("name, processor, aes", AES)
def test_a_key_server_lets_it_in(name, processor, aes, server, tmp_path):
    router = Router(tmp_path, name, processor)
    fingerprint = router.tsg("keygen").split("fingerprint:")[1].strip()
    assert fingerprint not in server.gateways()
    assert "line1" in router.tsg("enrol", given=server.token())
    with router.running() as process:
        def is_in():
            assert process.poll() is None, f"it ended: {(tmp_path / 'log').read_text()}"
            gateway = server.gateways().get(fingerprint)
            return gateway if gateway and gateway["state"] == "online" and gateway["current"] else None

        gateway = wait_for("the key server has it online, with its keys", is_in)
        status = json.loads(router.tsg("status", "--json"))
    assert gateway["version"] == VERSION and gateway["group"] == "line1"
    assert gateway["aes"] == aes
    assert status["connected"] is True and status["group"] == "line1"
    assert not (tmp_path / "state/token").exists(), "the token is used up"
    assert process.returncode == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_server_shows_who_waits(name, server, tmp_path):
    """Without a token: the operator compares the fingerprint and approves."""
    router = Router(tmp_path, name)
    with (tmp_path / "config/tsg").open("a") as config:
        key = json.loads(server.ask("key", "--json"))["public_key"]
        config.write(f"config tsg 'main'\n\toption server 'tcp://127.0.0.1:5555'\n\toption server_key '{key}'\n")
    fingerprint = router.tsg("keygen").split("fingerprint:")[1].strip()
    with router.running():
        waiting = wait_for("it waits for an operator", lambda: server.gateways().get(fingerprint))
        assert waiting["state"] == "pending"
        server.ask("gateway", "approve", fingerprint, "--group", "line1")
        wait_for("it is in", lambda: server.gateways()[fingerprint]["state"] == "online")
