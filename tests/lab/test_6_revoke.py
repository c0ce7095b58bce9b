"""Line 6: a gateway revoked under load stops reading in time, the others lose nothing."""

from daemons import is_ready, unix_time
from netns import wait_for
from opening import open_capture
from plant import Poller, assert_none_lost, serve, settle, start_all_ways
from sealed import sealed_plant

DELAY = 5
LAYOUT = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["thief"]}


def test_revoke_under_load(attach, cases):
    with sealed_plant(LAYOUT, attach=attach, revoke_delay=DELAY) as plant:
        plc, thief = plant.hosts["plc"], plant.hosts["thief"]
        capture = plant.capture()
        honest = start_all_ways(plc, plant.hosts["hmi"])
        serve(thief, "udp")
        stolen = [Poller(thief, plc, "modbus", 4), Poller(thief, plc, "udp", 6),
                  Poller(plc, thief, "udp", 4)]
        settle(honest + stolen)
        before = plant.server.keys()

        revoked = unix_time()
        plant.server.revoke(plant.boxes["gwc"])
        wait_for("the others have left the old epoch",
                 lambda: all(plant.boxes[name].status()["epoch"] > newest(before)
                             for name in ("gwa", "gwb")), DELAY + 2)
        for poller in stolen:
            poller.wait(lambda report: report["now_ms"] / 1000 > revoked + DELAY + 3, DELAY + 10)
        settle(honest)

        reports = {poller: poller.finish() for poller in honest}
        capture.stop()
        assert_none_lost(reports, least=100)
        for poller in stolen:
            answered = poller.finish()["last_answer_ms"] / 1000 - revoked
            assert answered < DELAY + 1, f"{poller.name}: answered {answered:.1f} s after"
        # What the thief's keys open of the others' packets, by the capture and not by its word.
        addresses = (thief.ip4, thief.ip6)
        early = open_capture(capture, before, not_from=addresses)
        late = open_capture(capture, before, after=revoked + DELAY + 1, not_from=addresses)
        assert early["opened"] > 0
        assert late["sealed"] > 100 and late["opened"] == 0, late
        assert not is_ready(plant.boxes["gwc"].status())
        cases(late["sealed"])


def newest(keys):
    return max(epoch["id"] for epoch in keys["epochs"])
