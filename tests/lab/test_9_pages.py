"""An operator's day on the key server's pages, in Chromium, with two real gateways and polls: tests/pages/day.cjs."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading

from daemons import Box, KeyServer, is_ready
from netns import command, wait_for
from plant import REPOSITORY, binary, settle, start_all_ways
from topology import Lab

PAGES = REPOSITORY / "tests/pages/day.cjs"
# A day takes two minutes, or four if the gateways have just reported.
LONGEST = 600


def test_an_operators_day(cases):
    modules = command(REPOSITORY / "tests/luci/install", timeout=600).stdout.strip()
    pictures = os.environ.get("TSG_PICTURES", "")
    with Lab() as lab:
        switch = lab.switch()
        server = KeyServer(lab.server(switch))
        gateways = {name: lab.gateway(name, switch) for name in ("gwa", "gwb")}
        plc, hmi = lab.host("plc", gateways["gwa"]), lab.host("hmi", gateways["gwb"])
        lab.ready()
        server.start()
        boxes = {name: Box(gateway, server).start() for name, gateway in gateways.items()}
        said = wait_for("the set-up code", lambda: re.search("set-up code (.*)", server.process.said()), 10)
        day = {"base": f"https://{server.host.ip4}:8888", "code": said[1], "pictures": pictures,
               "plc": plc.ip4, "boxes": {name: box.fingerprint() for name, box in boxes.items()}}
        identity, backup = (lab.run.folder / name for name in ("identity", "backup.age"))
        made = command(binary("tsg-server"), "backup-key", identity).stdout
        day |= {"recipient": re.search(r"age1[a-z0-9]+", made)[0], "backup": str(backup)}
        for box in boxes.values():
            wait_for(f"{box.name} asks to be let in",
                     lambda box=box: day["boxes"][box.name] in json.dumps(server.ask("gateway", "list")), 20)
        browser = subprocess.Popen(
            server.host.ns.argv("node", PAGES), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": modules, "DAY": json.dumps(day)})
        pollers, lines = [], []
        # Whatever it waits for, it does not wait for ever.
        ends = threading.Timer(LONGEST, browser.kill)
        ends.start()
        try:
            for line in browser.stdout:
                lines.append(line.strip())
                if line == "polls are seen\n":
                    for box in boxes.values():
                        box.wait_status("it learns", lambda status: is_ready(status) and status["mode"] == "learn", 60)
                    pollers += start_all_ways(plc, hmi, rate=25, timeout_ms=4000)
                    settle(pollers)
                    answer(browser)
                if line == "polls are sealed\n":
                    for box in boxes.values():
                        box.wait_status("it seals", lambda status: is_ready(status) and status["mode"] == "enforce", 60)
                    settle(pollers, seconds=30)
                    answer(browser)
                if line == "gwb is out\n":
                    boxes["gwb"].wait_status("it is thrown out", lambda status: status["state"] == "revoked", 30)
                    answer(browser)
                if line == "the machine is lost\n":
                    server.process.stop(signal.SIGKILL)
                    shutil.rmtree(server.folder)
                    command(binary("tsg-server"), "restore", "--identity", identity, "--data", server.folder, backup)
                    server.start()
                    answer(browser)
            assert browser.wait(30) == 0, "\n".join(lines)
        finally:
            ends.cancel()
            browser.kill()
        assert boxes["gwa"].status()["counters"]["sealed"] > 100
        looked = re.fullmatch(r"looked at (\d+) pages", lines[-1])
        assert int(looked[1]) > 30
        cases(int(looked[1]))


def answer(browser):
    browser.stdin.write("done\n")
    browser.stdin.flush()
