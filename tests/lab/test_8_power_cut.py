"""Power cuts without a key server: with `cache_keys` a gateway goes on, by numbers that no boot has used and
the time that others seal by."""

import base64
import signal

import pytest

from forging import ATTACKER
from netns import wait_for
from outage import Outage
from sealed import sealed_plant
from siege import Siege

# The times on flash are good for a minute, and that begins anew with every boot; the key server has ten
# seconds to answer. The rest is for a machine that has much else to do.
BACK = 60 + 4 + 10 + 30


@pytest.fixture(scope="module")
def plant(attach):
    with sealed_plant({"gwa": ["plc"], "gwb": ["hmi"]}, attach=attach,
                      options={"cache_keys": "1"}) as plant:
        plant.siege = Siege(plant)
        plant.outage = Outage(plant, plant.siege.load)
        wait_for("the keys are on flash", lambda: all(keys(box).exists() for box in plant.boxes.values()))
        plant.server.process.stop(signal.SIGKILL)
        yield plant


def keys(box):
    return box.folders["state"].with_name("state.cache") / "keys"


def test_one_box_loses_power(plant, cases):
    """Whoever speaks first, polls go on, and nothing that was recorded before the cut is opened again."""
    outage, box = plant.outage, plant.outage.box
    before = box.status()
    with outage.nothing_in_clear():
        recorded = [plant.siege.again(heard) for heard in plant.siege.record()]
        box.lose_power()
        outage.stays_shut()
        box.boot()
        replayed = 0
        with plant.siege.capture("host", outage.plc, "eth0") as host:
            wait_for("it opens again", lambda: opened(box) > 0, BACK)
            replayed += plant.siege.inject(recorded)
            outage.comes_back(BACK)
            replayed += plant.siege.inject(recorded)
            outage.load.goes_on()
    assert len(recorded) > 50 and replayed == 2 * len(recorded)
    arrived = host.lines(f"eth.src == {ATTACKER.hex(':')}")
    assert not arrived, f"opened again: {arrived}"
    now = box.status()
    assert now["epoch"] == before["epoch"] and not now["connected"]
    assert not set(now["epochs"][0]["senders"]) & set(before["epochs"][0]["senders"])
    assert "before the power cut" in str(now["alarms"])
    cases(replayed)


def opened(box):
    status = box.status()
    return status["counters"]["opened"] if status else 0


def test_all_boxes_lose_power(plant, cases):
    """Nobody knows the time: they agree on the latest that one of them kept."""
    outage = plant.outage
    with outage.nothing_in_clear():
        for box in plant.boxes.values():
            box.lose_power()
        for box in plant.boxes.values():
            box.boot()
        outage.comes_back(BACK)
    told = sum(box.status()["counters"]["time_told"] for box in plant.boxes.values())
    assert told, "one of them sealed too early for the other, and was not told"
    cases(len(plant.boxes))


def test_no_secret_lies_on_flash_in_clear(plant, cases):
    key_server_is_back(plant)
    outage = plant.outage
    outage.rekey()
    teks = [base64.b64decode(epoch["tek"]) for epoch in plant.server.keys()["epochs"]]
    for box in plant.boxes.values():
        wait_for(f"{box.name} is well", lambda box=box: not box.status()["alarms"], 20)
        for file in keys(box).parent.iterdir():
            try:
                written, mode = file.read_bytes(), file.stat().st_mode
            except FileNotFoundError:
                # It has become the file that it was written for.
                continue
            assert not any(tek in written for tek in teks), file
            assert mode & 0o777 == 0o600, file
    with outage.nothing_in_clear(), outage.load.undisturbed():
        outage.rekey()
    cases(len(teks) * len(plant.boxes))


def key_server_is_back(plant):
    if not plant.server.process.running:
        plant.server.start()
    wait_for("members are back", lambda: all(box.status()["connected"] for box in plant.boxes.values()), 60)


def test_the_key_server_is_asked_first(plant, cases):
    """Who was thrown out while the power was off does not get in by what it kept."""
    key_server_is_back(plant)
    box = plant.boxes["gwb"]
    box.lose_power()
    plant.server.revoke(box)
    box.boot()
    box.wait_status("it hears that it is not wanted", lambda status: "was this gateway revoked" in str(status["alarms"]), 20)
    plant.outage.stays_shut()
    assert not box.status()["epochs"]
    cases(1)
