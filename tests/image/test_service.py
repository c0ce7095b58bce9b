"""The key server's service of systemd, judged without one that runs: by systemd's own tools, and by what the program asks the
kernel for in a day that is cut short."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "package/tsg-server/tsg-server.service"
PROGRAM = ROOT / "target/packages/tsg-server"
PATIENCE = 60
USER = 65532
# In tenths: most services of Debian have 90.
WORST = 12


@pytest.fixture
def unit(tmp_path):
    """Where its program is on this machine."""
    text = UNIT.read_text()
    assert "\nExecStart=/usr/local/bin/tsg-server run\n" in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/usr/local/bin/tsg-server", str(PROGRAM)))
    return path


def run(*argv):
    return subprocess.run(argv, text=True, capture_output=True, timeout=PATIENCE)


def test_systemd_understands_it(unit):
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_exposed_to_little(unit):
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={WORST}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout + done.stderr


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def members(group):
    lines = run("systemd-analyze", "syscall-filter", group).stdout.splitlines()[1:]
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return set().union(*(members(name) if name.startswith("@") else {name} for name in names))


def allowed():
    """As systemd reads it, line by line."""
    calls = set()
    for line in settings("SystemCallFilter"):
        words = line.removeprefix("~").split()
        named = set().union(*(members(word) if word.startswith("@") else {word} for word in words))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


@pytest.fixture
def home(tmp_path):
    """A folder of the user that the service runs as, with the program in it."""
    for parent in [tmp_path, *tmp_path.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    shutil.copy(PROGRAM, tmp_path / "tsg-server")
    os.chown(tmp_path, USER, USER)
    return tmp_path


def test_it_calls_nothing_that_is_forbidden(home):
    trace, socket = home / "trace", home / "run/socket"
    words = [home / "tsg-server", "--socket", socket]
    who = {"user": USER, "group": USER, "extra_groups": []}
    with (home / "log").open("w") as log, subprocess.Popen(
            ["strace", "--follow-forks", "--output", trace, *words, "run", "--data", home / "data", "--log", "stderr"],
            stdout=log, stderr=log, **who) as tracer:
        def ask(*more, given=""):
            return subprocess.run([*words, *more], input=given, text=True, capture_output=True, timeout=PATIENCE, **who)

        deadline = time.monotonic() + PATIENCE
        while ask("health").returncode:
            assert tracer.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
        for more in (["user", "add", "anna", "--role", "admin"], ["group", "add", "line1"], ["rekey", "line1"], ["status"],
                     ["token", "create", "--group", "line1"], ["audit", "--verify"]):
            done = ask(*more, given="correct horse battery staple\n")
            assert done.returncode in (0, 1), done.stderr
        done = run("curl", "--silent", "--insecure", "--max-time", "20", "https://127.0.0.1:8888/api/v1/openapi.json")
        assert '"/api/v1/gateways"' in done.stdout
        # The tracer's child is the server.
        child = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()[0]
        subprocess.run(["kill", "-s", "TERM", child], check=True)
        assert tracer.wait(PATIENCE) == 0, (home / "log").read_text()
    text = trace.read_text()
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]", text, re.MULTILINE)) - {"resumed"}
    assert {"accept4", "fdatasync", "prlimit64"} & called and "execve" in called
    # The program itself is started by systemd, before the filter of the service is in force for it.
    assert called - allowed() == set()
    families = set(re.findall(r"\bsocket\((AF_[A-Z0-9]+)", text))
    assert "AF_INET6" in families or "AF_INET" in families
    assert families <= set(*map(str.split, settings("RestrictAddressFamilies")))
    # MemoryDenyWriteExecute: nothing is both, and nothing becomes executable.
    assert not re.search(r"\bm(map|protect)\(.*PROT_(WRITE\|PROT_)?EXEC", text)
