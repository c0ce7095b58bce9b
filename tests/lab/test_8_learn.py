"""What gateways of a group in `learn` see of real polls comes to the key server, becomes a rule, and is sealed from then on."""

from daemons import MODBUS_AND_UDP
from netns import wait_for
from plant import Poller, serve, settle
from sealed import sealed_plant

STANDALONE = True
GROUP = "plant"
# A gateway reports once a minute.
REPORTED = 150
SIDES = {"gwa": ["plc"], "gwb": ["hmi"]}


def test_what_is_learned_becomes_a_rule(attach, cases):
    with sealed_plant(SIDES, attach=attach, policy=None, mode="learn") as plant:
        plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
        for protocol in ("modbus", "udp"):
            serve(plc, protocol)
        pollers = [Poller(hmi, plc, protocol, version, rate=25, timeout_ms=4000)
                   for protocol in ("modbus", "udp") for version in (4, 6)]
        settle(pollers)
        assert crossed(plant, pollers, "learning") == (True, True, False), "nothing is sealed"

        # Both gateways see the polls of both IP versions, and no others of that service.
        flows, others = (wait_for(f"the key server knows the flows of {proto} {port}",
                                  lambda: learned(plant, proto, port, "bypass"), REPORTED)
                         for proto, port in (("tcp", 502), ("udp", 20000)))
        assert {(flow["client"], flow["server"]) for flow in flows} == {(hmi.ip4, plc.ip4), (hmi.ip6, plc.ip6)}
        assert all(flow.get("rule") is None for flow in flows + others), flows

        # A rule as the page makes it from one of them is not in force before it is given, and seals nothing in `learn`.
        servers = [flow["server"] for flow in flows]
        plant.server.policy({"rules": [{"name": "modbus", "action": "encrypt", "proto": "tcp", "dest_ip": servers,
                                        "dest_port": "502"}]})
        judged = learned(plant, "tcp", 502, "encrypt")
        assert [flow["rule"] for flow in judged] == [1, 1], judged
        in_step(plant, "learn")
        assert crossed(plant, pollers, "learned") == (True, True, False), "nothing is sealed"

        plant.server.set(mode="enforce")
        in_step(plant, "enforce")
        settle(pollers, seconds=30)
        assert crossed(plant, pollers, "enforced") == (False, True, True), "Modbus is sealed, the rest is not"

        # All the rest, too; and what was learned stays to be looked at.
        plant.server.policy(MODBUS_AND_UDP)
        in_step(plant, "enforce")
        settle(pollers, seconds=30)
        assert crossed(plant, pollers, "sealed") == (False, False, True), "all is sealed"
        assert len(learned(plant, "udp", 20000, "encrypt")) == 2
        cases(4)


def learned(plant, proto, port, action):
    """What the key server knows of a service, once both gateways have reported it."""
    flows = [flow for flow in plant.server.ask("group", "flows", GROUP)["flows"]
             if (flow.get("proto"), flow.get("port"), flow["action"]) == (proto, port, action) and flow["packets"] > 20
             and sorted(flow["gateways"]) == sorted(SIDES)]
    return flows if len(flows) == 2 else []


def in_step(plant, mode):
    """Everybody goes by the newest policy."""
    newest = plant.server.ask("policy", "show", GROUP)["version"]
    for box in plant.boxes.values():
        box.wait_status(f"goes by policy {newest}",
                        lambda status: (status["policy"], status["mode"]) == (newest, mode), 30)


def crossed(plant, pollers, name):
    """Does Modbus cross the switch in clear, does UDP, does anything sealed?"""
    capture = plant.capture(name)
    settle(pollers, answers=25)
    capture.stop()
    return tuple(number > 0 for number in capture.count("modbus", "udp", "sealed"))
