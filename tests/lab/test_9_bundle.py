"""What support is sent: a bundle of a gateway and of the key server, made under load, without secrets."""

import base64
import gzip
import io
import json
import re
import tarfile

from load import Load
from netns import command
from sealed import two_gateways
from test_9_secrets import identity, is_in, only_tek


def test_bundles_under_load(cases):
    with two_gateways() as plant:
        load = Load(plant.hosts["plc"], plant.hosts["hmi"])
        box, folder = plant.boxes["gwa"], plant.lab.run.folder
        with load.undisturbed():
            box.gateway.run(*box.argv("bundle", folder / "gateway.tar.gz"), timeout=120)
            command(*plant.server._argv("bundle", "--data", plant.server.folder,
                                        folder / "server.tar.gz"), timeout=120)
        gateway, server = (Unpacked(folder / f"{name}.tar.gz") for name in ("gateway", "server"))

        status = json.loads(gateway["status.json"])
        assert status["state"] == "sealing" and status["counters"]["sealed"] > 0
        assert f"tcp://{plant.server.host.ip4}:5555" in gateway["config-tsg.txt"]
        for port in ("lan0", "wan0"):
            assert re.search(rf"^{port}: stands, program \d+$", gateway["ports.txt"], re.M)
            assert port in gateway["interfaces.txt"] and port in gateway["rules.txt"]
        assert re.search(r"\b(table (bridge|netdev) tsg|NFQUEUE)\b", gateway["rules.txt"])
        assert "PROBLEM" not in gateway["check.txt"] and "ok " in gateway["check.txt"]
        assert json.loads(gateway["policy.json"])["policy"]["rules"][0]["name"] == "modbus"
        assert {"gwa", "gwb"} == {one["name"] for one in json.loads(server["gateways.json"])}
        assert "== integrity\nok\n" in server["database.txt"]

        secrets = {"TEK": only_tek(plant), "key of gwa": identity(box),
                   "key of the server": server_identity(plant)}
        for what, secret in secrets.items():
            for name, bundle in (("gateway", gateway), ("server", server)):
                assert not shows(secret, bundle.bytes), f"{what} in the bundle of the {name}"
            assert shows(secret, bundle.bytes + z85(secret)), "the search finds nothing"
        cases(2 * len(secrets) + len(gateway.files) + len(server.files))


def test_a_full_disk_leaves_no_half_bundle():
    with two_gateways() as plant:
        box, full = plant.boxes["gwa"], plant.lab.run.folder / "full"
        full.mkdir()
        done = box.gateway.run(
            "unshare", "--mount", "sh", "-c",
            'mount -t tmpfs -o size=16k none "$0" && "$@"; code=$?; ls -A "$0" | sed "s/^/left: /"; exit $code',
            full, *box.argv("bundle", full), check=False, timeout=120)
        assert done.returncode == 1, done
        assert "No space left on device" in done.stderr and "make room" in done.stderr, done.stderr
        assert "left:" not in done.stdout, done.stdout
        through = plant.lab.run.folder / "through.tar.gz"
        box.gateway.run("sh", "-c", '"$@" > "$0"', through, *box.argv("bundle", "-"), timeout=120)
        assert "README.txt" in Unpacked(through).files


class Unpacked:
    """A bundle as Python's tarfile reads it."""

    def __init__(self, file):
        self.bytes = gzip.decompress(file.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(self.bytes)) as tar:
            self.files = {member.name.partition("/")[2]: tar.extractfile(member).read()
                          for member in tar.getmembers()}
            assert all(member.isreg() and member.mode == 0o600 for member in tar.getmembers())

    def __getitem__(self, name):
        assert name in self.files, self.files["README.txt"].decode()
        return self.files[name].decode(errors="replace")


def server_identity(plant):
    text = (plant.server.folder / "server.key").read_text()
    return base64.b64decode(re.search(r"^secret (\S+)$", text, re.M)[1])


def z85(secret):
    """Python's base 85 with ZeroMQ's characters."""
    python = ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~")
    zeromq = ("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
    return base64.b85encode(secret).translate(bytes.maketrans(python.encode(), zeromq.encode()))


def shows(secret, text):
    return is_in(secret, text) or z85(secret) in text
