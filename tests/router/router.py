"""A router's file system to run its scripts in: what the packages install, over OpenWrt's own root file system if there is
one in TSG_OPENWRT_ROOT, else over this machine's with stand-ins for what only OpenWrt has."""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The packages' files but for the programs, as they are in the source.
BRIDGE, PROTO = HERE.parents[1] / "files", HERE.parents[1] / "openwrt-feed/tsg-proto/files"
OPENWRT = os.environ.get("TSG_OPENWRT_ROOT")
LIBRARIES = ("/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")

# One file system out of several, in a mount namespace that ends with its process.
MOUNTS = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
cp -a "$3/." "$1/upper"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mkdir -p "$1/root/dev"
mount --rbind /dev "$1/root/dev"
mkdir -p "$1/root/sys"
mount -t sysfs sysfs "$1/root/sys"
shift 3
root=$1
shift
for library; do mount --bind "$library" "$root$library"; done
echo ready
exec cat
"""


# What the scripts call and these tests look at.
STAND_INS = {name: HERE / "standin" / name for name in ("ubus", "tsg", "logger")}


@functools.cache
def _unpacked(package):
    """The folder into which opkg has unpacked a package, as `make package` makes it. It goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="tsg-package-")
    subprocess.run([HERE / "unpack", folder.name, package], check=True)
    return folder


class Router:
    """Its files, and what its scripts do. `programs` are put into /usr/sbin; `enter` is a command that runs another one where
    the router's interfaces are. `package` is the name of one that is installed, but for what its scripts do then: see `opkg`.
    Without it there are the files of all packages as they are in the source."""

    def __init__(self, tools, programs=STAND_INS, enter=(), package=None):
        self.folder = Path(tempfile.mkdtemp(prefix="tsg-router-"))
        self._package = package
        layer = self.folder / "layer"
        self._lay(layer, tools, programs, (_unpacked(package).name,) if package else (BRIDGE, PROTO))
        (self.folder / "mount").mkdir()
        lower = OPENWRT or "/"
        # A tree that was built without libraries takes this machine's.
        wanted = [path for path in LIBRARIES if OPENWRT and (Path(OPENWRT + path)).is_dir()
                  and not any(Path(OPENWRT + path).iterdir())]
        self._keeper = subprocess.Popen(
            [*enter, "unshare", "--mount", "--propagation", "private", "sh", "-ec", MOUNTS, "sh",
             self.folder / "mount", lower, layer, self.folder / "mount/root", *wanted],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._keeper.stdout.readline() == b"ready\n", "the file system could not be mounted"

    def _lay(self, layer, tools, programs, packages):
        for files in packages:
            shutil.copytree(files, layer, dirs_exist_ok=True)
        for folder in ("usr/sbin", "router", "tmp/.uci", "tmp/run", "tmp/lock", "etc/tsg", "etc/rc.d", "lib/netifd"):
            (layer / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "standin/netifd-proto.sh", layer / "lib/netifd")
        if not OPENWRT:
            shutil.copy(HERE / "standin/functions.sh", layer / "lib")
            if Path("/lib").is_symlink():
                shutil.copytree(layer / "lib", layer / "usr/lib", dirs_exist_ok=True)
                shutil.rmtree(layer / "lib")
            shutil.copy(HERE / "standin/rc.common", layer / "etc")
            shutil.copy(HERE / "standin/jsonfilter", layer / "usr/sbin")
            shutil.copy(tools / "uci", layer / "usr/sbin")
            (layer / "usr/bin").mkdir()
            (layer / "usr/bin/sh").symlink_to(shutil.which("busybox"))
        for name, program in programs.items():
            shutil.copy(program, layer / "usr/sbin" / name)
        for path in layer.rglob("*"):
            os.chown(path, 0, 0, follow_symlinks=False)

    def close(self):
        self._keeper.communicate()
        shutil.rmtree(self.folder)

    def path(self, path):
        """A file of the router from outside; no part of its path may be a symbolic link."""
        return Path(f"/proc/{self._keeper.pid}/root{self.folder}/mount/root{path}")

    def argv(self, *argv):
        """A command line that runs a command in these files."""
        return ["nsenter", f"--target={self._keeper.pid}", "--mount", "--net", "--root", "chroot", self.folder / "mount/root", *argv]

    def run(self, *argv, check=True, **env):
        """Runs a command on the router."""
        done = subprocess.run(
            self.argv(*argv),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=60)
        assert not check or not done.returncode, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def opkg(self, script, argument, is_upgrade=False):
        """The command line that runs a script of the package as opkg does: `postinst configure` or `prerm remove`."""
        return self.argv("env", f"PKG_UPGRADE={int(is_upgrade)}", f"/usr/lib/opkg/info/{self._package}.{script}", argument)

    def uci(self, *lines):
        """Settings, as an operator makes them."""
        for line in lines:
            verb, _, rest = line.partition(" ")
            self.run("uci", verb, *(rest.split() if verb == "add" else [rest]))
        self.run("uci", "commit", "tsg")

    def init(self, action, check=True):
        """Calls the init script; returns what it called, in order."""
        for name in ("calls", "log"):
            self.path(f"/router/{name}").write_text("")
        self.run("sh", "/etc/rc.common", "/etc/init.d/tsg", action, check=check)
        return self.calls()

    def hotplug(self, kind, **env):
        """What the scripts for an event call; they are read in by a shell that ends with them."""
        self.path("/router/calls").write_text("")
        self.run("sh", "-c", f"( . /etc/hotplug.d/{kind}/50-tsg )", **env)
        return [call for call in self.calls() if not call.startswith("ubus call service list")]

    def calls(self):
        return self.path("/router/calls").read_text().splitlines()

    def log(self):
        return self.path("/router/log").read_text()

    def message(self, method="set"):
        """What the init script told procd."""
        found = [call for call in self.calls() if call.startswith(f"ubus call service {method} ")]
        assert len(found) == 1, self.calls()
        return json.loads(found[0].split(" ", 4)[4])

    def procd_runs(self, layout=None, led=None):
        """procd says that the daemon runs, with this layout."""
        service = {} if layout is None else {
            "tsg": {"instances": {"tsg": {"running": True, "pid": 2 ** 22 - 1,
                                          "env": {"TSG_LAYOUT": layout}}}}}
        if led:
            service["tsg"]["instances"]["led"] = {"command": ["/usr/libexec/tsg/led", led]}
        self.path("/router/services").write_text(json.dumps(service, indent=1))

    def layout(self):
        return self.message()["instances"]["tsg"]["env"]["TSG_LAYOUT"]

    def settled(self):
        """Started, and procd says so; returns the layout."""
        self.procd_runs()
        self.init("start")
        layout = self.layout()
        self.procd_runs(layout)
        return layout


def is_call(call, method):
    return re.match(rf"ubus call service {method} ", call) is not None
