"""What others wrote of the program on a router, and under which licence."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

HEAD = """\
TSG, the Transparent Secure Gateway, is licensed under Apache-2.0: see LICENSE.

/usr/sbin/tsg of the package tsg-bridge is one static program. It contains the following works of others. Where one may be taken
under Apache-2.0, it is; the texts of all other licences are below.
"""
# What is no crate: musl comes with zig, libsodium within a crate.
STANDARD_LIBRARY = ("Rust's standard library", "Apache-2.0 OR MIT", "https://github.com/rust-lang/rust")
MUSL = ("musl", "MIT", "https://musl.libc.org")
LIBSODIUM = ("libsodium", "ISC", "https://libsodium.org")
TEXT = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)", re.IGNORECASE)


def write(root, path):
    """All processors have the same crates."""
    linked = crates(root)
    works, texts = [STANDARD_LIBRARY, MUSL, LIBSODIUM], [(MUSL, musl(root)), (LIBSODIUM, libsodium(linked))]
    for crate in linked:
        work = (f"{crate['name']} {crate['version']}", crate["license"], crate["repository"])
        works.append(work)
        text = text_of(folder_of(crate), "Apache-2.0" in crate["license"])
        if text:
            texts.append((work, text))
    table = "".join(f"* {name}: {licence}. {source}\n" for name, licence, source in works)
    parts = [f"{'-' * 80}\n{name}\n\n{text.strip()}\n" for (name, _, _), text in texts]
    path.write_text("\n".join([HEAD, table, *parts]))


def crates(root):
    """Those that are linked in: neither macros nor what only builds."""
    tree = run(root, "cargo", "tree", "--locked", "--package", "tsg-bridge", "--edges", "normal,no-proc-macro",
               "--prefix", "none", "--format", "{p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = json.loads(run(root, "cargo", "metadata", "--locked", "--format-version", "1"))["packages"]
    return [crate for crate in packages if crate["source"] and (crate["name"], f"v{crate['version']}") in linked]


def text_of(folder, apache):
    """The licence, which Apache-2.0's is known without; a notice goes with both."""
    found = [path for path in sorted(folder.iterdir()) if TEXT.match(path.name) and path.is_file()]
    if apache:
        found = [path for path in found if path.name.upper().startswith("NOTICE")]
    elif not found:
        raise FileNotFoundError(f"{folder} has no text of its licence: is there a newer version of the crate?")
    return "\n".join(path.read_text() for path in found)


def folder_of(crate):
    return Path(crate["manifest_path"]).parent


def musl(root):
    zig = run(root, "cross/toolchain", "python3", "-m", "ziglang", "env")
    return (Path(json.loads(zig)["lib_dir"]) / "libc/musl/COPYRIGHT").read_text()


def libsodium(linked):
    """Its source lies packed in the crate that builds it."""
    (crate,) = (crate for crate in linked if crate["name"] == "libsodium-sys-stable")
    with tarfile.open(folder_of(crate) / "LATEST.tar.gz") as source:
        return source.extractfile("libsodium-stable/LICENSE").read().decode()


def run(root, *argv):
    return subprocess.run(argv, cwd=root, check=True, text=True, stdout=subprocess.PIPE).stdout
