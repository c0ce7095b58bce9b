"""The columns of the table, each measured on a layout that is ready."""

import json
import os
from pathlib import Path

from netns import command
from plant import binary

PORT = 7000
TICKS = os.sysconf("SC_CLK_TCK")


def measure(layout, seconds):
    """All columns by their names in bench.json."""
    before = cpu(layout)
    one, carried = tcp(layout, seconds, 1)
    spent = cpu(layout) - before
    idle = ping(layout, seconds)
    return {
        "tcp1_mbit": one,
        "tcp4_mbit": tcp(layout, seconds, 4)[0],
        "udp64_pps": udp(layout, seconds, 64),
        "udp512_pps": udp(layout, seconds, 512),
        "rtt_p50_us": idle["p50_us"],
        "rtt_p99_us": idle["p99_us"],
        "rtt_p999_us": idle["p999_us"],
        **loaded_ping(layout, seconds),
        "cpu_s_per_gb": spent / (carried / 1e9) if daemons(layout) and carried else None,
        "rss_mb": rss(layout),
    }


def tcp(layout, seconds, streams):
    """What arrives, in Mbit/s and in bytes; None and 0 if the connections broke."""
    server = layout.hosts[1].start("iperf3", "-s", "-1", "--forceflush", log="iperf3")
    server.wait_line(lambda line: "listening" in line)
    shown = layout.hosts[0].run("iperf3", "-c", layout.target, "-t", seconds, "-P", streams, "-J",
                                timeout=seconds + 30, check=False).stdout
    server.stop()
    report = json.loads(shown)
    if "error" in report:
        return None, 0
    received = report["end"]["sum_received"]
    return received["bits_per_second"] / 1e6, received["bytes"]


def udp(layout, seconds, size):
    """Datagrams of a flood that arrive, per second."""
    sink = layout.hosts[1].start(binary("load"), "sink", "--bind", f"0.0.0.0:{PORT}", log="sink")
    sink.wait_line(lambda line: "listening" in line)
    layout.hosts[0].run(binary("load"), "flood", "--connect", f"{layout.target}:{PORT}",
                        "--size", size, "--seconds", seconds, timeout=seconds + 30)
    if sink.running and len(sink.lines) < 2:
        try:
            sink.wait_line(lambda line: "received" in line, 10)
        except TimeoutError:
            # Nothing at all has arrived.
            sink.stop()
            return 0
    report = sink.last_json()
    return report["received"] / max(report["seconds"], seconds / 2)


def ping(layout, seconds):
    echo = layout.hosts[1].start(binary("load"), "echo", "--bind", f"0.0.0.0:{PORT}", log="echo")
    echo.wait_line(lambda line: "listening" in line)
    shown = layout.hosts[0].run(binary("load"), "ping", "--connect", f"{layout.target}:{PORT}",
                                "--seconds", seconds, timeout=seconds + 30).stdout
    echo.stop()
    return json.loads(shown)


def loaded_ping(layout, seconds):
    """Round trips beside one TCP connection."""
    server = layout.hosts[1].start("iperf3", "-s", "-1", "--forceflush", log="iperf3-load")
    server.wait_line(lambda line: "listening" in line)
    client = layout.hosts[0].start("iperf3", "-c", layout.target, "-t", seconds + 2, "--forceflush",
                                   log="iperf3-load")
    client.wait_line(lambda line: "bits/sec" in line)
    report = ping(layout, seconds)
    client.stop()
    server.stop()
    return {f"loaded_rtt_{name}_us": report[f"{name}_us"] for name in ("p50", "p99", "p999")}


def daemons(layout):
    """The processes in the gateways."""
    pids = []
    for gateway in layout.gateways:
        pids += command("ip", "netns", "pids", gateway.ns.name).stdout.split()
    return pids


def cpu(layout):
    """Their processor time so far, in seconds."""
    ticks = 0
    for pid in daemons(layout):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def rss(layout):
    """The larger one's resident memory at its peak, in MB."""
    peaks = [int(line.split()[1]) for pid in daemons(layout)
             for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
             if line.startswith("VmHWM:")]
    return max(peaks) / 1024 if peaks else None
