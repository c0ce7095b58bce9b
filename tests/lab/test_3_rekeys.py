"""Line 3: ten rekeys under the full load, by command and by SIGUSR1, lose no poll."""

from opening import open_capture
from plant import assert_none_lost, settle, start_all_ways
from sealed import two_gateways


def test_ten_rekeys_under_load(attach, cases):
    with two_gateways(attach) as plant:
        capture = plant.capture()
        pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"])
        settle(pollers)
        epochs = [epoch_of_all(plant)]
        plant.server.keys()
        for turn in range(10):
            (plant.server.sigusr1 if turn % 2 else plant.server.rekey)()
            plant.server.keys()
            epochs.append(epoch_of_all(plant, above=epochs[-1]))
            settle(pollers)
        reports = {poller: poller.finish() for poller in pollers}
        keys = plant.server.keys()
        capture.stop()
        assert_none_lost(reports, least=100)
        capture.never("in clear")
        assert epochs == list(range(epochs[0], epochs[0] + 11)), epochs
        senders = open_capture(capture, keys)["senders"]
        assert len({spi[:4] for spi in senders}) == 11, f"epochs on the wire: {senders}"
        cases(10 + sum(report["sent"] for report in reports.values()))


def epoch_of_all(plant, above=0):
    """Waits until all gateways seal with one epoch, newer than `above`; returns it."""
    newest = {box.wait_status(f"an epoch after {above}", lambda s: (s["epoch"] or 0) > above)["epoch"]
              for box in plant.boxes.values()}
    assert len(newest) == 1, f"gateways in different epochs: {newest}"
    return newest.pop()
