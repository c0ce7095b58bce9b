"""Secrets stay where they belong: not in logs, arguments, environments, status or core dumps; and
nothing is left of them in memory when they are over."""

import base64
import re
import signal
from pathlib import Path

import pytest
from daemons import GROUP
from memory import Memory, dead_stack, forms
from netns import wait_for
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


@pytest.mark.parametrize("cipher", ["chacha20-poly1305", "aes-256-gcm"])
def test_keys_leave_no_trace_in_memory(cipher, cases):
    with two_gateways(cipher=cipher) as plant:
        settle(start_all_ways(plant.hosts["plc"], plant.hosts["hmi"]))
        assert_secret_keys_at_home(plant)
        tek, first = keys(plant)
        for name, pid in pids(plant).items():
            # The server keeps it to send it, a gateway to derive from it: whoever needs it shares that
            # place, and what was sent, received or written down is gone at once.
            assert len(Memory(pid).places(tek)) == 1, f"{name}: {Memory(pid).places(tek)}"
            # A gateway has its own and the peer's. The server derived them all, to reveal them.
            wait_for(f"{name} has wiped its stack", lambda pid=pid: dead_stack(pid) == bytes(16 * 1024), 10)
            found = Memory(pid).traces(first)
            assert len(found) >= 2 if name in plant.boxes else not found, f"{name} holds {found}"
        plant.server.rekey()
        for box in plant.boxes.values():
            box.wait_status("epoch 2 alone", has_epochs(2), 30)
        searched = assert_gone(plant, first | {"first TEK": tek})

        tek, second = keys(plant)
        plant.server.revoke(plant.boxes["gwb"])
        plant.boxes["gwb"].wait_status("no epoch", has_epochs(), 30)
        plant.boxes["gwa"].wait_status("epoch 3 alone", has_epochs(3), 30)
        searched += assert_gone(plant, second | {"second TEK": tek})
        tek, third = keys(plant)
        wait_for("the new TEK is in one place of gwa", lambda: has_one(pids(plant)["gwa"], tek), 10)
        assert not Memory(pids(plant)["gwb"]).traces(third | {"third TEK": tek})
        cases(searched)


def test_a_token_leaves_no_trace_in_memory(cases):
    with two_gateways() as plant:
        box, server = plant.boxes["gwb"], plant.server
        box.process.stop()
        server.ask("gateway", "remove", box.name)
        text = server.ask("token", "create", "--group", GROUP, "--server", box.config["server"])["token"]
        secrets = {"token": token_secret(text), "text of the token": text.encode()}
        pid = server.process.popen.pid
        assert not Memory(pid).traces(secrets), "the server needs only its hash"
        box.gateway.run(*box.argv("enrol"), input=text)
        # Without an answer the gateway must keep it.
        server.process.send(signal.SIGSTOP)
        box.start()
        wait_for("the token waits in one place", lambda: has_one(box.process.popen.pid, secrets["token"]), 10)
        server.process.send(signal.SIGCONT)
        box.wait_ready()
        cases(assert_gone(plant, secrets))


def assert_secret_keys_at_home(plant):
    """A daemon has its own CURVE key in one place, not as the text that its file holds, and nobody else's."""
    owners = {"server": secret_in(plant.server.folder / "server.key")} | {
        name: identity(box) for name, box in plant.boxes.items()}
    for name, pid in pids(plant).items():
        memory = Memory(pid)
        for owner, secret in owners.items():
            raw, *texts = [memory.places(form) for form in forms(secret)]
            assert len(raw) == (owner == name), f"{owner}'s key in {name}: {raw}"
            assert not any(texts), f"{owner}'s key as text in {name}: {texts}"


def assert_gone(plant, secrets):
    """In no form is anything left of these in any daemon's memory. Gives how often that was looked for."""
    for name, pid in pids(plant).items():
        try:
            wait_for("gone", lambda pid=pid: not Memory(pid).traces(secrets), 10)
        except TimeoutError:
            left = Memory(pid).traces(secrets)
            assert not left, f"{name} still holds {left}"
    return len(pids(plant)) * len(secrets) * len(forms(b""))


def has_one(pid, secret):
    return len(Memory(pid).places(secret)) == 1


def has_epochs(*ids):
    return lambda status: [each["id"] for each in status["epochs"]] == list(ids)


def pids(plant):
    return {"server": plant.server.process.popen.pid} | {
        name: box.process.popen.pid for name, box in plant.boxes.items()}


def keys(plant):
    """The TEK of the newest epoch, and the keys derived from it, by SPI."""
    epoch = plant.server.ask("group", "keys", GROUP, "--reveal")["epochs"][-1]
    senders = {sender["spi"]: bytes.fromhex(sender["key"]) for sender in epoch["senders"]}
    return base64.b64decode(epoch["tek"]), senders


def token_secret(text):
    """The 16 bytes behind the name of that field."""
    packed = base64.urlsafe_b64decode(text.removeprefix("tsg1-") + "==")
    return re.search(rb"\xa6secret\xc4\x10(.{16})", packed, re.DOTALL)[1]


def only_tek(plant):
    [epoch] = plant.server.keys()["epochs"]
    return base64.b64decode(epoch["tek"])


def identity(box):
    """A gateway's secret key, from its file."""
    return secret_in(box.folders["state"] / "key")


def secret_in(file):
    return base64.b64decode(re.search(r"^secret (\S+)$", file.read_text(), re.MULTILINE)[1])


def is_in(secret, text):
    """As bytes, in hex or in base64."""
    return (secret in text or secret.hex().encode() in text.lower()
            or base64.b64encode(secret).rstrip(b"=") in text
            or base64.urlsafe_b64encode(secret).rstrip(b"=") in text)
