"""docs/operations.md, word for word: its commands are typed as they stand there, names and addresses put in."""

import json
import os
import re
import shutil
import signal

from daemons import GROUP, Box
from load import Load
from netns import command, wait_for
from plant import REPOSITORY, Poller, binary, serve, settle
from sealed import sealed_plant

PAGE = (REPOSITORY / "docs/operations.md").read_text()
THREE = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["drive"]}


def test_replace_a_dead_gateway(cases):
    with sealed_plant(THREE) as plant:
        server, lab, hmi = plant.server, plant.lab, plant.hosts["hmi"]
        machines = [hmi.ip4, "10.77.0.99"]
        server.ask("gateway", "pin", "gwb", *machines)
        others = Load(plant.hosts["plc"], plant.hosts["drive"])
        serve(hmi, "udp")
        pollers = [Poller(plant.hosts["plc"], hmi, "udp", 4), Poller(hmi, plant.hosts["plc"], "modbus", 6)]
        settle(pollers)
        epoch = newest(server)
        old = plant.boxes.pop("gwb")
        dead = old.fingerprint()
        with others.undisturbed():
            # The box dies; another one is put in its place, with its configuration and a key of its own.
            old.process.stop(signal.SIGKILL)
            spare = lab.gateway("spare", plant.switch)
            lab.replug(hmi.ns, "eth0", spare)
            hmi.plug_in()
            lab.bridges.remove(old.gateway)
            lab.ready()
            new = plant.boxes["gwb"] = Box(spare, server, old.config["attach"], name="gwb")
            new.start()
            fingerprint = new.fingerprint()
            wait_for("it asks to be let in",
                     lambda: fingerprint in json.dumps(server.ask("gateway", "list")), 20)
            shown = typed(server, "Replace a dead gateway", {
                "press7": "gwb", "line1": GROUP, "OLD": dead, "NEW": fingerprint,
                "192.0.2.7 192.0.2.8": " ".join(machines)})
            assert all(machine in shown for machine in machines), "what was pinned is not shown"
            new.wait_ready()
            settle(pollers)
        found = server.ask("gateway", "show", "gwb")
        assert (found["state"], found["group"], found["fingerprint"]) == ("online", GROUP, fingerprint)
        assert found["pinned"] == sorted(machines)
        assert newest(server) > epoch, "the dead box's keys still open what the others send"
        status = server.ask("status")
        assert (status["offline"], status["groups"][0]["members"]) == ([], 3)
        # Who repairs the dead box has nothing with it.
        old.start()
        old.wait_status("waits outside", lambda status: status["state"] in ("pending", "revoked"), 30)
        cases(6)


def test_back_up_and_restore_the_key_server(cases):
    with sealed_plant(THREE) as plant:
        server, backup = plant.server, plant.lab.run.folder / "backup"
        backup.mkdir()
        places = {"/var/lib/tsg-server": str(server.folder), "/backup": str(backup)}
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        key = server.ask("key")
        with load.undisturbed():
            typed(server, "Back up the key server", {"/backup": str(backup)})
            server.set(mode="migrate")
            server.ask("group", "add", "later")
            before = newest(server)
            server.process.stop(signal.SIGKILL)
            shutil.rmtree(server.folder)
            typed(server, "Restore the key server", places)
            server.start()
            for box in plant.boxes.values():
                box.wait_status("seals with a new key", lambda status: status["epoch"] > before, 60)
        assert server.ask("key") == key
        groups = {group["name"]: group["settings"] for group in server.ask("group", "list")}
        assert {name: one["mode"] for name, one in groups.items()} == {GROUP: "enforce"}
        assert len(server.ask("gateway", "list")) == len(THREE)
        cases(5)


def typed(server, title, words):
    """Types what the page says below that title; returns what was shown."""
    block = re.search(rf"^\*\*{title}\b.*?```sh\n(.*?)```", PAGE, re.M | re.S)[1]
    for word, instead in words.items():
        assert word in block, f"the page says nothing of {word}"
        block = block.replace(word, instead)
    path = f"{binary('tsg-server').parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "TSG_SERVER_SOCKET": str(server.socket)}
    return command("sh", "-euxc", block, env=env, timeout=60).stdout


def newest(server):
    [group] = [one for one in server.ask("status")["groups"] if one["name"] == GROUP]
    return group["preparing"] or group["epoch"]
