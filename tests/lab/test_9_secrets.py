"""Secrets stay where they belong: not in logs, arguments, environments, status or core dumps."""

import base64
import re
import signal
from pathlib import Path

from plant import settle, start_all_ways
from sealed import two_gateways


def test_secrets_do_not_show(cases):
    with two_gateways() as plant:
        pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"])
        settle(pollers)
        daemons = {"server": plant.server.process} | {
            name: box.process for name, box in plant.boxes.items()}
        secrets = {"TEK": only_tek(plant)} | {
            f"{name}'s key": identity(box) for name, box in plant.boxes.items()}
        for name, process in daemons.items():
            pid = process.popen.pid
            shown = {part: Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ")}
            shown["log"] = process.log.read_bytes()
            if name in plant.boxes:
                shown["status"] = plant.boxes[name].ask("status", "--json").encode()
            for part, text in shown.items():
                for what, secret in secrets.items():
                    assert not is_in(secret, text), f"{what} in {part} of {name}"
        assert is_in(secrets["TEK"], f"x{secrets['TEK'].hex().upper()}".encode()), "the search finds nothing"
        for pid in (process.popen.pid for process in daemons.values()):
            assert "0" == re.search(r"Max core file size +(\S+)",
                                    Path(f"/proc/{pid}/limits").read_text())[1]
            # What may not be dumped belongs to root in /proc, whoever runs it, and cannot be traced.
            assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
        for name, process in daemons.items():
            folder = Path(f"/proc/{process.popen.pid}/cwd").resolve()
            before = set(folder.glob("core*"))
            process.stop(signal.SIGABRT)
            assert set(folder.glob("core*")) == before, f"{name} left a core dump"
        cases(len(daemons) * len(secrets))


def only_tek(plant):
    [epoch] = plant.server.keys()["epochs"]
    return base64.b64decode(epoch["tek"])


def identity(box):
    """A gateway's secret key, from its file."""
    text = (box.folders["state"] / "key").read_text()
    return base64.b64decode(re.search(r"secret\S*\s+'?([A-Za-z0-9+/]{43}=)", text)[1])


def is_in(secret, text):
    """As bytes, in hex or in base64."""
    return (secret in text or secret.hex().encode() in text.lower()
            or base64.b64encode(secret).rstrip(b"=") in text
            or base64.urlsafe_b64encode(secret).rstrip(b"=") in text)
