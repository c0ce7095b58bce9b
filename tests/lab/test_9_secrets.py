"""Secrets stay where they belong: not in logs, arguments, environments, status or core dumps; and
nothing is left of them in memory when they are over."""

import base64
import re
import resource
import signal
from pathlib import Path

import pytest
from daemons import GROUP
from memory import Memory, dead_stack, forms
from netns import wait_for
from plant import settle, start_all_ways
from sealed import two_gateways
from second import Second, key_of, offered
from tunnels import Tunnel

CIPHERS = ("chacha20-poly1305", "aes-256-gcm")


@pytest.fixture(autouse=True)
def core_dumps_allowed():
    """Where the daemons are started: that they leave none is their own doing."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_secrets_do_not_show(cases):
    """Not in the longest of logs either."""
    with two_gateways(options={"log_level": "trace"}) as plant:
        pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"])
        settle(pollers)
        daemons = {"server": plant.server.process} | {
            name: box.process for name, box in plant.boxes.items()}
        secrets = {"TEK": only_tek(plant), "the server's key": secret_in(plant.server.folder / "server.key")} | {
            f"{name}'s key": identity(box) for name, box in plant.boxes.items()}
        _, senders = keys(plant)
        assert len(senders) >= 2, senders
        secrets |= {f"key of {spi}": key for spi, key in senders.items()}
        for name, process in daemons.items():
            more = {"status": plant.boxes[name].ask("status", "--json").encode()} if name in plant.boxes else {}
            assert_does_not_show(name, process, secrets, more)
        assert is_in(secrets["TEK"], f"x{secrets['TEK'].hex().upper()}".encode()), "the search finds nothing"
        for name, process in daemons.items():
            assert_leaves_no_core(name, process)
        cases(len(daemons) * len(secrets))


@pytest.mark.parametrize("cipher", CIPHERS)
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
        # The answer is read before who has sent it is done with it.
        wait_for("the server has nothing but its hash", lambda: not Memory(pid).traces(secrets), 5)
        box.gateway.run(*box.argv("enrol"), input=text)
        # Without an answer the gateway must keep it.
        server.process.send(signal.SIGSTOP)
        box.start()
        wait_for("the token waits in one place", lambda: has_one(box.process.popen.pid, secrets["token"]), 10)
        server.process.send(signal.SIGCONT)
        box.wait_ready()
        cases(assert_gone(plant, secrets))


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_tunnel_keeps_its_secrets(cipher, cases):
    """Of an end that made the key and, after a restart, has read it; the other one reveals what they agree on."""
    with Tunnel() as tunnel:
        left = tunnel.left
        tunnel.right.process.stop()
        first = agreed(tunnel, cipher)
        assert_at_home(left, first)
        left.process.stop()
        left.start()
        half = offered(tunnel)
        assert len(Memory(left.process.popen.pid).halves(half)) == 1, "the half that is offered is in one place"
        second = agreed(tunnel, cipher)
        assert second["other half"] == half
        assert_at_home(left, second)
        third = agreed(tunnel, cipher)
        over = {name: second[name] for name in ("key to other", "key to me")}
        # What was on its way may still come for 10 s.
        wait_for("keys of before are gone", lambda: not Memory(left.process.popen.pid).traces(over), 20)
        assert_at_home(left, third)
        secrets = {name: value for name, value in third.items() if name != "other half"}
        assert_does_not_show("tunnel", left.process, secrets)
        assert_leaves_no_core("tunnel", left.process)
        cases(3 * len(third) + len(over) + len(secrets))


def agreed(tunnel, cipher):
    """All secrets of the left end, by name, and the public half that it used, once its keys are in use."""
    other = Second(tunnel, cipher)
    tunnel.left.ping(tunnel.right, 4)
    other.stop()
    return {"key": key_of(tunnel.left)} | other.revealed


def assert_at_home(end, secrets):
    """What the end needs is in one place, and of what it needed to get there nothing is left."""
    pid = end.process.popen.pid
    homes = {"key": 1, "hello key": 1, "key to other": 1, "key to me": 1,
             "shared": 0, "TEK to other": 0, "TEK to me": 0}
    # What passes over the stack is not always overwritten by the next.
    for _ in range(5):
        memory = Memory(pid)
        for name, places in homes.items():
            found = memory.traces({name: secrets[name]}).get(name, [])
            assert len(found) == places, f"{name}: {found}"
        assert not (found := memory.halves(secrets["other half"])), f"secret of a half that is over: {found}"


def assert_does_not_show(name, process, secrets, more=()):
    """None of the secrets is in its arguments, environment and log, and in what else it tells, by name."""
    pid = process.popen.pid
    shown = {part: Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ")}
    for part, text in {**shown, "log": process.log.read_bytes(), **dict(more)}.items():
        for what, secret in secrets.items():
            assert not is_in(secret, text), f"{what} in {part} of {name}"


def assert_leaves_no_core(name, process):
    pid = process.popen.pid
    assert "0" == re.search(r"Max core file size +(\S+)", Path(f"/proc/{pid}/limits").read_text())[1]
    # What may not be dumped belongs to root in /proc, whoever runs it, and cannot be traced.
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    folder = Path(f"/proc/{pid}/cwd").resolve()
    before = set(folder.glob("core*"))
    process.stop(signal.SIGABRT)
    assert set(folder.glob("core*")) == before, f"{name} left a core dump"


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
