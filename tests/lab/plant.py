"""The machines' programs: Modbus/TCP and a UDP protocol, from the Rust tool `plant`."""

import json
import os
from pathlib import Path

PORTS = {"modbus": 502, "udp": 20000}
REPOSITORY = Path(__file__).resolve().parents[2]


def scale():
    """Below 1 on a machine that is slow, as an emulated one."""
    return float(os.environ.get("TSG_LAB_SCALE", "1"))


def binary(name):
    """A program of this repository, built for release."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    path = REPOSITORY / target / "release" / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: build it with `cargo build --release -p tsg-bridge -p tsg-server -p plant`")
    return path


def serve(host, protocol, *options):
    """Starts a server for both IP versions and waits until it listens."""
    server = host.start(binary("plant"), f"{protocol}-server", "--bind", f"[::]:{PORTS[protocol]}",
                        *options, log=f"{protocol}-server")
    server.wait_line(lambda line: "listening" in line)
    return server


class Poller:
    """One client that polls one server."""

    def __init__(self, source, target, protocol, version, *options, rate=100, seconds=None,
                 timeout_ms=1000):
        self.rate, self.seconds = rate * scale(), seconds
        self.name = f"{source.name} polls {getattr(target, 'name', target)}: {protocol}, IPv{version}"
        endpoint = (target if isinstance(target, str)
                    else target.endpoint(version, PORTS[protocol]))
        length = ["--seconds", seconds] if seconds else []
        self.process = source.start(
            binary("plant"), f"{protocol}-poll", "--connect", endpoint, "--rate", self.rate,
            "--timeout", timeout_ms, "--progress", 100, *length, *options,
            log=f"{protocol}-poll-{endpoint}")

    def now(self):
        """The newest numbers."""
        return json.loads(self.process.lines[-1]) if self.process.lines else None

    def wait(self, wanted, seconds=10.0):
        """Waits until the numbers (of now on) are as wanted."""
        skip = len(self.process.lines)
        lines = self.process.lines
        self.process.wait_line(lambda line: len(lines) > skip and wanted(json.loads(line)), seconds)
        return self.now()

    def wait_answers(self, more=10, seconds=10.0):
        """Waits for so many good answers from now on."""
        self.wait(self.has_answers(more), seconds)

    def has_answers(self, more):
        """What is true of numbers with so many more good answers than now."""
        before = (self.now() or {"answered": 0})["answered"]
        return lambda report: report["answered"] >= before + more

    def finish(self, seconds=15.0):
        """The final numbers, at the end of the run or now if it has none."""
        if self.seconds:
            self.process.wait(self.seconds + seconds)
        else:
            self.process.stop(seconds=seconds)
        report = self.process.last_json()
        assert report["done"], f"{self.name}: {self.process.complaint()}"
        return report


def start_all_ways(left, right, protocols=("modbus", "udp"), versions=(4, 6), servers=True,
                   **options):
    """Pollers in both directions for each protocol and IP version, all at once."""
    if servers:
        for host in (left, right):
            for protocol in protocols:
                serve(host, protocol)
    return [Poller(source, target, protocol, version, **options)
            for source, target in ((left, right), (right, left))
            for protocol in protocols
            for version in versions]


def settle(pollers, answers=10, seconds=15.0):
    """Waits until every poller gets answers."""
    for poller in pollers:
        poller.wait_answers(answers, seconds)


def assert_none_lost(reports, least=1):
    """`reports` by poller: everything asked was answered, and enough was asked."""
    for poller, report in reports.items():
        assert report["sent"] >= least, f"{poller.name}: only {report['sent']} polls"
        assert (report["lost"], report["wrong"], report["duplicates"], report["reconnects"]) == \
            (0, 0, 0, 0) and report["answered"] == report["sent"], f"{poller.name}: {report}"
