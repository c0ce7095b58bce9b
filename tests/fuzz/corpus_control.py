#!/usr/bin/env python3
"""Writes the first inputs of the control link's targets into corpus/, where they are committed."""

import base64
import io
import json
import pathlib
import struct
import tarfile

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
write("gate", "kept", b"\0" + json.dumps(POLICY).encode() + b"\0\0" + bytes(60))
write("rules", "kept", b"\0" + json.dumps(POLICY).encode() + b"\0")

# The example pair of zmq_curve(7), in both forms.
Z85 = b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", b"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
PAIR = b"u4hHHWXiZZswxVpTIc67WqsrcKOYZFwm3KKy/LQ/xRg=", b"e7hktImvo2cfvmkQH5SziXLySBbfsBtRZWs/7I39CIg="
write("keys", "pair", b"# The identity of this gateway.\npublic " + PAIR[0] + b"\nsecret " + PAIR[1] + b"\n")
write("keys", "z85", b"public " + Z85[0] + b"\nsecret " + Z85[1] + b"\n")

CEILINGS = [{"epoch": {"id": 1, "check": [1] * 8}, "sender": 4, "ceiling": 1 << 20}, {"epoch": {"id": 2, "check": [2] * 8}, "sender": 5, "ceiling": 2**64 - 1}]
write("sequences", "record", json.dumps({"boot": "BOOT", "ceilings": CEILINGS}).encode())
write("sequences", "earlier", json.dumps({"boot": "another", "ceilings": []}).encode())

PRINT = "0123-4567-89ab-cdef-0123-4567-89ab-cdef"
WORDS = {
    "gateway": "-c /etc/config --state /etc/tsg --run /run/tsg --log syslog status --json",
    "enrol": "enrol --file /tmp/token",
    "approve": f"gateway approve press --group plant --fingerprint {PRINT}",
    "pin": "gateway pin press 192.0.2.1 2001:db8::1",
    "command": "gateway command press log-level=debug --wait 5",
    "set": "group set plant mode=migrate non_ip=0x8892,0x88b8 key_lifetime=24h",
    "keys": "group keys plant --reveal --senders 1..100",
    "token": "token create --group plant --expires 15m --server tcp://192.0.2.10:5555",
    "audit": "--json audit --last 7",
}
for name, words in WORDS.items():
    write("arguments", name, "\n".join(words.split()).encode())
write("arguments", "rule", b"policy\nset\nplant\n--rule\nencrypt proto=tcp dest_port=502 name=modbus")
write("arguments", "rules", json.dumps({"rules": POLICY["policy"]["rules"], "default_action": "drop", "group": "plant", "version": 1}).encode())

ORDERS = {
    "looks": [{word: {}} for word in ("key", "status", "gateway_list", "group_list", "token_list")] + [{"audit_list": {"most": 5}}],
    "approve": [{"gateway_approve": {"gateway": "press", "group": "plant"}}, {"gateway_show": {"gateway": "press"}}, {"gateway_list": {}}],
    "member": [
        {"gateway_rename": {"gateway": base64.b64encode(bytes([1] * 32)).decode(), "name": "pump"}},
        {"gateway_pin": {"gateway": "pump", "machines": ["192.0.2.1", "2001:db8::1"]}},
        {"gateway_command": {"gateway": "pump", "kind": {"log_level": "debug"}}},
        {"gateway_outcome": {"command": 1}},
        {"gateway_revoke": {"gateway": "pump", "reason": "lost"}},
        {"gateway_remove": {"gateway": "pump"}},
    ],
    "group": [
        {"group_add": {"group": "line1"}},
        {"group_set": {"group": "line1", "settings": [["mode", "enforce"], ["non_ip", "0x8892"], ["key_lifetime", "2h"], ["cipher", "auto"]]}},
        {"group_show": {"group": "line1"}},
        {"group_keys": {"group": "plant", "reveal": True, "senders": [1, 9]}},
        {"rekey": {"group": "plant"}},
        {"group_remove": {"group": "line1"}},
    ],
    "policy": [
        {"policy_check": {"rules": POLICY["policy"]["rules"]}},
        {"policy_set": {"group": "plant", "rules": POLICY["policy"]["rules"], "default_action": "bypass"}},
        {"policy_show": {"group": "plant"}},
        {"policy_history": {"group": "plant"}},
    ],
    "token": [{"token_create": {"group": "plant", "lifetime": 900, "servers": ["tcp://192.0.2.10:5555"]}}, {"token_list": {}}, {"token_revoke": {"id": 1}}],
    "question": [{"method": "status"}],
    "arguments": [{"method": "enrol", "args": {"token": "tsg1-x", "ubus_rpc_session": "0"}}, {"method": "enrol", "args": {"token": [1]}}, {"method": "peers", "args": None}],
}
for name, orders in ORDERS.items():
    write("sockets", name, b"press\n" + b"\n".join(json.dumps(order).encode() for order in orders))


def attribute(number, content, extended=0):
    """A blob attribute, padded to four bytes."""
    whole = struct.pack("!I", extended << 31 | number << 24 | len(content) + 4) + content
    return whole + bytes(-len(whole) % 4)


def named(kind, name, content):
    """A blobmsg attribute."""
    head = struct.pack("!H", len(name)) + name + b"\0"
    return attribute(kind, head + bytes(-len(head) % 4) + content, extended=1)


def ubus(kind, *attributes, sequence=1, peer=0):
    body = b"".join(attributes)
    return struct.pack("!BBHII", 0, kind, sequence, peer, len(body) + 4) + body


STATUS, OBJECT, METHOD, DATA, NO_REPLY = (lambda content, n=n: attribute(n, content) for n in (1, 3, 4, 7, 10))
NUMBER = OBJECT(struct.pack("!I", 7))
SESSION = named(3, b"ubus_rpc_session", b"00000000\0")
ENROL = DATA(named(3, b"token", b"tsg1-x\0") + SESSION)
TYPES = DATA(named(7, b"flag", b"\1") + named(5, b"number", bytes(4)) + named(4, b"more", bytes(8)) + named(8, b"half", bytes(8))
             + named(1, b"lan", named(3, b"", b"lan1\0")) + named(2, b"in", SESSION) + named(0, b"none", b""))
HELLO = ubus(0, peer=1025)
TAKEN = ubus(2, NUMBER) + ubus(1, STATUS(bytes(4)))
CALL = ubus(5, NUMBER, METHOD(b"status\0"), DATA(SESSION), peer=1026)
write("ubus", "greeting", b"\0" + HELLO + TAKEN + CALL)
write("ubus", "taken", b"\1" + TAKEN + CALL)
write("ubus", "refused", b"\1" + ubus(1, STATUS(struct.pack("!I", 2))))
write("ubus", "calls", b"\2" + CALL + ubus(5, NUMBER, METHOD(b"enrol\0"), ENROL, sequence=2, peer=1026) + CALL)
write("ubus", "types", b"\2" + ubus(5, NO_REPLY(b"\1"), NUMBER, METHOD(b"setup\0"), TYPES, peer=1026))
write("ubus", "long", b"\2" + ubus(5, NUMBER, METHOD(b"enrol\0"), DATA(named(3, b"token", bytes(20_000))), peer=9) + CALL)
write("ubus", "notified", b"\2" + ubus(1, STATUS(struct.pack("!I", 4)), sequence=2) + CALL)


def greeting(mechanism=b"CURVE", minor=1):
    return b"\xff" + bytes(8) + b"\x7f\x03" + bytes([minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def zmtp_command(name, body):
    whole = bytes([len(name)]) + name + body
    return bytes([4, len(whole)]) + whole


def sealed(*parts):
    """What a key server has sealed: flags and bytes."""
    return b"".join(bytes([len(part), flags]) + part for flags, part in parts)


ROUTER = b"\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0"
write("zmtp", "greeting", b"\0" + greeting())
write("zmtp", "plain", b"\0" + greeting(b"PLAIN", 0))
write("zmtp", "welcome", b"\1" + zmtp_command(b"WELCOME", bytes(160)))
write("zmtp", "refused", b"\1" + zmtp_command(b"ERROR", b"\x03400"))
write("zmtp", "ready", b"\2" + zmtp_command(b"READY", bytes(40)))
write("zmtp", "long", b"\2" + b"\6" + struct.pack("!Q", 5_000) + b"\x05READY")
write("zmtp", "messages", b"\3" + sealed((0, ROUTER), (0, b"one"), (1, b"more"), (2, b"\x04PING\0\x05context"), (0, b"last"), (0, b"two")))
write("accept", "greeting", b"\0\0" + greeting())
write("accept", "hello", b"\0\0" + greeting() + zmtp_command(b"HELLO", b"\1\0" + bytes(192)))
write("accept", "initiate", b"\0\1" + zmtp_command(b"INITIATE", bytes(245)))
write("accept", "messages", b"\0\2" + sealed((0, b"one"), (1, b"more"), (2, b"\x04PING\0\x05context"), (0, b"last"), (0, b"two")))
write("accept", "subscriptions", b"\1\2" + sealed((2, b"\x09SUBSCRIBEplant"), (2, b"\x06CANCELplant"), (0, b"\1plant"), (0, b"\0plant")))
write("zmtp", "publisher", b"\3" + sealed((0, ROUTER.replace(b"\x06ROUTER", b"\x03PUB"))))

# What a restore reads: by the programs age and tar.
AGE = HERE.parents[2] / "package/tsg-server/tests/age"
MANIFEST = {"format": 1, "version": "0.1.0", "made": 1_795_000_000, "server": "0000", "public_key": PAIR[0].decode()}
IDENTITY = (AGE / "identity.txt").read_bytes()
write("backup", "age", (AGE / "hello.age").read_bytes())
write("backup", "identity", IDENTITY)
write("backup", "recipient", IDENTITY.split(b"public key: ")[1].split()[0])
write("backup", "manifest", json.dumps(MANIFEST).encode())
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
    for name, content in [("manifest.json", json.dumps(MANIFEST).encode()), ("server.key", PAIR[1]), ("tsg.db", b"")]:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
# Three heads, two blocks of content, two empty blocks.
write("backup", "tar", archive.getvalue()[:7 * 512])
