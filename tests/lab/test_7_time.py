"""Somebody between gateway and key server delays what they say to each other, says it again, or cuts them
off. The time of a gateway stays within half a second of the key server's, or it says so; and polls go on."""

import json
import signal
import sys

import pytest

from ambush import JITTER, PROMISED, RELAY, Ambush, says_so
from netns import wait_for
from sealed import sealed_plant

LAYOUT = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["drive"], "": ["mallory"]}
# The smallest: what two gateways are apart must come out of the error that they say.
WINDOW = 1
# Longer than an answer may take.
TOO_LATE = 1.3

pytestmark = pytest.mark.xdist_group("time")


@pytest.fixture(scope="module")
def ambush():
    with sealed_plant(LAYOUT, name="time", replay_window=WINDOW) as plant:
        yield Ambush(plant)


@pytest.mark.parametrize("late", [{"questions": 0.4}, {"answers": 0.4}, {"questions": 0.9},
                                  {"answers": 0.9}, {"questions": 0.45, "answers": 0.45}],
                         ids=lambda late: "-".join(f"{way}-{by}" for way, by in late.items()))
def test_late_from_the_start(ambush, late, cases):
    """A gateway that has never heard the key server without delay."""
    ambush.relay.late(**late)
    ambush.reboot("gwa")
    ambush.box.wait_ready(60)
    ambush.load.goes_on()
    off, error = ambush.keeps_the_promise("gwa", "plc")
    shift = 1000 * (late.get("questions", 0) - late.get("answers", 0)) / 2
    assert abs(off - shift) < 10 * JITTER, "the attack is not the one that was meant"
    with ambush.load.undisturbed():
        ambush.rekey()
    assert error >= abs(shift)
    ambush.honest()
    cases(1)


def test_later_and_later(ambush, cases):
    """What was known before the attack stays known; and answers that are too late say nothing."""
    ambush.honest()
    steps = (0.2, 0.5, 0.8, 1.1, 1.6)
    with ambush.load.undisturbed():
        for seconds in steps:
            ambush.relay.late(answers=seconds)
            ambush.rekey()
            _, error = ambush.keeps_the_promise("gwa", "plc")
            assert error < PROMISED / 2, f"{error} ms: it knew better"
        last = ambush.box.status()["time_error_ms"]
        ambush.box.wait_status("it knows the time less and less",
                               lambda status: status["time_error_ms"] >= last + 2, 30)
        assert ambush.box.status()["connected"]
    ambush.honest()
    cases(len(steps) + 1)


@pytest.mark.parametrize("way", ("questions", "answers"))
def test_too_late_from_the_start(ambush, way, cases):
    """Then it has no time, says so, here and on the key server, and uses no key."""
    ambush.relay.late(**{way: TOO_LATE})
    ambush.reboot("gwa")
    status = ambush.box.wait_status("it says that it has no time", says_so, 60)
    assert status["connected"] and status["time_error_ms"] is None, status
    assert status["state"] == "no key" and not any(epoch["time_known"] for epoch in status["epochs"])
    wait_for("the key server says so too", lambda: "the time " in json.dumps(
        ambush.server.ask("status")["alarms"]), 30)
    counters = ambush.box.status()["counters"]
    assert counters["sealed"] == counters["opened"] == 0, counters
    ambush.relay.late()
    ambush.box.wait_ready()
    ambush.load.goes_on()
    ambush.keeps_the_promise("gwa", "plc")
    cases(1)


def test_two_gateways_apart(ambush, cases):
    """One as far behind as can be, the other ahead: by more than half a second in all. What one seals the
    other opens."""
    ambush.relays["gwa"].late(answers=0.8)
    ambush.relays["gwb"].late(questions=0.8)
    for name in ("gwa", "gwb"):
        ambush.reboot(name)
    for name in ("gwa", "gwb"):
        ambush.boxes[name].wait_ready(60)
    ambush.load.goes_on()
    behind, _ = ambush.keeps_the_promise("gwa", "plc")
    ahead, _ = ambush.keeps_the_promise("gwb", "hmi")
    assert ahead - behind > PROMISED, (behind, ahead)
    with ambush.load.undisturbed():
        ambush.rekey()
        ambush.load.goes_on()
    ambush.honest()
    cases(2)


def test_cut_again_and_again(ambush, cases):
    ambush.honest()
    cuts = 10
    with ambush.load.undisturbed():
        for _ in range(cuts):
            ambush.relay.cut()
        ambush.box.wait_status("connected", lambda status: status["connected"])
        ambush.rekey()
        ambush.keeps_the_promise("gwa", "plc")
    cases(cuts)


def test_every_piece_twice(ambush, cases):
    """The other end breaks the connection off, and a new one is made."""
    ambush.honest()
    relay, times = ambush.relay, 3
    with ambush.load.undisturbed():
        for _ in range(times):
            before, said = relay.connections(), len(relay.process.lines)
            relay.process.send(signal.SIGUSR2)
            ambush.rekey()
            wait_for("a new connection", lambda: relay.connections() > before, 30)
            assert any(line.startswith("twice") for line in relay.process.lines[said:])
        ambush.rekey()
        _, error = ambush.keeps_the_promise("gwa", "plc")
        assert error < PROMISED / 2
    cases(times)


def test_an_old_connection_to_the_key_server(ambush, cases):
    """All that a gateway has said, once more: the key server does not take it for that gateway."""
    ambush.honest()
    ambush.rekey()
    said = ambush.relay.recorded("questions")
    ambush.box.process.stop(signal.SIGKILL)

    def seen():
        [box] = [box for box in ambush.server.ask("gateway", "list") if box["name"] == "gwa"]
        return box
    before, dropped = seen(), ambush.server.ask("status")["dropped"]
    tries = 3
    for _ in range(tries):
        parrot = ambush.mallory.start(sys.executable, RELAY, "say", ambush.relay.server, said, log="parrot")
        assert parrot.wait(60) == 0, parrot.complaint()
        # Greeting and the first half of the handshake, which anybody gets.
        assert 0 < parrot.last_json()["heard"] < 1000, parrot.lines
    wait_for("seconds have passed", lambda: seen()["heard"] > before["heard"] + 2)
    assert {**seen(), "heard": None, "state": None} == {**before, "heard": None, "state": None}
    print(f"dropped: {dropped}, then {ambush.server.ask('status')['dropped']}")
    ambush.box.start()
    ambush.box.wait_ready()
    wait_for("the key server hears the gateway itself", lambda: seen()["heard"] < 3)
    ambush.load.goes_on()
    cases(tries)


def test_an_old_connection_to_the_gateway(ambush, cases):
    """All that the key server has answered, once more: the gateway learns nothing from it, and goes on with
    what it knows."""
    ambush.honest()
    ambush.rekey()
    answered = ambush.relay.recorded("answers")
    before = ambush.box.status()
    with ambush.load.undisturbed():
        ambush.relay.process.stop(signal.SIGKILL)
        parrot = ambush.mallory.start(sys.executable, RELAY, "answer", ambush.relay.port, answered,
                                      log="parrot")
        wait_for("the gateway was answered", lambda: parrot.lines.count("connection") >= 3, 60)
        now = ambush.box.status()
        for part in ("state", "epochs", "policies", "policy"):
            was, is_now = ([{**entry, "ends_in_s": 0} for entry in status[part]]
                           if part == "epochs" else status[part] for status in (before, now))
            assert was == is_now, part
        assert now["time_error_ms"] >= before["time_error_ms"]
        parrot.stop()
        ambush.relay.start()
        wait_for("the gateway is back", lambda: ambush.relay.connections() > 0, 30)
        ambush.rekey()
        ambush.keeps_the_promise("gwa", "plc")
    cases(3)
