"""Plants as the tests want them: laid out, keyed, with a policy, and everybody ready."""

from contextlib import contextmanager
from dataclasses import dataclass, field

from capture import Capture
from daemons import GROUP, MODBUS_AND_UDP, Box, KeyServer, bring_up
from topology import Lab


@dataclass
class SealedPlant:
    """The parts of a running plant, by name."""

    lab: Lab
    switch: object
    server: KeyServer
    boxes: dict = field(default_factory=dict)
    hosts: dict = field(default_factory=dict)

    def capture(self, name="plant", **options):
        return Capture(self.switch, name, **options)

    def logs(self):
        """The end of every daemon's log, for a failed test."""
        processes = [self.server.process, *(box.process for box in self.boxes.values())]
        return "\n".join(f"--- {process.log.name}\n{process.complaint()}"
                         for process in processes if process)


@contextmanager
def sealed_plant(layout, name="", attach="auto", policy=MODBUS_AND_UDP, options=None, kind=Box,
                 **settings):
    """`layout` says which hosts are behind which gateway: {"gwa": ["plc"], "gwb": ["hmi"]}.

    A gateway named "gwb/gwc" is behind gwb, in series. Hosts under "" are on the switch. `options`
    are for /etc/config/tsg, `settings` for the group; `kind` says how a gateway is installed.
    """
    with Lab(name) as lab:
        switch = lab.switch()
        server = KeyServer(lab.server(switch))
        plant = SealedPlant(lab, switch, server)
        gateways = {}
        for path, hosts in layout.items():
            *above, gateway = path.split("/")
            uplink = gateways[above[-1]] if above else switch
            if gateway:
                uplink = gateways[gateway] = lab.gateway(gateway, uplink)
            plant.hosts.update({host: lab.host(host, uplink) for host in hosts})
        lab.ready()
        try:
            server.start()
            server.group(GROUP, policy, **settings)
            plant.boxes = {name: kind(gateway, server, attach, **(options or {}))
                           for name, gateway in gateways.items()}
            bring_up(server, plant.boxes.values())
            yield plant
        except BaseException:
            print(plant.logs())
            raise


def two_gateways(attach="auto", **options):
    """The plant of the README: plc – gwa – switch – gwb – hmi."""
    return sealed_plant({"gwa": ["plc"], "gwb": ["hmi"]}, attach=attach, **options)
