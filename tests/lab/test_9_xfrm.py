"""The kernel's XFRM as the other end of a tunnel, by the script that `tsg tunnel --static --xfrm` prints.

For kernels that have it: tests/vm/xfrm."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from capture import Capture
from plant import REPOSITORY
from transports import TABLE, Transport, sealed_and_clear
from tunnels import DEVICE, Tunnel

CIPHERS = ("chacha20-poly1305", "aes-256-gcm")
CARRIERS = [(4, False), (4, True), (6, False), (6, True)]
STREAM, PORT, BULK = REPOSITORY / "tests" / "lab" / "bulk.py", 7000, 2_000_000
ESP, HEADER = 50, {4: 20, 6: 40}


@pytest.fixture(scope="module", autouse=True)
def xfrm():
    probe = subprocess.run(["unshare", "-n", "ip", "link", "add", "probe", "type", "xfrm", "if_id", "1"],
                           capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"this kernel has no devices for XFRM ({probe.stderr.strip()}); tests/vm/xfrm has one that does")


class Kernel:
    """`tsg` on the left, the kernel alone on the right."""

    def start_right(self):
        self.script = self.lab.run.folder / "other-end"
        self.script.touch(mode=0o600)
        self.script.write_text(self.left.host.run(*self.left.argv("--xfrm")).stdout)
        self.run_script()

    def run_script(self):
        self.right.host.run("sh", self.script)
        self.right.give_addresses()


class Against(Kernel, Tunnel):
    """In tunnel mode."""


class AgainstInTransportMode(Kernel, Transport):
    """In transport mode."""


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_the_kernel_is_the_other_end(version, udp, cipher, cases):
    with Against(version, udp, cipher) as tunnel:
        left, right = tunnel.left, tunnel.right
        capture = Capture(tunnel.switch, snap=200)
        sizes = (0, 1300, 5000)
        for end, other in ((left, right), (right, left)):
            for inner in (4, 6):
                for size in sizes:
                    end.ping(other, inner, "-W", 5, "-s", size)
        # Both ends take the same to be the longest.
        mtus = [int(end.host.run("cat", f"/sys/class/net/{DEVICE}/mtu").stdout) for end in (left, right)]
        assert mtus[0] == mtus[1]
        for end, other in ((left, right), (right, left)):
            end.ping(other, 4, "-M", "do", "-s", mtus[0] - 28)
            assert end.ping(other, 4, "-M", "do", "-s", mtus[0] - 27, check=False).returncode
        reports = [report for inner in (4, 6) for report in bulk(tunnel, inner)]
        assert all(report["same"] for report in reports), reports
        capture.stop()
        esp = "udp.port == 4500" if udp else f"ip.proto == {ESP} || ipv6.nxt == {ESP}"
        longest = 14 + HEADER[version] + (8 if udp else 0) + 32 + 2 + mtus[0]
        clear, sealed, cut, too_long = capture.count(
            f"tcp.port == {PORT} || icmp.type == 8", esp, "ip.flags.mf == 1 || ip.frag_offset > 0 || ipv6.fraghdr",
            f"({esp}) && frame.len > {longest}")
        assert (clear, cut, too_long) == (0, 0, 0)
        assert sealed > 4 * BULK / 1500
        assert_nothing_wrong(right)
        cases(4 * len(sizes) + 4 + len(reports))


def bulk(tunnel, inner):
    """TCP in both directions."""
    server = tunnel.right.host.start(sys.executable, STREAM, "serve", PORT, log=f"bulk-{inner}")
    server.wait_line(lambda line: "listening" in line, 30)
    for direction in ("send", "fetch"):
        done = tunnel.left.host.run(sys.executable, STREAM, direction, tunnel.right.address(inner), PORT, BULK,
                                    timeout=120)
        yield json.loads(done.stdout)
    server.stop()


def assert_nothing_wrong(end):
    """The kernel counts what it drops."""
    counts = dict(line.split() for line in end.host.run("cat", "/proc/net/xfrm_stat").stdout.splitlines())
    # Nobody had the states yet when the first came.
    wrong = {name: count for name, count in counts.items() if count != "0" and name != "XfrmInNoStates"}
    assert not wrong, wrong


def test_each_end_may_start_again(cases):
    """The kernel begins with number 1 each time, and this program above what it has used."""
    with Against(cipher=CIPHERS[0]) as tunnel:
        left, right = tunnel.left, tunnel.right
        heard(left, right)
        for _ in range(2):
            tunnel.run_script()
            heard(right, left)
        for _ in range(2):
            left.process.stop(signal.SIGKILL)
            left.start()
            heard(left, right)
        # Without the record of numbers, the kernel's window is ahead: it hears again once its script has run.
        left.process.stop()
        shutil.rmtree(left.folder / "tsg.cache")
        left.start()
        assert left.ping(right, 4, check=False).returncode
        tunnel.run_script()
        heard(left, right)
        right.host.run("sh", tunnel.script, "down")
        assert DEVICE not in right.host.run("ip", "link").stdout + right.host.run("ip", "xfrm", "policy").stdout
        assert right.host.run("ip", "xfrm", "state").stdout == ""
        cases(7)


def heard(end, other):
    """Both, at the latest some time after the silence that a run never heard has to wait for."""
    end.ping(other, 4, "-c", 1, "-i", 1, "-w", 40)
    end.ping(other, 6, "-W", 5)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(("version", "udp"), CARRIERS)
def test_the_kernel_is_the_other_end_in_transport_mode(version, udp, cipher, cases):
    with AgainstInTransportMode(version, udp, cipher) as both:
        left, right = both.left, both.right
        capture = Capture(both.switch, snap=200)
        sizes = (0, 1300, 5000, 60000)
        for end, other in ((left, right), (right, left)):
            for size in sizes:
                end.ping(other, version, "-W", 5, "-s", size)
        left.ping(right, version, "-M", "do", "-W", 5, "-s", left.mtu - HEADER[version] - 8)
        reports = list(bulk(both, version))
        assert all(report["same"] for report in reports), reports
        capture.stop()
        sealed, clear = sealed_and_clear(version, udp)
        seen, in_clear = capture.count(sealed, clear)
        assert in_clear == 0, capture.lines(clear)
        assert seen > 2 * BULK / 1500
        assert_nothing_wrong(right)
        # The kernel does not hear what is in clear either.
        left.process.stop()
        left.host.run("nft", "delete", "table", "inet", TABLE)
        assert left.ping(right, version, check=False).returncode
        right.host.run("sh", both.script, "down")
        left.ping(right, version)
        cases(2 * len(sizes) + len(reports) + 3)
