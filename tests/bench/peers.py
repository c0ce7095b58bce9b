"""The peers: tunnels over UDP, set up as their manuals say."""

import os
import shutil
from contextlib import contextmanager

from layout import OUTSIDE, SITES, Layout
from netns import command, wait_for
from topology import Lab

# What is left of 1,500 bytes inside of a tunnel that carries Ethernet, for all of them alike; in OpenVPN's that
# carries IP, too, which has nothing to say of it.
INNER_MTU = 1400
WIREGUARD_MTU = 1420
VXLAN_MTU = WIREGUARD_MTU - 50
OPENVPN_DEVICE = "tun0"


class Unavailable(Exception):
    """This machine cannot have the contestant; the text says why."""


@contextmanager
def outside():
    """Gateways that have addresses on the wire between them."""
    with Lab("tunnel") as lab:
        layout = Layout(lab, bridged=False)
        lab.ready()
        yield layout


def appears(gateway, device):
    wait_for(f"{device} is there", lambda: not gateway.run(
        "ip", "link", "show", device, check=False).returncode)


def join(gateway, device):
    """Plugs the tunnel's end into the bridge."""
    appears(gateway, device)
    gateway.ns.ip("link", "set", device, "master", "br0", "up")


def connected(layout):
    """Waits until a packet gets through."""
    wait_for("the tunnel carries", lambda: not layout.hosts[0].run(
        "ping", "-c", "1", "-W", "1", layout.target, check=False).returncode, 30)


def route(layout, devices, mtu):
    """The hosts reach each other's network through the gateways' devices."""
    layout.route()
    layout.set_mtu(mtu)
    for gateway, device, site in zip(layout.gateways, devices, reversed(SITES)):
        gateway.ns.ip("route", "add", f"{site}.0/24", "dev", device)
    connected(layout)


@contextmanager
def fastd(method):
    with outside() as layout:
        layout.set_mtu(INNER_MTU)
        folder = layout.lab.run.folder
        keys = [_fastd_keys() for _ in layout.gateways]
        for at, gateway in enumerate(layout.gateways):
            peer = 1 - at
            config = folder / f"fastd-{at}.conf"
            config.write_text(
                f'mode tap; interface "tun0"; method "{method}"; mtu {INNER_MTU};\n'
                f'bind {OUTSIDE[at]}:10000; secret "{keys[at][0]}"; log level warn;\n'
                f'peer "other" {{ key "{keys[peer][1]}"; remote {OUTSIDE[peer]}:10000; }}\n')
            config.chmod(0o600)
            gateway.start("fastd", "--config", config, log="fastd")
            join(gateway, "tun0")
        connected(layout)
        yield layout


def _fastd_keys():
    lines = command("fastd", "--generate-key").stdout.splitlines()
    return [line.split()[-1] for line in lines if line.startswith(("Secret", "Public"))]


@contextmanager
def openvpn_tap():
    with _openvpn("tap") as layout:
        layout.set_mtu(INNER_MTU)
        for gateway in layout.gateways:
            join(gateway, OPENVPN_DEVICE)
        connected(layout)
        yield layout


@contextmanager
def openvpn_tun():
    with _openvpn("tun") as layout:
        for at, gateway in enumerate(layout.gateways):
            appears(gateway, OPENVPN_DEVICE)
            gateway.ns.ip("addr", "add", f"10.80.0.{at + 1}/24", "dev", OPENVPN_DEVICE)
            gateway.ns.ip("link", "set", OPENVPN_DEVICE, "up")
        route(layout, [OPENVPN_DEVICE, OPENVPN_DEVICE], INNER_MTU)
        yield layout


@contextmanager
def _openvpn(kind):
    with outside() as layout:
        folder = layout.lab.run.folder
        prints = [_certificate(folder, at) for at in (0, 1)]
        for at, gateway in enumerate(layout.gateways):
            peer = 1 - at
            gateway.start(
                "openvpn", "--dev", OPENVPN_DEVICE, "--dev-type", kind, "--proto", "udp4",
                "--local", OUTSIDE[at], "--remote", OUTSIDE[peer], "--port", "10001",
                "--tls-server" if at else "--tls-client", "--dh", "none",
                "--cert", folder / f"{at}.crt", "--key", folder / f"{at}.key",
                "--peer-fingerprint", prints[peer], "--data-ciphers", "AES-256-GCM",
                "--cipher", "AES-256-GCM", "--tun-mtu", "1500", log="openvpn")
        yield layout


def _certificate(folder, number):
    """Makes a key and a certificate, and gives its fingerprint."""
    paths = folder / f"{number}.crt", folder / f"{number}.key"
    command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={number}", "-days", "30", "-out", paths[0], "-keyout", paths[1])
    shown = command("openssl", "x509", "-in", paths[0], "-noout", "-fingerprint", "-sha256").stdout
    return shown.strip().split("=")[1]


def wireguard_program():
    return os.environ.get("WIREGUARD_GO") or shutil.which("wireguard-go") or "wireguard-go"


def wireguard_version():
    done = command(wireguard_program(), "--version", check=False)
    return (done.stdout or done.stderr).split("\n")[0].strip()


@contextmanager
def _wireguard():
    with outside() as layout:
        secrets = [command("wg", "genkey").stdout.strip() for _ in (0, 1)]
        public = [command("wg", "pubkey", input=secret).stdout.strip() for secret in secrets]
        for at, gateway in enumerate(layout.gateways):
            peer, device = 1 - at, f"tsgwg{at}"
            gateway.start(wireguard_program(), "-f", device, log="wireguard",
                          env={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"})
            config = layout.lab.run.folder / f"wg-{at}.conf"
            config.write_text(
                f"[Interface]\nPrivateKey = {secrets[at]}\nListenPort = 51820\n"
                f"[Peer]\nPublicKey = {public[peer]}\nAllowedIPs = 0.0.0.0/0\n"
                f"Endpoint = {OUTSIDE[peer]}:51820\n")
            wait_for("wireguard-go listens", lambda: not gateway.run(
                "wg", "setconf", device, config, check=False).returncode)
            gateway.ns.ip("addr", "add", f"10.80.0.{at + 1}/24", "dev", device)
            gateway.ns.ip("link", "set", device, "mtu", WIREGUARD_MTU, "up")
        yield layout


@contextmanager
def wireguard_routed():
    with _wireguard() as layout:
        route(layout, ["tsgwg0", "tsgwg1"], WIREGUARD_MTU)
        yield layout


@contextmanager
def wireguard_vxlan():
    with _wireguard() as layout:
        layout.set_mtu(VXLAN_MTU)
        for at, gateway in enumerate(layout.gateways):
            gateway.ns.ip("link", "add", "vx0", "type", "vxlan", "id", "1", "dstport", "4789",
                          "local", f"10.80.0.{at + 1}", "remote", f"10.80.0.{2 - at}")
            join(gateway, "vx0")
        connected(layout)
        yield layout


PEERS = {
    "fastd aes128-gcm": lambda: fastd("aes128-gcm"),
    "fastd salsa2012+umac": lambda: fastd("salsa2012+umac"),
    "openvpn tap aes-256-gcm": openvpn_tap,
    "openvpn tun aes-256-gcm": openvpn_tun,
    "wireguard-go vxlan": wireguard_vxlan,
    "wireguard-go routed": wireguard_routed,
}
