"""The key server and the gateways' daemons, driven as an operator drives them: by their commands."""

import json
import math
import shutil
import signal
import time
from pathlib import Path

from netns import command, wait_for
from plant import binary

GROUP = "plant"

MODBUS_ONLY = {"rules": [
    {"name": "modbus", "action": "encrypt", "proto": "tcp", "dest_port": "502"},
]}
MODBUS_AND_UDP = {"rules": [
    *MODBUS_ONLY["rules"],
    {"name": "telemetry", "action": "encrypt", "proto": "udp", "dest_port": "20000"},
]}
EVERYTHING = {"rules": [{"name": "all", "action": "encrypt"}]}


class KeyServer:
    """`tsg-server` on a host, and its command line."""

    def __init__(self, host):
        self.host = host
        self.folder = host.lab.run.folder / f"{host.name}-data"
        self.socket = host.lab.run.folder / f"{host.name}.sock"
        self.process = None
        self._revealed = {}

    def start(self, env=None):
        self.process = self.host.start(
            binary("tsg-server"), "run", "--data", self.folder, "--socket", self.socket,
            "--listen", "0.0.0.0", log="tsg-server", env=env)
        wait_for("the key server answers", self._answers, 10)
        return self

    def _answers(self):
        if not self.process.running:
            raise RuntimeError(f"tsg-server ended: {self.process.complaint()}")
        return self.socket.exists() and not command(*self._argv("status"), check=False).returncode

    def _argv(self, *argv):
        return [binary("tsg-server"), "--socket", self.socket, *argv]

    def command_line(self, *argv):
        """What somebody types to do the same by hand."""
        return " ".join(str(arg) for arg in self._argv(*argv))

    def ask(self, *argv):
        """Runs a command and returns what it answers in JSON."""
        shown = command(*self._argv(*argv, "--json"), timeout=60).stdout
        return json.loads(shown) if shown.strip() else None

    def group(self, name=GROUP, policy=None, **settings):
        """Makes a group, with its settings and its policy."""
        self.ask("group", "add", name)
        if settings:
            self.set(name, **settings)
        if policy:
            self.policy(policy, name)

    def set(self, group=GROUP, **settings):
        self.ask("group", "set", group, *(f"{key}={value}" for key, value in settings.items()))

    def policy(self, policy, group=GROUP):
        file = self.host.lab.run.folder / f"policy-{group}.json"
        file.write_text(json.dumps(policy))
        self.ask("policy", "set", group, file)

    def keys(self, group=GROUP):
        """The epochs with their TEKs, as the opener takes them: those that live, and those that
        lived when this was called before."""
        for epoch in self.ask("group", "keys", group, "--reveal")["epochs"]:
            self._revealed[group, epoch["id"]] = epoch
        return {"epochs": [epoch for (name, _), epoch in self._revealed.items() if name == group]}

    def rekey(self, group=GROUP):
        self.ask("rekey", group)

    def sigusr1(self):
        self.process.send(signal.SIGUSR1)

    def approve(self, box, group=GROUP):
        """Waits for a gateway to show up and lets it in by its fingerprint, as an operator would."""
        fingerprint = box.fingerprint()
        wait_for(f"{box.name} asks to be let in",
                 lambda: fingerprint in json.dumps(self.ask("gateway", "list")), 20)
        self.ask("gateway", "approve", fingerprint, "--group", group)

    def revoke(self, box, reason="lost"):
        self.ask("gateway", "revoke", box.name, "--reason", reason)


def uptime():
    return float(Path("/proc/uptime").read_text().split()[0])


class Box:
    """`tsg` on a gateway."""

    def __init__(self, gateway, server, attach="auto", **options):
        self.gateway, self.name, self.server = gateway, gateway.name, server
        folder = gateway.lab.run.folder / gateway.name
        self.folders = {kind: folder / kind for kind in ("config", "state", "run")}
        for path in self.folders.values():
            path.mkdir(parents=True, mode=0o700)
        if attach == "standalone":
            gateway.stand_alone()
            attach = "auto"
        self.config = {"name": self.name, "attach": attach, "fail": "closed",
                       "server": f"tcp://{server.host.ip4}:5555",
                       "server_key": server.ask("key")["public_key"], **options}
        self.process = self.power_lost = None
        self.write_config()

    def write_config(self):
        """The file that UCI keeps on a router, /etc/config/tsg."""
        place = {"standalone": 1, "box": "box1"} if self.gateway.standalone else {"device": "br0"}
        lines = ["config tsg 'main'", *(f"\toption {k} '{v}'" for k, v in self.config.items()),
                 "", "config bridge", *(f"\tlist lan '{port}'" for port in self.gateway.lan),
                 "\toption wan 'wan0'", *(f"\toption {k} '{v}'" for k, v in place.items()), ""]
        (self.folders["config"] / "tsg").write_text("\n".join(lines))

    def argv(self, *argv):
        return [binary("tsg"), "-c", self.folders["config"], "--state", self.folders["state"],
                "--run", self.folders["run"], *argv]

    def start(self, env=None):
        self.process = self.gateway.start(*self.argv("run"), log="tsg", env=env)
        return self

    def lose_power(self):
        """The daemon and what was in RAM are gone."""
        self.process.stop(signal.SIGKILL)
        shutil.rmtree(self.folders["run"])
        self.power_lost = math.ceil(uptime())

    def boot(self):
        """Starts on a clock that counts from when power was lost: it came back at once, and not earlier, which
        no box could bear."""
        self.folders["run"].mkdir(mode=0o700)
        wait_for("the clock can begin at whole seconds", lambda: uptime() > self.power_lost, 2)
        self.process = self.gateway.start(
            "unshare", "--time", f"--boottime={-self.power_lost}", "--", *self.argv("run"), log="tsg")
        return self

    def ask(self, *argv):
        return self.gateway.run(*self.argv(*argv), timeout=20).stdout.strip()

    def fingerprint(self):
        wait_for(f"{self.name} has an identity", self._has_identity, 10)
        return self.ask("fingerprint").split()[-1]

    def _has_identity(self):
        if self.process and not self.process.running:
            raise RuntimeError(f"tsg on {self.name} ended: {self.process.complaint()}")
        return not self.gateway.run(*self.argv("fingerprint"), check=False).returncode

    def status(self):
        """None while the daemon does not answer."""
        done = self.gateway.run(*self.argv("status", "--json"), check=False, timeout=20)
        return None if done.returncode else json.loads(done.stdout)

    def resident_kb(self):
        """How much memory the daemon holds."""
        return resident_kb(self.process)

    def wait_status(self, what, wanted, seconds=20.0):
        """Waits for a status that `wanted` accepts, and returns it."""
        def seen():
            status = self.status()
            if not self.process.running:
                raise RuntimeError(f"tsg on {self.name} ended: {self.process.complaint()}")
            return status if status and wanted(status) else None
        try:
            return wait_for(f"{self.name}: {what}", seen, seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; status {self.status()}; log: "
                               f"{self.process.complaint()}") from None

    def wait_ready(self, seconds=30.0):
        """Waits until the gateway seals and opens."""
        return self.wait_status("holds a key and a policy", is_ready, seconds)


def is_ready(status):
    """Does this gateway seal and open, as far as it says?"""
    return (status["state"] == "sealing" and status["policy"] > 0
            and all(bridge["attach"] for bridge in status["bridges"]))


def bring_up(server, boxes, group=GROUP):
    """Starts gateways, lets them in, and waits until they work."""
    for box in boxes:
        box.start()
    for box in boxes:
        server.approve(box, group)
    for box in boxes:
        box.wait_ready()


def resident_kb(process, line_of="VmRSS:"):
    """The resident set of a process, or its peak, as the kernel counts it."""
    for line in open(f"/proc/{process.popen.pid}/status", encoding="ascii"):
        if line.startswith(line_of):
            return int(line.split()[1])
    raise RuntimeError(f"{process} has no memory any more")


def unix_time():
    """Seconds since 1970, as the capture's stamps."""
    return time.time()
