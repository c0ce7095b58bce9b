"""The key server's image, unpacked and run as an engine runs it: read-only, without capabilities, as process 1 of a namespace
of its own. What is asked of it, and the gateway, are on the same loopback."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "cross"))
from elf import Elf

PACKAGE = ROOT / "package/tsg-server"
ARCHIVE = ROOT / "target/packages/tsg-server-image.tar"
PROGRAM = ROOT / "target/packages/tsg-server"
GATEWAY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tsg"
VERSION = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version ="))
DATA = "var/lib/tsg-server"
# On a busy machine.
PATIENCE = 60


def wait_for(what, probe):
    deadline = time.monotonic() + PATIENCE
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.1)
    return found


class Image:
    """The archive, as any reader of OCI archives takes it."""

    def __init__(self, tar):
        self.tar = tar
        self.index = self.json("index.json")
        (entry,) = self.index["manifests"]
        self.manifest = self.json(self.place(entry))
        self.config = self.json(self.place(self.manifest["config"]))

    def json(self, name):
        return json.load(self.tar.extractfile(name))

    @staticmethod
    def place(descriptor):
        return "blobs/" + descriptor["digest"].replace(":", "/")

    def unpack(self, folder):
        for layer in self.manifest["layers"]:
            with tarfile.open(fileobj=self.tar.extractfile(self.place(layer))) as files:
                files.extractall(folder, numeric_owner=True)


@pytest.fixture(scope="module")
def image():
    with tarfile.open(ARCHIVE) as tar:
        yield Image(tar)


@pytest.fixture(scope="module")
def files(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    # Who runs in it has to come this far.
    for parent in [folder, *folder.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    image.unpack(folder)
    return folder


class Container:
    """One that runs."""

    def __init__(self, image, files, volume, log):
        config = image.config["config"]
        self.files, self.user, self.environment = files, config["User"], config["Env"]
        self.health = config["Healthcheck"]["Test"]
        assert self.health[0] == "CMD"
        contain = ["/usr/bin/python3", HERE / "contain.py", "start", files, volume, self.user, *self.environment, "--"]
        self.outer = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", *contain, *config["Entrypoint"], *config["Cmd"]],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = wait_for("process 1", self.first_process)

    def first_process(self):
        assert self.outer.poll() is None, "it did not start"
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def exec(self, *command, given="", check=True):
        done = subprocess.run(
            ["/usr/bin/python3", HERE / "contain.py", "exec", f"/proc/{self.pid}/root", self.user, *self.environment, "--",
             *command],
            input=given, text=True, capture_output=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def tsg_server(self, *words, given=""):
        return self.exec("/usr/bin/tsg-server", *words, given=given).stdout

    def is_well(self):
        return self.exec(*self.health[1:], check=False).returncode == 0

    def stop(self):
        """As `docker stop`, which kills after 10 seconds."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        assert self.outer.wait(PATIENCE) == 0
        return time.monotonic() - began


@contextmanager
def running(image, files, volume, log):
    with log.open("a") as output:
        container = Container(image, files, volume, output)
        try:
            wait_for("the health check passes", container.is_well)
            yield container
        finally:
            if container.outer.poll() is None:
                os.kill(container.pid, signal.SIGKILL)
                container.outer.wait(PATIENCE)


@pytest.fixture
def volume(files, tmp_path):
    """A new one gets owner and mode from the image."""
    folder = tmp_path / "volume"
    folder.mkdir()
    known = (files / DATA).stat()
    os.chown(folder, known.st_uid, known.st_gid)
    folder.chmod(known.st_mode & 0o7777)
    return folder


@contextmanager
def gateway(folder):
    """A real one, whose ports are not on this machine: that is no matter here."""
    (folder / "config").mkdir(parents=True)
    (folder / "config/tsg").write_bytes((ROOT / "files/etc/config/tsg").read_bytes())
    prefix = [GATEWAY, "-c", folder / "config", "--state", folder / "state", "--run", folder / "run"]

    def tsg(*words, given=None):
        return subprocess.run([*prefix, *words], input=given, text=True, check=True, capture_output=True, timeout=PATIENCE).stdout

    with (folder / "log").open("w") as log, subprocess.Popen([*prefix, "--log", "stderr", "run"], stdout=log, stderr=log) as process:
        try:
            yield tsg
        finally:
            process.terminate()


def page(path):
    """Anybody may ask; whose certificate it is, an operator compares."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://127.0.0.1:8888{path}", context=trusting, timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_it_is_one_static_program(files):
    inside = sorted(str(path.relative_to(files)) for path in files.rglob("*") if not path.is_dir())
    doc = "usr/share/doc/tsg-server"
    assert inside == ["usr/bin/tsg-server", f"{doc}/LICENSE", f"{doc}/NOTICES"]
    content = (files / "usr/bin/tsg-server").read_bytes()
    elf = Elf(content)
    assert (elf.machine, elf.needed(), elf.interpreter()) == ("x86_64", [], None)
    assert content == PROGRAM.read_bytes()
    notices = (files / doc / "NOTICES").read_text()
    assert all(work in notices for work in ("libunwind", "libsodium", "SQLite", "musl", "ring "))


def test_nobody_but_its_user_writes(files, image):
    user = image.config["config"]["User"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), user
    number, group = map(int, user.split(":"))
    for path in [files, *files.rglob("*")]:
        known = path.stat()
        own = str(path.relative_to(files)) in (DATA, "run/tsg-server")
        assert (known.st_uid, known.st_gid) == ((number, group) if own else (0, 0)), path
        assert known.st_mode & 0o022 == 0, path
        if own:
            assert known.st_mode & 0o7777 == 0o700, path


def test_engines_find_what_they_look_for(image):
    """`docker load` reads manifest.json, podman the index; compose.yaml and Containerfile say the same."""
    (listed,) = image.json("manifest.json")
    (entry,) = image.index["manifests"]
    compose = yaml.safe_load((PACKAGE / "compose.yaml").read_text())
    service = compose["services"]["tsg-server"]
    name = entry["annotations"]["org.opencontainers.image.ref.name"]
    assert listed["RepoTags"] == [name] == [service["image"]]
    assert listed["Config"] == image.place(image.manifest["config"])
    assert listed["Layers"] == [image.place(layer) for layer in image.manifest["layers"]]
    config = image.config["config"]
    assert set(config["ExposedPorts"]) == {"5555/tcp", "5556/tcp", "8888/tcp"}
    assert service["ports"] == [f"{port}:{port}" for port in (5555, 5556, 8888)]
    assert list(config["Volumes"]) == [f"/{DATA}"]
    check = service["healthcheck"]
    assert check["test"] == config["Healthcheck"]["Test"]
    seconds = {name: config["Healthcheck"][name] / 10**9 for name in ("Interval", "Timeout", "StartPeriod")}
    assert [f"{int(value)}s" for value in seconds.values()] == [check[n] for n in ("interval", "timeout", "start_period")]
    assert image.config["config"]["Labels"]["org.opencontainers.image.version"] == VERSION
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]


def test_a_first_day_in_it(image, files, volume, tmp_path):
    log = tmp_path / "log"
    with running(image, files, volume, log) as container:
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.MULTILINE)
        assert re.search(r"^NSpid:\t\d+\t1$", status, re.MULTILINE)
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            assert f"{kind}:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        mounts = Path(f"/proc/{container.pid}/mounts").read_text().splitlines()
        (root,) = [line.split()[3] for line in mounts if line.split()[1] == "/"]
        assert "ro" in root.split(",")

        # What `docker logs` shows is all that the first administrator needs.
        code = re.search(r"type the set-up code (\S+)", log.read_text()).group(1)
        assert page("/healthz") == "alive\n" and page("/readyz") == "ready\n"
        assert "set-up code" in page("/setup") and code not in page("/setup")
        container.tsg_server("user", "add", "anna", "--role", "admin", given="correct horse battery staple\n")

        container.tsg_server("group", "add", "line1")
        token = container.tsg_server("token", "create", "--group", "line1", "--server", "tcp://127.0.0.1:5555")
        with gateway(tmp_path / "gateway") as tsg:
            wait_for("the gateway's daemon answers", lambda: (tmp_path / "gateway/run/tsg.sock").exists())
            assert "line1" in tsg("enrol", given=token)

            def is_in():
                (known,) = json.loads(container.tsg_server("gateway", "list", "--json")) or [{}]
                return known.get("state") == "online" and known["current"]

            wait_for("the gateway is online, with its keys", is_in)
            assert json.loads(tsg("status", "--json"))["group"] == "line1"
            key = container.tsg_server("key")
            assert container.stop() < 8
    assert log.read_text().rstrip().endswith("ending")

    with running(image, files, volume, log) as container:
        assert container.tsg_server("key") == key
        assert [user["name"] for user in json.loads(container.tsg_server("user", "list", "--json"))] == ["anna"]
        (known,) = json.loads(container.tsg_server("gateway", "list", "--json"))
        assert known["group"] == "line1"
        assert "as they were written" in container.tsg_server("audit", "--verify")
        container.stop()
    assert log.read_text().count("set-up code") == 1


def test_health_fails_when_it_hangs(image, files, volume, tmp_path):
    with running(image, files, volume, tmp_path / "log") as container:
        os.kill(container.pid, signal.SIGSTOP)
        assert not container.is_well()
        os.kill(container.pid, signal.SIGCONT)
        wait_for("it is well again", container.is_well)
