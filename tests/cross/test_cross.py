"""The programs that go onto routers, each as its processor would run it: under qemu-user, with the real key server.

The processors that qemu plays are those of cross/targets: what a program has in it that they do not know ends it. The packet path is
not tried here, since qemu-user knows neither packet sockets nor eBPF: the daemon says so, and keeps on.
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
# Emulation on a busy machine.
PATIENCE = 120

# Name, processor, whether that has instructions for AES that libsodium uses. Without them AES-256-GCM must not be offered.
AES = [(name, TARGETS[name][3], name == "aarch64") for name in NAMES]
AES += [("x86_64", "max", True)] if "x86_64" in NAMES else []


class Router:
    """A program of cross/build, with files of its own."""

    def __init__(self, folder, name, processor=None):
        _, _, emulator, usual = TARGETS[name]
        self.folder = folder
        self.program = ROOT / "target/cross" / name / "tsg"
        self.prefix = [emulator, "-cpu", processor or usual, self.program, "-c", folder / "config",
                       "--state", folder / "state", "--run", folder / "run"]
        (folder / "config").mkdir(parents=True)
        # As it is shipped; its ports are not on this machine.
        (folder / "config/tsg").write_bytes((ROOT / "files/etc/config/tsg").read_bytes())

    def tsg(self, *arguments, given=None, good=(0,)):
        done = subprocess.run([*self.prefix, *arguments], input=given, text=True, capture_output=True, timeout=PATIENCE)
        assert done.returncode in good, f"tsg {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self):
        log = (self.folder / "log").open("w+")
        with log, subprocess.Popen([*self.prefix, "--log", "stderr", "run"], stdout=log, stderr=log) as process:
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
def test_it_is_one_file_for_that_processor(name):
    elf = Elf((ROOT / "target/cross" / name / "tsg").read_bytes())
    assert kind(elf) == KINDS[name]
    assert elf.needed() == []
    assert elf.interpreter() is None


@pytest.mark.parametrize("name", NAMES)
def test_it_says_its_version(name, tmp_path):
    assert Router(tmp_path, name).tsg("--version") == f"tsg {VERSION}\n"


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
