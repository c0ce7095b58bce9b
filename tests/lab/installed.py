"""A gateway as it is on a router: the package of `make package`, unpacked and installed by its scripts, set by the real `uci`,
started by the init script, and asked over the real ubus."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from daemons import Box
from netns import wait_for
from plant import REPOSITORY
from procd import UBUS, Procd

sys.path.append(str(REPOSITORY / "tests/router"))
from router import STAND_INS, Router  # noqa: E402


def tools():
    """uci, ubusd and a client, built once."""
    return Path(subprocess.run([REPOSITORY / "tests/router/tools", "ubus"], check=True,
                               stdout=subprocess.PIPE, text=True).stdout.strip())


class InstalledBox(Box):
    """`tsg` on a gateway, from its package."""

    def __init__(self, gateway, server, attach="auto", **options):
        built = tools()
        with tempfile.TemporaryDirectory() as folder:
            ubus = Path(folder) / "ubus"
            ubus.write_text(UBUS)
            ubus.chmod(0o755)
            programs = {"ubus": ubus, "ubusd": built / "bin/ubusd",
                        "ubus-client": built / "bin/ubus-client", "logger": STAND_INS["logger"]}
            self.router = Router(built, programs, gateway.ns.argv(), "tsg-bridge")
        for name in ("calls", "log"):
            self.router.path(f"/router/{name}").touch()
        self.gateway = gateway
        self._run("mkdir", "-p", "/var/run/ubus")
        self.bus = gateway.start(*self.router.argv("ubusd", "--socket", "/var/run/ubus/ubus.sock"), log="ubusd")
        self._procd = Procd(self.router, self._start)
        self.install()
        super().__init__(gateway, server, attach, **options)

    def install(self, is_upgrade=False):
        """`opkg install tsg-bridge`, once its files are there: it is enabled and runs, and has nobody to ask for keys."""
        self._run_opkg("postinst", "configure", is_upgrade)
        wait_for("procd has started it", lambda: self.process, 10)

    def remove(self, is_upgrade=False):
        """`opkg remove tsg-bridge`, before its files go."""
        self._run_opkg("prerm", "upgrade" if is_upgrade else "remove", is_upgrade)

    @property
    def process(self):
        instance = self._procd.instance()
        return instance and instance.process

    @process.setter
    def process(self, process):
        """Whose it is says procd."""

    @property
    def starts(self):
        """How often procd has started it."""
        return self._procd.instance().starts

    def write_config(self):
        self.uci(*(f"set tsg.main.{name}={value}" for name, value in self.config.items()),
                 "delete tsg.bridge.lan", *(f"add_list tsg.bridge.lan={port}" for port in self.gateway.lan),
                 "set tsg.bridge.wan=wan0", "set tsg.bridge.device=br0")

    def uci(self, *lines):
        """Settings as an operator makes them; nothing reads them yet."""
        self.router.uci(*lines)

    def init(self, action, check=True):
        """Calls the init script."""
        self._run("sh", "/etc/rc.common", "/etc/init.d/tsg", action, check=check)

    def start(self, env=None):
        self.init("start")
        wait_for(f"procd has started {self.name}", lambda: self.process, 10)
        return self

    def argv(self, *argv):
        return self.router.argv("tsg", *argv)

    def ubus(self, *argv):
        """What the real client gets from the real broker."""
        return json.loads(self._run("ubus", *argv).stdout)

    def close(self):
        self._procd.close()
        self.router.close()

    def _run(self, *argv, **options):
        return self.gateway.run(*self.router.argv(*argv), timeout=60, **options)

    def _run_opkg(self, *script):
        self.gateway.run(*self.router.opkg(*script), timeout=60)

    def _start(self, config):
        """As ujail does: with the rights that the package names."""
        rights = json.loads(self.router.path(config["capabilities"]).read_text()) if "capabilities" in config else None
        env = [f"{name}={value}" for name, value in config["env"].items()]
        limit = []
        if rights:
            names = ",".join("+" + name.removeprefix("CAP_").lower() for name in rights["bounding"])
            limit = ["setpriv", f"--bounding-set=-all,{names}", f"--inh-caps=-all,{names}", "--no-new-privs"]
        return self.gateway.start(*self.router.argv(*limit, "env", "-i", *env, *config["command"]), log="tsg")
