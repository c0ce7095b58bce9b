"""docs/operations.md, word for word: its commands are typed as they stand there, names and addresses put in."""

import os
import re
import shutil
import signal

from daemons import GROUP
from load import Load
from netns import command
from plant import REPOSITORY, binary
from sealed import sealed_plant

PAGE = (REPOSITORY / "docs/operations.md").read_text()
THREE = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["drive"]}


def test_back_up_and_restore_the_key_server(cases):
    with sealed_plant(THREE) as plant:
        server, backup = plant.server, plant.lab.run.folder / "backup"
        backup.mkdir()
        places = {"/var/lib/tsg-server": str(server.folder), "/backup": str(backup)}
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        key = server.ask("key")
        with load.undisturbed():
            typed(server, "Back up the key server", places)
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
