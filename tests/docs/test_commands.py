"""The command lines of the key server in the documents, by its own parser: what it does not take, nobody can follow."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Up to where a shell would end it.
LINE = r"""tsg-server\s(?:'[^']*'|"[^"]*"|[^|;&<>#)'"`])*"""
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# They work on files and not on the server; here they would.
ON_FILES = {"run", "restore", "reseal", "seal-key", "backup-key", "bundle", "health"}
# What stands for a value that the parser looks into.
SAMPLES = {"ADDRESS": "192.0.2.7"}
# Said of one option, and whole elsewhere.
PARTS = {("server.md", "tsg-server token create --server tcp://HOST:5555")}


def blocks(text):
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    return [block for language, block in found if language in ("", "sh")]


def lines(page):
    """Of code blocks all; of those within a sentence, what is more than a command's name."""
    text = page.read_text()
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(rf"(?<![\w/.-])(?<!--name ){LINE}", line)
    for inline in re.findall(rf"`({LINE})`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        if not re.fullmatch(r"[a-z -]+", inline.replace("--", "=")):
            yield inline


def commands():
    found = {(page.name, line.strip()): shlex.split(line) for page in PAGES for line in lines(page)}
    # A container may be called as the program in it.
    found = {where: words[words[1] == "tsg-server":][1:] for where, words in found.items() if len(words) > 1}
    return {where: words for where, words in found.items()
            if words and words[0] not in ON_FILES and "…" not in words[0] and where not in PARTS}


@pytest.fixture(scope="session")
def server():
    subprocess.run([REPOSITORY / "tests/programs"], check=True)
    return REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "release/tsg-server"


def test_every_command_line_is_one(server, tmp_path):
    """Nobody answers, so that nothing happens; 2 says that the line itself is wrong."""
    wanted, wrong = commands(), {}
    assert len(wanted) > 30, wanted
    for where, words in wanted.items():
        done = subprocess.run([server, *(SAMPLES.get(word, word) for word in words)], cwd=tmp_path, timeout=60,
                              env={"TSG_SERVER_SOCKET": tmp_path / "nobody"}, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 2:
            wrong[where] = done.stderr.decode().splitlines()[:2]
    assert not wrong, wrong
    print(f"{len(wanted)} command lines")
