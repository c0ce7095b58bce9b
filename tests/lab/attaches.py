"""Which attaches the kernel offers, found out by loading such rules in a namespace of its own."""

import functools
import subprocess

NAMES = ("nfqueue", "ingress")

BRIDGE_QUEUE = "table bridge t { chain c { type filter hook forward priority 0; queue num 0-1; }; }"
NETDEV_FORWARD = ("table netdev t { chain c { type filter hook ingress device lo priority 0; "
                  "fwd to lo; }; }")


@functools.cache
def offered():
    """Every attach, with None or with the reason why this kernel has it not."""
    netdev = _none(_complaint("nft", "-f", "-", stdin=NETDEV_FORWARD))
    return {
        "nfqueue": _none(
            without_bridge_queue(),
            _complaint("iptables", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-balance", "0:1")),
        "ingress": netdev,
        "standalone": netdev,
    }


@functools.cache
def without_bridge_queue():
    """None, or the reason why this kernel's queue is one of iptables, which sees what br_netfilter makes of packets."""
    return _complaint("nft", "-f", "-", stdin=BRIDGE_QUEUE)


def _none(*complaints):
    """None if one of the ways works, else what is in the way of each."""
    return None if None in complaints else "; ".join(complaints)


def _complaint(*argv, stdin=""):
    done = subprocess.run(["unshare", "--net", *argv], input=stdin, capture_output=True, text=True,
                          check=False)
    return None if done.returncode == 0 else f"{argv[0]}: {done.stderr.strip().splitlines()[0]}"
