"""Static keys: what others make of a capture who have the key file."""

import json
import sys

from netns import command
from plant import REPOSITORY

CIPHERS = ("chacha20-poly1305", "aes-256-gcm")
OPENER = REPOSITORY / "tests" / "opener" / "static_keys.py"


def opened(tunnel, capture, cipher, *mode):
    """What the second implementation makes of a capture: nothing may be wrong."""
    ends = [end.host.address(tunnel.version) for end in (tunnel.left, tunnel.right)]
    report = json.loads(command(sys.executable, OPENER, *mode, tunnel.left.key, cipher, *ends, capture.path,
                                timeout=300).stdout)
    assert report["strangers"] == 0, report
    for direction in report["directions"]:
        assert direction["opened"] and (direction["refused"], direction["nonces_twice"]) == ([], 0), report
    return report["directions"]


def tshark_agrees(tunnel, capture, directions):
    """Debian 12's opens AES-GCM, and knows no ChaCha20 in ESP."""
    kind = "IPv4" if tunnel.version == 4 else "IPv6"
    states = [option for direction in directions for option in (
        "-o", f'uat:esp_sa:"{kind}","*","*","{direction["spi"]}","AES-GCM with 16 octet ICV [RFC4106]",'
              f'"{direction["key"]}","NULL",""')]
    shown = command("tshark", "-n", "-r", capture.path, "-o", "esp.enable_encryption_decode:TRUE", *states,
                    "-Y", "esp && (mbtcp || udp.port == 20000)", "-T", "fields", "-e", "frame.number", timeout=300)
    assert len(shown.stdout.splitlines()) > 100
