"""Packages as opkg takes them, and the index of a folder of them.

An .ipk is a gzipped tar of `debian-binary`, `data.tar.gz` and `control.tar.gz`. What goes in the same comes out the same,
byte for byte: everything belongs to root, is sorted and has one time.
"""

import gzip
import hashlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

# What opkg runs; all else is done by OpenWrt's own functions, which know the package by the name of the script.
POSTINST = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_postinst "$0" "$@"
"""
PRERM = """#!/bin/sh
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_prerm "$0" "$@"
"""


def package(fields, description, tree, scripts, when):
    """The bytes of an .ipk. `fields` are those of `control` in their order, `tree` a folder, `scripts` more files beside
    `control` by name, `when` the time of everything in it."""
    data, size = _folder(Path(tree), when)
    lines = [f"{name}: {value}" for name, value in [*fields.items(), ("Installed-Size", size)] if value != ""]
    # Its other lines begin with a space.
    lines.append("Description: " + "\n ".join(line.strip() for line in description.strip().splitlines()))
    control = {"control": ("\n".join(lines) + "\n", 0o644), "postinst": (POSTINST, 0o755), "prerm": (PRERM, 0o755)}
    for name, text in scripts.items():
        control[name] = (text.rstrip("\n") + "\n", 0o644 if name == "conffiles" else 0o755)
    inner = [("./debian-binary", b"2.0\n", 0o644), ("./data.tar.gz", data, 0o644),
             ("./control.tar.gz", _files(control, when), 0o644)]
    return _gzip(_tar([_entry(name, mode, when, content) for name, content, mode in inner]))


def index(folder):
    """The text of `Packages` for the .ipk files of a folder."""
    entries = []
    for path in sorted(folder.glob("*.ipk")):
        content = path.read_bytes()
        about = (f"Filename: {path.name}\nSize: {len(content)}\nMD5Sum: {hashlib.md5(content).hexdigest()}\n"
                 f"SHA256sum: {hashlib.sha256(content).hexdigest()}\nDescription:")
        entries.append(control(content).replace("Description:", about, 1) + "\n")
    return "".join(entries)


def control(content):
    """The text of `control` in an .ipk."""
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        inner = outer.extractfile("./control.tar.gz").read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        return tar.extractfile("./control").read().decode()


def compressed(data):
    """As gzip does, without the time of day."""
    return _gzip(data)


def _folder(root, when):
    """A folder's tree as data.tar.gz, and its size before it is packed, as opkg asks for room."""
    entries = [_entry("./", 0o755, when, folder=True)]
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        name = f"./{path.relative_to(root).as_posix()}"
        if path.is_symlink():
            raise ValueError(f"{path}: links are not packed")
        if path.is_dir():
            entries.append(_entry(f"{name}/", 0o755, when, folder=True))
        else:
            entries.append(_entry(name, path.stat().st_mode & 0o777, when, path.read_bytes()))
    tar = _tar(entries)
    return _zopfli(tar), len(tar)


def _files(files, when):
    entries = [_entry("./", 0o755, when, folder=True)]
    entries += [_entry(f"./{name}", mode, when, text.encode()) for name, (text, mode) in sorted(files.items())]
    return _gzip(_tar(entries))


def _entry(name, mode, when, content=b"", folder=False):
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.size = mode, when, len(content)
    info.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    info.uname = info.gname = "root"
    return info, content


def _tar(entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _zopfli(data):
    """As gzip, and four hundredths smaller."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return subprocess.run(["zopfli", "--i5", "-c", file.name], check=True, stdout=subprocess.PIPE).stdout


def _gzip(data):
    return gzip.compress(data, compresslevel=9, mtime=0)
