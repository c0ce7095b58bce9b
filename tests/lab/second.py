"""The second implementation, tests/opener/tunnel_end.py, as the right end of a tunnel: it reveals what it agrees on."""

import json
import sys
from pathlib import Path

from capture import Capture
from netns import wait_for
from plant import REPOSITORY
from tunnels import esp_of

sys.path.insert(0, str(REPOSITORY / "tests" / "opener"))

import tunnel_end  # noqa: E402

ETHERNET_AND_IPV4 = 34


class Second:
    """Takes the place of `tunnel.right`, which has been stopped, over IP protocol 50 and IPv4."""

    def __init__(self, tunnel, cipher):
        right = tunnel.right
        self._process = right.host.start("/usr/bin/python3", tunnel_end.__file__, right.key, tunnel.left.host.ip4,
                                         cipher, log="second")
        line = self._process.wait_line(lambda line: line.startswith("revealed "))
        revealed = json.loads(line.removeprefix("revealed "))
        self.cipher = revealed.pop("cipher")
        assert self.cipher == cipher, f"{self.cipher}: has this machine no AES in hardware?"
        self.revealed = {name: bytes.fromhex(value) for name, value in revealed.items()}

    def stop(self):
        self._process.stop()


def key_of(end):
    """What its key file holds."""
    return tunnel_end.read_key(end.key)


def offered(tunnel):
    """The half that the left end offers while it is alone."""
    capture = Capture(tunnel.switch, "offers")
    wait_for("an offer", lambda: capture.path.stat().st_size > 100 + ETHERNET_AND_IPV4)
    end = tunnel_end.End(key_of(tunnel.left))
    offers = [frame[ETHERNET_AND_IPV4:] for frame in esp_of(capture.stop().path)]
    return tunnel_end.unseal(end.hello_cipher, offers[0][4:8], offers[0])[1][8:40]
