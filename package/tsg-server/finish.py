"""Usage: finish.py FROM CONTAINERFILE TO
Copies an OCI archive, and adds what buildah leaves out of it: the health check, which OCI has no word for and every engine but
podman reads all the same, and the list that `docker load` looks for. What goes in the same comes out the same."""

import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path

BLOBS = "blobs/sha256/"


def main(source, containerfile, target):
    with tarfile.open(source) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
    index = json.loads(files["index.json"])
    (entry,) = index["manifests"]
    manifest = json.loads(files.pop(place(entry)))
    config = json.loads(files.pop(place(manifest["config"])))
    config["config"]["Healthcheck"] = health_check(Path(containerfile).read_text())
    name = entry["annotations"]["org.opencontainers.image.ref.name"]
    entry["annotations"]["io.containerd.image.name"] = name
    put(files, manifest["config"], config)
    put(files, entry, manifest)
    files["index.json"] = packed(index)
    layers = [place(layer) for layer in manifest["layers"]]
    files["manifest.json"] = packed([{"Config": place(manifest["config"]), "RepoTags": [name], "Layers": layers}])
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            header = tarfile.TarInfo(path)
            header.size, header.mode = len(content), 0o644
            tar.addfile(header, io.BytesIO(content))


def health_check(containerfile):
    """As Docker writes it: times in nanoseconds."""
    options, command = re.search(r"^HEALTHCHECK (.*) CMD (\[.*\])$", containerfile, re.MULTILINE).groups()
    given = dict(re.findall(r"--([a-z-]+)=(\d+)", options))
    seconds = {name: int(given[option]) * 10**9
               for name, option in (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start-period"))}
    return {"Test": ["CMD", *json.loads(command)], **seconds, "Retries": int(given["retries"])}


def place(descriptor):
    return BLOBS + descriptor["digest"].removeprefix("sha256:")


def put(files, descriptor, value):
    content = packed(value)
    descriptor["digest"] = "sha256:" + hashlib.sha256(content).hexdigest()
    descriptor["size"] = len(content)
    files[place(descriptor)] = content


def packed(value):
    return json.dumps(value, separators=(",", ":")).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
