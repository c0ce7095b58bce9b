"""Network namespaces with a prefix of their own, and the processes in them.

Everything a run makes is named after its prefix and goes when the run ends: by `close`, by a
signal, or, after SIGKILL or a crash, by the next run, which finds that nobody holds the lock of
that prefix any more.
"""

import fcntl
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path("/run/tsg-lab")
PATIENCE = float(os.environ.get("TSG_LAB_PATIENCE", "1"))


class Deadline:
    """Seconds that may pass until something has happened, on a slow machine some more."""

    def __init__(self, seconds):
        seconds *= PATIENCE
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self.end - time.monotonic())


def wait_for(what, probe, seconds=10.0, every=0.05):
    """Calls `probe` until it returns something true, and returns that."""
    deadline = Deadline(seconds)
    while True:
        seen = probe()
        if seen:
            return seen
        if not deadline.left():
            raise TimeoutError(f"not within {deadline.seconds:.0f} s: {what}")
        threading.Event().wait(every)


def command(*argv, check=True, **kwargs):
    """Runs a program and returns what it printed; raises with its complaint."""
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, **kwargs)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}: "
                           f"{(done.stderr or done.stdout).strip()}")
    return done


class Process:
    """A program in a namespace: its lines as they come, its standard error in a file."""

    def __init__(self, argv, log, env=None):
        self.argv = [str(arg) for arg in argv]
        self.log = Path(log)
        self.lines = []
        self._fresh = queue.Queue()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as errors:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=errors, text=True,
                                          env={**os.environ, **(env or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))
            self._fresh.put(line)
        self._fresh.put(None)

    @property
    def running(self):
        return self.popen.poll() is None

    def wait_line(self, wanted, seconds=10.0):
        """The first line, old or new, that `wanted` accepts."""
        deadline = Deadline(seconds)
        seen = 0
        while True:
            for line in self.lines[seen:]:
                seen += 1
                if wanted(line):
                    return line
            try:
                if self._fresh.get(timeout=max(deadline.left(), 0.001)) is None:
                    self._fresh.put(None)
                    if seen == len(self.lines):
                        raise RuntimeError(f"{self} ended: {self.complaint()}")
            except queue.Empty:
                raise TimeoutError(f"{self} said nothing as wanted within "
                                   f"{deadline.seconds:.0f} s: {self.complaint()}") from None

    def wait_log(self, text, seconds=10.0):
        """Waits until standard error contains `text`."""
        def said():
            if text in self.said():
                return True
            if not self.running:
                raise RuntimeError(f"{self} ended: {self.complaint()}")
            return False
        wait_for(f"{self} says {text!r}", said, seconds)

    def said(self):
        """Its standard error so far; not that of an earlier process with the same log."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def complaint(self):
        return self.said()[-2000:].strip() or "(nothing on stderr)"

    def send(self, number):
        if self.running:
            self.popen.send_signal(number)

    def wait(self, seconds):
        """The exit code; all lines are there afterwards."""
        code = self.popen.wait(timeout=seconds)
        self._reader.join(timeout=5)
        return code

    def stop(self, number=signal.SIGTERM, seconds=5.0):
        """Ends it, with force if it does not listen; returns the exit code."""
        self.send(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            return self.wait(seconds)

    def last_json(self):
        """The last line, which is JSON."""
        if not self.lines:
            raise RuntimeError(f"{self} printed nothing: {self.complaint()}")
        return json.loads(self.lines[-1])

    def __str__(self):
        return " ".join(self.argv[-6:])


class Namespace:
    """One machine: a network namespace."""

    def __init__(self, run, name):
        self.run_ = run
        self.name = f"{run.prefix}-{name}"
        command("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        # The last three as OpenWrt ships them: who needs the bridge's packets in iptables must
        # switch that on.
        self.sysctl({"net/ipv6/conf/default/accept_dad": 0,
                     "net/ipv6/conf/default/accept_ra": 0,
                     "net/bridge/bridge-nf-call-iptables": 0,
                     "net/bridge/bridge-nf-call-ip6tables": 0,
                     "net/bridge/bridge-nf-call-arptables": 0})

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def run(self, *argv, **kwargs):
        return command(*self.argv(*argv), **kwargs)

    def ip(self, *argv):
        return command("ip", "-n", self.name, *argv)

    def mac(self, device):
        shown = self.run("cat", f"/sys/class/net/{device}/address").stdout
        return bytes.fromhex(shown.strip().replace(":", ""))

    def sysctl(self, settings):
        """Sets those that this kernel has."""
        self.run("sh", "-c", "\n".join(
            f"[ ! -e /proc/sys/{path} ] || echo {value} > /proc/sys/{path}"
            for path, value in settings.items()))

    def start(self, *argv, log, env=None):
        """Starts a program that runs beside the test."""
        process = Process(self.argv(*argv), self.run_.log(log), env)
        self.run_.processes.append(process)
        return process


class Run:
    """One run of the lab: a prefix, a folder, and what must go at the end."""

    def __init__(self, prefix):
        self.prefix = prefix
        ROOT.mkdir(exist_ok=True)
        self._lock = _lock(prefix)
        if self._lock is None:
            raise RuntimeError(f"a run named {prefix} is under way; set TSG_LAB_PREFIX")
        _wipe(prefix)
        for stale in ROOT.glob("*.lock"):
            _sweep(stale.stem)
        self.folder = ROOT / prefix
        self.folder.mkdir(mode=0o700)
        self.processes = []

    def log(self, name):
        return self.folder / f"{name}.log"

    def close(self):
        for process in reversed(self.processes):
            process.send(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop(seconds=3)
        _wipe(self.prefix)
        (ROOT / f"{self.prefix}.lock").unlink(missing_ok=True)
        os.close(self._lock)


def _lock(prefix):
    handle = os.open(ROOT / f"{prefix}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _sweep(prefix):
    """Removes what a run left behind that was killed."""
    handle = _lock(prefix)
    if handle is not None:
        _wipe(prefix)
        (ROOT / f"{prefix}.lock").unlink(missing_ok=True)
        os.close(handle)


def _wipe(prefix):
    listed = command("ip", "netns", "list").stdout.split("\n")
    names = [line.split()[0] for line in listed if line.startswith(f"{prefix}-")]
    for name in names:
        for pid in command("ip", "netns", "pids", name, check=False).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    for name in names:
        command("ip", "netns", "del", name, check=False)
    shutil.rmtree(ROOT / prefix, ignore_errors=True)
