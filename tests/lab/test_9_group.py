"""A tunnel between two gateways of a group: no key file, and who is thrown out of the group is out of the tunnel."""

import signal
import time

import pytest

from capture import Capture
from daemons import Box
from netns import wait_for
from plant import PORTS, assert_none_lost, serve, settle
from sealed import sealed_plant
from tunnels import CLEAR, DEVICE, End

LAYOUT = {"gwa": ["plc"], "gwb": ["hmi"]}
DELAY = 5


class Member(End):
    """A gateway's end."""

    def __init__(self, box, number, other):
        super().__init__(box.gateway, number, other.gateway.ip4, [], "br0")
        self.box, self.name = box, box.name

    def argv(self, *more):
        return [*self.box.argv("--log", "stderr", "tunnel"), self.interface, "--dst", self.peer, "--tun", DEVICE,
                "--group", *more]

    def status(self):
        [tunnel] = self.box.status()["tunnels"]
        return tunnel


class Members:
    """Both ends in a plant, agreed on keys."""

    def __init__(self, plant):
        one, other = plant.boxes["gwa"], plant.boxes["gwb"]
        self.left, self.right = Member(one, 1, other), Member(other, 2, one)
        for end in (self.left, self.right):
            end.start()
        for end in (self.left, self.right):
            end.process.wait_log("agreed on keys")

    def pollers(self, **options):
        pairs = (self.left, self.right), (self.right, self.left)
        for end, _ in pairs:
            for protocol in PORTS:
                serve(end.host, protocol)
        return [here.poll(there, protocol, version, **options)
                for here, there in pairs for protocol in PORTS for version in (4, 6)]


def test_keys_come_from_the_group_and_change_with_it(cases):
    with sealed_plant(LAYOUT) as plant:
        ends = Members(plant)
        capture = Capture(plant.switch)
        pollers = ends.pollers()
        settle(pollers)
        # A rekey costs no packet, nor does a gateway's daemon that is killed, nor a key server that is.
        for _ in range(2):
            before = plant.boxes["gwa"].status()["epoch"]
            plant.server.rekey()
            for box in plant.boxes.values():
                box.wait_status("is in the new epoch", lambda status, old=before: status["epoch"] > old)
            settle(pollers)
        plant.boxes["gwb"].process.stop(signal.SIGKILL)
        settle(pollers)
        plant.boxes["gwb"].start()
        plant.server.process.stop(signal.SIGKILL)
        settle(pollers)
        assert_none_lost({poller: poller.finish() for poller in pollers}, least=100)
        capture.stop()
        assert capture.count(CLEAR, "esp")[0] == 0
        assert capture.count("esp")[0] > 500
        # A tunnel that begins meanwhile finds what the gateway has left.
        ends.right.process.stop(signal.SIGKILL)
        ends.right.start()
        ends.left.ping(ends.right, 4, "-w", 10)
        assert ends.right.status()["state"] == "up"
        cases(len(pollers))


@pytest.mark.parametrize("which", ("gwa", "gwb"))
def test_who_is_thrown_out_is_out_of_the_tunnel(which, cases):
    with sealed_plant(LAYOUT, revoke_delay=DELAY) as plant:
        ends = Members(plant)
        ends.left.ping(ends.right, 4)
        stays, goes = (ends.right, ends.left) if which == "gwa" else (ends.left, ends.right)
        revoked = time.monotonic()
        plant.server.revoke(plant.boxes[which])
        wait_for("the tunnel is down", lambda: stays.status()["state"] == "down", DELAY + 2)
        assert time.monotonic() - revoked < DELAY + 2
        time.sleep(3)
        assert ends.left.ping(ends.right, 4, check=False).returncode
        assert stays.status()["state"] == goes.status()["state"] == "down"
        # The gateway that was thrown out has taken the keys away, too.
        assert not (goes.box.folders["run"] / "group-keys").exists()
        cases(2)


class Routed(Box):
    """A host that is a member of the group, and has no bridge."""

    def write_config(self):
        self.config["routed"] = 1
        super().write_config()
        file = self.folders["config"] / "tsg"
        file.write_text(file.read_text().partition("config bridge")[0])


def test_members_without_a_bridge(cases):
    with sealed_plant(LAYOUT, kind=Routed) as plant:
        ends = Members(plant)
        assert plant.boxes["gwa"].status()["bridges"] == []
        for version in (4, 6):
            ends.left.ping(ends.right, version)
        plant.server.revoke(plant.boxes["gwb"])
        wait_for("the tunnel is down", lambda: ends.left.status()["state"] == "down", 20)
        cases(2)


def test_a_tunnel_waits_for_its_gateway(cases):
    with sealed_plant(LAYOUT) as plant:
        box = plant.boxes["gwa"]
        box.process.stop()
        keys = box.folders["run"] / "group-keys"
        assert keys.stat().st_mode & 0o777 == 0o600
        # As after a boot: the folder is in RAM.
        for file in ("group-keys", "state"):
            (box.folders["run"] / file).unlink()
        one, other = Member(box, 1, plant.boxes["gwb"]), Member(plant.boxes["gwb"], 2, box)
        other.start()
        one.start()
        time.sleep(2)
        assert one.ping(other, 4, check=False).returncode
        box.start()
        wait_for("the tunnel is up", lambda: box.status() and one.status()["state"] == "up", 30)
        one.ping(other, 4)
        # Damaged, it is as good as none, and is told.
        keys.write_text("seal")
        one.process.wait_log("not what a gateway writes")
        cases(3)
