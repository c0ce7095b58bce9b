"""Both gateways as they are on a router: from the package's files, set by `uci`, kept alive as procd does, asked over ubus."""

import signal

import pytest

from daemons import MODBUS_ONLY
from installed import InstalledBox
from netns import wait_for
from plant import assert_none_lost, serve, settle, start_all_ways
from sealed import sealed_plant

@pytest.fixture(scope="module")
def plant(attach):
    with sealed_plant({"gwa": ["plc"], "gwb": ["hmi"]}, attach=attach, kind=InstalledBox) as plant:
        try:
            for host in plant.hosts.values():
                for protocol in ("modbus", "udp"):
                    serve(host, protocol)
            yield plant
        finally:
            for box in plant.boxes.values():
                box.close()


def test_sealed_and_none_lost_while_settings_change(plant, cases):
    """A policy, a rule, a level of the log: nothing of it costs a packet."""
    capture = plant.capture()
    pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"], servers=False)
    settle(pollers)
    boxes = plant.boxes.values()
    pids = [box.process.popen.pid for box in boxes]
    for number, lines in enumerate((["set tsg.main.log_level=debug"], ["set tsg.main.path_mtu=1480"],
                                    ["set tsg.telnet=rule", "set tsg.telnet.action=drop", "set tsg.telnet.proto=tcp",
                                     "set tsg.telnet.dest_port=23"])):
        for box in boxes:
            box.uci(*lines)
            box.init("reload")
        plant.server.policy({"rules": [
            *MODBUS_ONLY["rules"], {"name": f"udp{number}", "action": "encrypt", "proto": "udp", "dest_port": "20000"}]})
        settle(pollers, 50)
    reports = {poller: poller.finish() for poller in pollers}
    capture.stop()
    assert_none_lost(reports, least=100)
    sealed, modbus, udp = capture.count("sealed", "modbus", "udp")
    assert (modbus, udp) == (0, 0) and sealed
    assert [box.process.popen.pid for box in boxes] == pids, "nothing was started anew"
    cases(sum(report["sent"] for report in reports.values()))


def test_status_over_ubus(plant):
    for box in plant.boxes.values():
        status = box.ubus("call", "tsg", "status")
        assert (status["name"], status["state"]) == (box.name, "sealing")
        assert status["fingerprint"] == box.fingerprint()


def test_a_daemon_that_is_killed_comes_back_each_time(plant, cases):
    box = plant.boxes["gwa"]
    for _ in range(7):  # procd's usual limit is five.
        starts = box.starts
        box.process.send(signal.SIGKILL)
        wait_for("procd has started it again, and it seals",
                 lambda starts=starts: box.starts > starts and (box.status() or {}).get("state") == "sealing", 20)
    cases(7)


def test_what_is_wrong_is_said_and_changes_nothing(plant):
    box = plant.boxes["gwb"]
    process = box.process
    box.uci("set tsg.main.fail=shut", "set tsg.main.cache_keys=1")
    box.init("reload", check=False)
    assert 'option fail of section main is "shut"' in box.router.log()
    assert box.process is process and box.status()["state"] == "sealing"
    box.uci("set tsg.main.fail=closed", "set tsg.main.cache_keys=0")


def test_what_the_daemon_cannot_take_over_is_a_new_start(plant):
    box = plant.boxes["gwb"]
    process = box.process
    box.uci("set tsg.main.cache_keys=1")
    box.init("reload")
    box.wait_status("starts anew", lambda status: box.process is not process and status["state"] == "sealing")


def test_switched_off_and_on_again(plant):
    box = plant.boxes["gwb"]
    box.uci("set tsg.main.enabled=0")
    box.init("reload")
    assert box.process is None and nothing_left(box)
    box.uci("set tsg.main.enabled=1")
    box.init("reload")
    box.wait_ready()


def test_an_upgrade_lets_nothing_through(plant):
    """opkg ends the old program, replaces the files and starts the new one."""
    box, pollers = plant.boxes["gwb"], start_all_ways(plant.hosts["plc"], plant.hosts["hmi"], servers=False)
    settle(pollers)
    process, capture = box.process, plant.capture("upgrade")
    box.remove(is_upgrade=True)
    assert not process.running
    # Files take their time; meanwhile the machines ask on.
    for poller in [poller for poller in pollers if "udp" in poller.name]:
        poller.wait(lambda now, until=poller.now()["sent"] + 20: now["sent"] >= until)
    box.install(is_upgrade=True)
    box.wait_ready()
    settle(pollers, 20)
    capture.stop()
    capture.never("in clear")
    for poller in pollers:
        poller.finish()


def test_nothing_of_what_was_removed_stays(plant):
    """By opkg, from both gateways: what crosses is in clear."""
    pollers = start_all_ways(plant.hosts["plc"], plant.hosts["hmi"], servers=False)
    settle(pollers)
    for box in plant.boxes.values():
        box.remove()
        assert box.process is None and nothing_left(box)
        assert not box.router.run("sh", "-c", "ls -d /var/run/tsg /var/run/tsg.* /etc/rc.d/*tsg", check=False).stdout
    settle(pollers, 20)
    capture = plant.capture("removed")
    settle(pollers, 100)
    capture.stop()
    assert not capture.count("sealed")[0] and all(capture.count("modbus", "udp"))
    for poller in pollers:
        poller.finish()


def nothing_left(box):
    """Neither rules nor gate nor devices; the ports are a bridge."""
    left = box.gateway.run("sh", "-c", "nft list tables; iptables-save; tc filter show dev wan0 egress; "
                           "tc filter show dev lan0 egress; ip -br link").stdout
    assert "tsg" not in left, left
    return True
