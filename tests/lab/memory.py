"""What lies in the memory of a process: for secrets that must not lie there, or in one place alone."""

import base64
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# So many bytes of a secret in a row are a trace of it: a copy that is half overwritten is one, too.
PIECE = 8


class Memory:
    """All memory that a process can write to, as it was at one moment: freed memory and dead stack,
    too."""

    def __init__(self, pid):
        self._parts = dict(_read_all(pid))

    def places(self, secret):
        """Where copies of a secret begin, whole ones or parts: as text, by address."""
        found = {}
        for at in range(0, len(secret) - PIECE + 1, PIECE):
            pattern = re.compile(re.escape(secret[at:at + PIECE]), re.DOTALL)
            for (start, name), content in self._parts.items():
                for match in pattern.finditer(content):
                    address = start + match.start() - at
                    found[address] = f"{address:#x} in {name or 'an anonymous mapping'}"
        return found

    def traces(self, secrets):
        """For each secret by name, the places where it lies in any form."""
        found = {what: [*(place for form in forms(secret) for place in self.places(form).values())]
                 for what, secret in secrets.items()}
        return {what: places for what, places in found.items() if places}

    def halves(self, public):
        """Where the secret half of an X25519 key pair lies: whatever has the fixed bits of one is tried."""
        found = []
        for (start, name), content in self._parts.items():
            for match in _LIKE_A_SECRET_HALF.finditer(content):
                secret = match[1]
                if len(set(secret)) > 16 and _public(secret) == public:
                    found.append(f"{start + match.start():#x} in {name or 'an anonymous mapping'}")
        return found


# RFC 7748 section 5; at every byte, so that one may begin within another.
_LIKE_A_SECRET_HALF = re.compile(
    b"(?=([" + b"".join(re.escape(bytes([byte])) for byte in range(0, 256, 8)) + b"].{30}[@-\x7f]))", re.DOTALL)


def _public(secret):
    pair = X25519PrivateKey.from_private_bytes(secret)
    return pair.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dead_stack(pid):
    """What lies from 8 to 24 KiB below what the main thread has on its stack while it waits: what it
    called before went there. None while it does not wait."""
    number, *_, stack, _ = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    if number == "running":
        return None
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(int(stack, 16) - 24 * 1024)
        return memory.read(16 * 1024)


def forms(secret):
    """A secret as bytes, in hexadecimal and in base64."""
    return [secret, secret.hex().encode(), secret.hex().upper().encode(),
            base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"=")]


def _read_all(pid):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            span, rights, _, _, _, *name = line.split(maxsplit=5)
            if "w" in rights:
                start, end = (int(address, 16) for address in span.split("-"))
                for at, content in _written(_read(memory, start, end)):
                    yield (start + at, "".join(name)), content


def _read(memory, start, end):
    content = bytearray()
    memory.seek(start)
    while len(content) < end - start:
        try:
            part = memory.read(end - start - len(content))
        except OSError:
            # A device's memory, or gone meanwhile.
            break
        if not part:
            break
        content += part
    return bytes(content)


def _written(content):
    """The runs of pages that are not empty: most of a stack is."""
    start, page = None, 4096
    for at in range(0, len(content) + page, page):
        if content[at:at + page].strip(b"\0"):
            start = at if start is None else start
        elif start is not None:
            yield start, content[start:at]
            start = None
