"""What cross/package has made, unpacked."""

import io
import os
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "cross"), str(ROOT / "tests/cross")]

PACKAGES = ROOT / "target/packages"
TARGETS = {line.split()[0]: line.split()[1:] for line in (ROOT / "cross/targets").read_text().splitlines()
           if line and not line.startswith("#")}
FEED = ROOT / "openwrt-feed"
# Every package there, as a folder or a link to one.
FOLDERS = sorted(path.parent.name for path in FEED.glob("*/Makefile"))
NAMES = os.environ["TSG_CROSS"].split()
VERSION = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version ="))

File = namedtuple("File", "mode content")
# A package with a program: the program as cross/build calls it and as it is installed, and the folder of all else in the package.
Made = namedtuple("Made", "program place files")
MADE = {
    "tsg-bridge": Made("tsg", "/usr/sbin/tsg", "files"),
    "tsg-proto": Made("tsg-tunnel", "/usr/libexec/tsg/tunnel", "openwrt-feed/tsg-proto/files"),
}


class Package:
    """An .ipk."""

    def __init__(self, path):
        self.path = path
        self.outer = members(path.read_bytes())
        self.data = members(self.outer["./data.tar.gz"].content)
        self.control = members(self.outer["./control.tar.gz"].content)

    def fields(self):
        lines = self.control["./control"].content.decode().splitlines()
        return dict(line.split(": ", 1) for line in lines if not line.startswith(" "))

    def files(self):
        """Path and mode of what it installs, folders left out."""
        return {path.removeprefix("."): file.mode for path, file in self.data.items() if file.content is not None}


def members(content):
    """A .tar.gz: all of it is root's, of one time, sorted, and of plain files and folders."""
    found, times, names = {}, set(), []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        for member in tar:
            assert member.isfile() or member.isdir(), member.name
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "root", "root"), member.name
            assert not set(member.name.split("/")) & {"..", ""}, member.name
            name = member.name.rstrip("/") if member.isdir() else member.name
            names.append(name)
            times.add(member.mtime)
            found[name] = File(member.mode, tar.extractfile(member).read() if member.isfile() else None)
    assert len(times) == 1, times
    assert len(names) == len(set(names))
    return found


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=MADE)
def made(request):
    """What cross/package makes for one processor: the name of a package."""
    return request.param


@pytest.fixture
def package(made, name):
    """That package for that processor."""
    return package_of(made, name)


@pytest.fixture
def bridge(name):
    """tsg-bridge for one processor."""
    return package_of("tsg-bridge", name)


@pytest.fixture
def proto(name):
    """tsg-proto for one processor."""
    return package_of("tsg-proto", name)


def package_of(made, name):
    (path,) = (PACKAGES / TARGETS[name][1]).glob(f"{made}_*.ipk")
    return Package(path)


@pytest.fixture(params=["luci-app-tsg", "luci-proto-tsg"])
def luci(request):
    """One that is for all processors."""
    (path,) = (PACKAGES / "all").glob(f"{request.param}_*.ipk")
    return Package(path)


@pytest.fixture
def described(tmp_path):
    """What the Makefiles in openwrt-feed/ say of their packages: package, then field."""
    said = {}
    for folder in FOLDERS:
        subprocess.run(["make", "-s", "-C", FEED / folder, f"TOPDIR={ROOT / 'cross/sdk'}",
                        f"OUT={tmp_path}", "describe"], check=True)
    for path in tmp_path.glob("*/*"):
        if path.is_file():
            said.setdefault(path.parent.name, {})[path.name] = path.read_text().rstrip("\n")
    return said
