#!/usr/bin/python3
"""The demonstration behind `make demo`: a plant in network namespaces, sealed in front of your eyes.

Exits with 0 only if every line of the final table is as promised.
"""

from daemons import MODBUS_ONLY, unix_time
from netns import wait_for
from opening import open_capture
from plant import Poller, serve
from sealed import sealed_plant
from stage import perform, show, stay, tell

LAYOUT = {"gwa": ["plc"], "gwb": ["hmi"], "gwc": ["spare"]}
SECONDS, REKEYS, REVOKE_DELAY = 8, 3, 3
PICTURE = """
      plc ── gwa ──┐                 ┌── gwb ── hmi
                   ├── the switch ───┤
      key server ──┘    (capture)    └── gwc ── spare
"""


def main():
    tell("This is a plant in network namespaces of this machine; nothing outside of it is touched.")
    tell(PICTURE)
    tell("Key server and gateways start from their files; each gateway's fingerprint is compared and approved.")
    with sealed_plant(LAYOUT, "demo", policy=MODBUS_ONLY, revoke_delay=REVOKE_DELAY) as plant:
        for name, box in plant.boxes.items():
            tell(f"  {name}: {box.fingerprint()}, packets by {box.status()['bridges'][0]['attach']}")
        tell("The policy: Modbus/TCP is encrypted, all the rest passes as it is (bypass).")
        table = [*polls(plant), *rekeys(plant), *revocation(plant)]
        kept = show(table)
        stay(lambda: look_around(plant))
    return 0 if kept else 1


def polls(plant):
    """An HMI polls a PLC; who listens on the switch sees nothing of it."""
    plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
    capture = plant.capture("polls")
    serve(plc, "modbus")
    tell(f"The HMI (a real Modbus client, the Rust crate tokio-modbus) polls the PLC for {SECONDS} s, "
         "100 times a second over IPv4 and IPv6 each.")
    pollers = [Poller(hmi, plc, "modbus", version, seconds=SECONDS) for version in (4, 6)]
    hmi.run("ping", "-c", "10", "-i", "0.2", "-W", "2", plc.ip4)
    reports = [poller.finish() for poller in pollers]
    capture.stop()
    sealed, modbus, ping = capture.count("sealed", "modbus", "ping")
    opened = open_capture(capture, plant.server.keys())["opened"]
    sent, answered = (sum(report[key] for report in reports) for key in ("sent", "answered"))
    return [
        ("polls answered", f"{answered} of {sent}", answered == sent >= 100),
        ("frames on the switch: sealed, protocol 253", sealed, sealed >= 2 * sent),
        ("frames on the switch: Modbus in clear", modbus, modbus == 0),
        ("frames on the switch: bypassed ping", ping, ping == 20),
        ("sealed frames that an independent opener opens with the key",
         f"{opened} of {sealed}", opened == sealed),
    ]


def rekeys(plant):
    """The group gets new keys while it works."""
    tell(f"The key server changes the group's key {REKEYS} times while the HMI polls on.")
    poller = Poller(plant.hosts["hmi"], plant.hosts["plc"], "modbus", 4)
    poller.wait_answers()
    for _ in range(REKEYS):
        before = epochs(plant)
        plant.server.rekey()
        wait_for("all gateways use the new key",
                 lambda: min(epochs(plant).values()) > max(before.values()), 30)
        poller.wait_answers()
    report = poller.finish()
    lost = report["sent"] - report["answered"] + report["reconnects"]
    return [("polls lost across three rekeys", f"{lost} of {report['sent']}", lost == 0)]


def revocation(plant):
    """One gateway is thrown out; what it holds opens nothing any more."""
    plc, hmi, spare = (plant.hosts[name] for name in ("plc", "hmi", "spare"))
    tell("Gateway gwc is reported lost and revoked, while all poll on.")
    capture = plant.capture("revoke")
    honest, lost = (Poller(host, plc, "modbus", 4) for host in (hmi, spare))
    for poller in (honest, lost):
        poller.wait_answers()
    before, revoked = plant.server.keys(), unix_time()
    plant.server.revoke(plant.boxes["gwc"])
    over = revoked + REVOKE_DELAY + 1
    honest.wait(lambda report: report["now_ms"] / 1000 > over + 2, REVOKE_DELAY + 10)
    reports = honest.finish(), lost.finish()
    capture.stop()
    late = open_capture(capture, before, after=over, not_from=(spare.ip4, spare.ip6))
    answered = reports[1]["last_answer_ms"] / 1000 > over
    return [
        ("polls that the others lost meanwhile", reports[0]["lost"], reports[0]["lost"] == 0),
        ("what a revoked gateway can still read",
         "nothing" if late["opened"] == 0 else f"{late['opened']} frames",
         late["sealed"] > 100 and late["opened"] == 0),
        ("polls answered behind the revoked gateway", "none" if not answered else "some", not answered),
    ]


def epochs(plant):
    return {name: box.status()["epoch"] for name, box in plant.boxes.items()}


def look_around(plant):
    """With something to see on the switch."""
    plc, hmi = plant.hosts["plc"], plant.hosts["hmi"]
    Poller(hmi, plc, "modbus", 4, rate=5)
    prefix = plant.lab.run.prefix
    status = " ".join(map(str, plant.boxes["gwa"].argv("status")))
    tell("The plant runs on, the HMI polls. To look around, in another terminal:")
    tell(f"  ip netns exec {prefix}-plant tcpdump -ni br0               what a listener on the switch sees")
    tell(f"  ip netns exec {prefix}-gwa tcpdump -ni lan0                the same, before the gateway")
    tell(f"  ip netns exec {prefix}-hmi ping {plc.ip4}                what the policy lets pass")
    tell(f"  ip netns exec {prefix}-gwa {status}")
    tell(f"  {plant.server.command_line('status')}")
    tell(f"  {plant.server.command_line('rekey', 'plant')}")
    tell(f"Logs: {plant.lab.run.folder}. Ctrl-C ends it and takes everything away.")


if __name__ == "__main__":
    perform(main)
