#!/usr/bin/env python3
"""Writes the first inputs of the control link's targets into corpus/, where they are committed."""

import base64
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"


def pack(value):
    """MessagePack of what messages are made of."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack("!Q", value)
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value.encode())]) + value.encode()
    if isinstance(value, (list, tuple)):
        return b"\xdc" + struct.pack("!H", len(value)) + b"".join(map(pack, value))
    return b"\xde" + struct.pack("!H", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


def frame(kind, /, **fields):
    return pack({"v": 1, "body": {kind: fields}})


HELD = [{"epoch": 1, "check": [0] * 8, "senders": 2}, {"epoch": 2**64 - 1, "check": [255] * 8, "senders": 0}]
KEYS = {
    "tek": bytes(32),
    "suite": "chacha20-poly1305",
    "carriage": {"protocol": 253},
    "clock": 5,
    "origin": 1_699_996_400_000,
    "ends": 1_700_086_400_000,
    "senders": [1, 2],
    "highest_sender": 256,
}
POLICY = {
    "version": 1,
    "stage": "active",
    "policy": {"rules": [{"action": "encrypt", "proto": ["tcp"], "dest_port": ["502"]}], "default_action": "bypass"},
    "mode": "enforce",
    "non_ip": "pass",
    "fail": "closed",
}
STATE = {
    "request": 2,
    "instance": 9,
    "revision": 3,
    "time": {"clock": 5, "now": 1_700_000_000_000},
    "group": "plant",
    "name": "press",
    "epochs": [
        {"id": 1, "stage": "active", "revokes": False, "keys": KEYS},
        {"id": 2, "stage": "prepared", "revokes": True, "keys": KEYS},
        {"id": 3, "stage": "retiring", "revokes": False, "keys": None},
    ],
    "policies": [POLICY],
    "settings": {"replay_window": 4, "island_time": 86_400, "local_bypass": False},
}
ADDRESSES = [{"V4": [192, 0, 2, 1]}, {"V6": [32, 1] + [0] * 14}]

TO_SERVER = {
    "register": frame("register", request=2, process=1, name="press", version="0.1.0", aes=True, senders=2, holds=HELD),
    "register_token": frame("register", request=2, process=1, token=[7] * 16),
    "heartbeat": frame("heartbeat", request=3, process=1, instance=9, revision=3, holds=HELD, ask=True, alarms=["no time"]),
    "report": frame("report", process=1, machines=ADDRESSES, counters={"sealed": 7}),
    "done": frame("done", command=1, ok=True, text="as told"),
    "nest": pack({"v": 1, "body": 0})[:-1] + b"\x91" * 2_000,
}
TO_GATEWAY = {
    "pending": frame("pending", request=2, retry=5),
    "refused": frame("refused", request=2, reason="lost", revoked=True, retry=60),
    "unknown": frame("unknown", request=2),
    "pulse": frame("pulse", request=2, time=STATE["time"]),
    "state": frame("state", **STATE),
    "map": frame("map", instance=9, revision=1, mine=ADDRESSES, others=ADDRESSES),
    "command": frame("command", command=1, kind={"log_level": "debug"}),
    "rekey": frame("command", command=1, kind="rekey"),
}
TOKEN = {
    "servers": ["tcp://192.0.2.10:5555"],
    "server_key": base64.b64encode(bytes(32)).decode(),
    "secret": [7] * 16,
    "expires": 1_800_000_000,
    "group": "plant",
}
SAVED = {
    "group": "plant",
    "name": "press",
    "policies": [POLICY],
    "settings": STATE["settings"],
    "clocks": [[5, 1_700_000_000_000, 1_700_000_000_020, 900]],
    "epochs": [
        {"id": 1, "stage": "active", "revokes": False, "keys": KEYS, "spent": [1], "closes": None},
        {"id": 2, "stage": "prepared", "revokes": True, "keys": KEYS, "spent": [], "closes": 9_000},
    ],
}


def write(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


for name, data in TO_SERVER.items():
    write("to_server", name, data)
for name, data in TO_GATEWAY.items():
    write("to_gateway", name, data)
write("token", "token", b"tsg1-" + base64.urlsafe_b64encode(pack(TOKEN)).rstrip(b"="))
write("saved", "state", pack({"v": 1, "body": SAVED}))
write("policy", "kept", json.dumps(POLICY).encode())
write("policy", "rule", b"encrypt name=modbus proto=tcp src_ip=192.0.2.0/24,2001:db8::/32 dest_port=502,44818-44820")
