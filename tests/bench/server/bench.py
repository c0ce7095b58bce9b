"""The key server under 100, 1,000 and 10,000 gateways: how long it takes to let them in, to give all of them new keys, and to have
all of them back after it was started again; what memory that takes, and how long an operator waits for the list.

The server is the release daemon in a network namespace, the gateways are `crowd`s, a thousand to a process, in namespaces with
addresses of their own: as many sites, each of which is a group.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/lab"))
from netns import Namespace, Run

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RELEASE = TARGET / "release"
ADDRESS = "10.77.0.1"
SITE = 1_000
PASSWORD = "correct horse battery staple"
# On a busy machine all of it takes longer, but it must not hang.
PATIENCE = 600
# Heartbeats come every ten seconds: so long is the server looked at while nothing else happens.
QUIET = 30


class Server:
    """The key server's machine and its daemon."""

    def __init__(self, run):
        self.ns = Namespace(run, "server")
        self.ns.ip("link", "add", "plant", "type", "bridge")
        self.ns.ip("addr", "add", f"{ADDRESS}/16", "dev", "plant")
        self.ns.ip("link", "set", "plant", "up")
        self.folder = run.folder
        self.socket = run.folder / "socket"
        self.most_kb = 0
        self.log = self.folder / "server.log"

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.ns.argv(RELEASE / "tsg-server", "--socket", self.socket, "run", "--data", self.folder / "data",
                             "--listen", ADDRESS, "--web", "127.0.0.1", "--web-plain", "--log", "stderr"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while self.words("health", check=False).returncode:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self):
        self.most_kb = max(self.most_kb, self.memory_kb("VmHWM"))
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0

    def words(self, *words, given="", check=True):
        done = subprocess.run([RELEASE / "tsg-server", "--socket", self.socket, *words], input=given, text=True,
                              capture_output=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, done.stderr
        return done

    def json(self, *words):
        return json.loads(self.words(*words, "--json").stdout)

    def memory_kb(self, what):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE).group(1))

    def processor_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tokens(self, group, count):
        """As a script does that prepares a roll-out: over root's socket, several at a time."""
        order = {"token_create": {"group": group, "lifetime": 86_400, "servers": [f"tcp://{ADDRESS}:5555"]}}
        line = json.dumps(order).encode() + b"\n"

        def some(number):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.socket))
                stream = client.makefile("rwb")
                made = []
                for _ in range(number):
                    stream.write(line)
                    stream.flush()
                    made.append(json.loads(stream.readline())["ok"]["value"]["token"])
                return made

        share, rest = divmod(count, 8)
        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(some, [share + (n < rest) for n in range(8)]), [])


class Crowd:
    """The gateways of a site, and how far they are."""

    def __init__(self, run, server, number, tokens):
        self.count = len(tokens)
        self.ns = Namespace(run, f"site{number}")
        self.ns.ip("link", "add", "wan", "type", "veth", "peer", "name", f"site{number}", "netns", server.ns.name)
        server.ns.ip("link", "set", f"site{number}", "master", "plant", "up")
        self.ns.ip("addr", "add", f"10.77.1.{number + 1}/16", "dev", "wan")
        self.ns.ip("link", "set", "wan", "up")
        self.process = subprocess.Popen(
            self.ns.argv(RELEASE / "crowd", number * SITE + 1), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write("".join(f"{token}\n" for token in tokens))
        self.process.stdin.flush()
        self.said = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def now(self):
        assert self.process.poll() is None, "a crowd has ended"
        return self.said[-1] if self.said else {"at": 0, "connected": 0, "members": 0, "has": 0, "seals": 0}

    def stop(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def boottime_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 10**6


def all_until(what, crowds, begin, wanted):
    """Seconds from `begin` until `wanted` was so for all of them."""
    deadline = time.monotonic() + PATIENCE
    while not all(wanted(crowd, crowd.now()) for crowd in crowds):
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE} s: {what}: {[crowd.now() for crowd in crowds]}")
        time.sleep(0.01)
    return (max(crowd.now()["at"] for crowd in crowds) - begin) / 1000


def is_in(crowd, now):
    return now["connected"] == now["members"] == crowd.count and now["seals"] > 0


def measure(count):
    run = Run("tsg-crowd")
    crowds = []
    try:
        server = Server(run)
        server.start()
        begin = time.monotonic()
        for number, size in enumerate(SITE if left > SITE else left for left in range(count, 0, -SITE)):
            group = f"site{number}"
            server.words("group", "add", group)
            crowds.append(Crowd(run, server, number, server.tokens(group, size)))
        tokens_s = time.monotonic() - begin
        row = {"gateways": count}

        begin = boottime_ms()
        for crowd in crowds:
            crowd.go()
        row["enrol_s"] = all_until("all are let in", crowds, begin, is_in)
        settle(server, crowds, count)

        used = server.processor_s()
        time.sleep(QUIET)
        processor = 100 * (server.processor_s() - used) / QUIET

        had = {crowd: crowd.now()["has"] for crowd in crowds}
        begin = boottime_ms()
        server.process.send_signal(signal.SIGUSR1)
        row["rekey_s"] = all_until("all have the new keys", crowds, begin, lambda crowd, now: now["has"] > had[crowd])
        seals_s = all_until("all seal with them", crowds, begin, lambda crowd, now: now["seals"] > had[crowd])
        settle(server, crowds, count)
        lists = list_ms(server)

        had = {crowd: crowd.now()["has"] for crowd in crowds}
        server.stop()
        server.start()
        begin = boottime_ms()
        row["reconnect_s"] = all_until("all are back, with the keys of the new process", crowds, begin,
                                       lambda crowd, now: is_in(crowd, now) and now["seals"] > had[crowd])
        settle(server, crowds, count)
        row["rss_mb"] = max(server.most_kb, server.memory_kb("VmHWM")) * 1024 / 1e6
        row["list_ms"] = max(lists.values())
        extra = {"tokens_s": tokens_s, "seals_s": seals_s, "rss_quiet_mb": server.memory_kb("VmRSS") * 1024 / 1e6,
                 "processor_percent": processor}
        server.stop()
        return {name: round(value, 2) for name, value in (row | extra).items()} | {"lists_ms": lists}
    finally:
        for crowd in crowds:
            if crowd.process.poll() is None:
                crowd.stop()
        run.close()


def settle(server, crowds, count):
    """What they wait for has come, and the server knows it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = server.json("status")
        late = sum(len(group["late"]) for group in status["groups"])
        if status["online"] == count and not late:
            return
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE} s: the server has all of them online and none of them late: "
                     f"{status['online']} of {count}, {late} late")
        time.sleep(0.2)


def list_ms(server):
    """What an operator or a program waits for a list: medians of the server's own time, as curl sees it."""
    token = server.json("api-token", "create", "bench", "--role", "viewer")["token"]
    bearer = ["--header", f"Authorization: Bearer {token}"]
    jar = server.folder / "jar"
    server.words("user", "add", "bench", "--role", "viewer", given=f"{PASSWORD}\n")
    base = "http://127.0.0.1:8888"
    form = ["--data-urlencode", "name=bench", "--data-urlencode", f"password={PASSWORD}", "--data", "to=/"]
    curl(server, "--cookie-jar", jar, *form, f"{base}/login")
    session = ["--cookie", jar]
    asked = {
        "page": [*session, f"{base}/gateways"],
        "page, one searched": [*session, f"{base}/gateways?text=box99"],
        "API, 1,000": [*bearer, f"{base}/api/v1/gateways?limit=1000"],
        "API, the last": [*bearer, f"{base}/api/v1/gateways?limit=1000&skip=9000"],
    }
    for what, words in asked.items():
        assert "box" in curl(server, *words) or "skip" in words[-1], what
    return {what: round(statistics.median(timed(server, words) for _ in range(9)), 1) for what, words in asked.items()}


def curl(server, *words):
    return server.ns.run("curl", "--silent", "--show-error", "--fail", "--max-time", "60", *words).stdout


def timed(server, words):
    said = curl(server, "--output", "/dev/null", "--write-out", "%{time_pretransfer} %{time_total}", *words)
    before, total = map(float, said.split())
    return 1000 * (total - before)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("gateways", nargs="*", type=int, default=[100, 1_000, 10_000])
    arguments.add_argument("--site", type=int, default=SITE, help="gateways of a process, and of a group")
    arguments.add_argument("--report", type=Path, default=ROOT / "target/bench-server.json", help="where the rows go")
    asked = arguments.parse_args()
    globals()["SITE"] = asked.site
    rows = []
    for count in asked.gateways:
        rows.append(measure(count))
        print(json.dumps(rows[-1]), file=sys.stderr)
        asked.report.parent.mkdir(exist_ok=True)
        asked.report.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def table(rows):
    columns = [("gateways", "gateways", ",.0f"), ("let in, s", "enrol_s", ".1f"), ("all have new keys, s", "rekey_s", ".1f"),
               ("all seal with them, s", "seals_s", ".1f"), ("all back, s", "reconnect_s", ".1f"), ("RSS, MB", "rss_mb", ".0f"),
               ("a list, ms", "list_ms", ".0f"), ("processor, %", "processor_percent", ".1f")]
    lines = [[name for name, _, _ in columns], ["---"] * len(columns)]
    lines += [[format(row[key], form) for _, key, form in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
