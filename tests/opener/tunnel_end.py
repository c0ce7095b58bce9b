"""One end of a tunnel, written from section 4 of docs/protocol.md alone, without a TUN device: it answers pings inside.

    tunnel_end.py KEY-FILE OTHER-ADDRESS [CIPHER]        IP protocol 50 over IPv4; needs CAP_NET_RAW

CIPHER is the best that it has: chacha20-poly1305, or aes-256-gcm. Prints `revealed` with what it has agreed on as one
JSON object, secrets and the other end's half in hexadecimal; then a line for each packet that it opened.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ESP, NOTHING, IPV4 = 50, 59, 4
NO_HALF = bytes(32)
CHACHA, AES = "chacha20-poly1305", "aes-256-gcm"


def hkdf(secret, salt, purpose):
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(key, purpose + b"\x01", "sha256")


def read_key(path):
    with open(path, encoding="ascii") as file:
        title, text = file.read().split()
    raw = base64.b64decode(text, validate=True)
    assert title == "tsg-tunnel-key" and len(raw) == 36 and hashlib.sha256(raw[:32]).digest()[:4] == raw[32:]
    return raw[:32]


def usable(spi):
    return may_be(int.from_bytes(spi, "big"), 0x01000001)


def first_of(spi):
    """The first of 16 SPIs."""
    return may_be(int.from_bytes(spi, "big") & ~15, 0x01000010)


def may_be(spi, least):
    """What may be on the wire."""
    return (spi if spi >> 24 and spi & 0xffffff else spi | least).to_bytes(4, "big")


def nth(spi, number):
    return (int.from_bytes(spi, "big") + number).to_bytes(4, "big")


def seal(cipher, salt, head, payload, next_header):
    """`head` is SPI, sequence number and IV."""
    padding = bytes(range(1, 1 + -(len(payload) + 2) % 4))
    plain = payload + padding + bytes([len(padding), next_header])
    return head + cipher.encrypt(salt + head[8:], plain, head[:8])


def unseal(cipher, salt, esp):
    plain = cipher.decrypt(salt + esp[8:16], esp[16:], esp[:8])
    pad, next_header = plain[-2:]
    assert plain[len(plain) - 2 - pad:-2] == bytes(range(1, 1 + pad))
    return next_header, plain[:len(plain) - 2 - pad]


def sender_key(tek, spi):
    output = hashlib.blake2b(digest_size=36, key=tek, salt=spi[::-1] + bytes(12), person=b"TSGESP01" + bytes(8)).digest()
    return output[:32], output[32:]


class End:
    def __init__(self, key, best=CHACHA):
        self.key, self.best = key, best
        self.hello_key = hkdf(key, b"", b"tsg tunnel 1 hello")
        self.hello_cipher = ChaCha20Poly1305(self.hello_key)
        self.hello_spi = first_of(hkdf(key, b"", b"tsg tunnel 1 spi")[:4])
        self.secret = X25519PrivateKey.generate()
        self.half = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.spi = first_of(os.urandom(4))
        self.outward = None
        self.inward = {}
        self.sent = 0

    def hello(self, heard=NO_HALF):
        random = b"\x01" + os.urandom(11)
        head = self.hello_spi + random
        said = bytes([1, self.best == AES, 1, 0]) + self.spi + self.half + heard
        return seal(self.hello_cipher, random[:4], head, said, NOTHING)

    def hear_hello(self, esp):
        """What to answer."""
        next_header, said = unseal(self.hello_cipher, esp[4:8], esp)
        assert next_header == NOTHING and said[0] == 1
        spi, other, heard = said[4:8], said[8:40], said[40:72]
        if heard == self.half and self.outward is None:
            self.agree(said[1] & 1, said[2], spi, other)
            return [self.hello(other), self.esp(b"", NOTHING)]
        return [self.hello(other)]

    def agree(self, other_has_aes, workers, spi, other):
        assert 1 <= workers <= 16
        shared = self.secret.exchange(X25519PublicKey.from_public_bytes(other))
        both = b"".join(sorted([self.half, other]))
        to_other, to_me = (hkdf(self.key + shared, both, b"tsg tunnel 1 to" + half) for half in (other, self.half))
        out, out_salt = sender_key(to_other, spi)
        cipher = AES if self.best == AES and other_has_aes else CHACHA
        make = {AES: AESGCM, CHACHA: ChaCha20Poly1305}[cipher]
        self.outward = spi, make(out), out_salt
        for sent_with in (nth(self.spi, worker) for worker in range(workers)):
            inward, in_salt = sender_key(to_me, sent_with)
            self.inward[sent_with] = make(inward), in_salt
        revealed = {"hello key": self.hello_key, "shared": shared, "TEK to other": to_other, "TEK to me": to_me,
                    "key to other": out, "key to me": inward, "other half": other}
        print("revealed", json.dumps({"cipher": cipher} | {name: value.hex() for name, value in revealed.items()}),
              flush=True)

    def esp(self, payload, next_header):
        spi, cipher, salt = self.outward
        self.sent += 1
        return seal(cipher, salt, spi + struct.pack("!IQ", self.sent, self.sent), payload, next_header)

    def hear(self, esp):
        if esp[:4] == self.hello_spi:
            return self.hear_hello(esp)
        if esp[:4] not in self.inward:
            return []
        next_header, packet = unseal(*self.inward[esp[:4]], esp)
        print(next_header, packet.hex(), flush=True)
        answer = next_header == IPV4 and answer_ping(packet)
        return [self.esp(answer, IPV4)] if answer else []


def answer_ping(packet):
    header, icmp = packet[:20], bytearray(packet[20:])
    if header[9] != 1 or icmp[0] != 8:
        return None
    icmp[0] = 0
    icmp[2:4] = (int.from_bytes(icmp[2:4], "big") + 0x0800).__mod__(0xffff).to_bytes(2, "big")
    return header[:12] + header[16:20] + header[12:16] + bytes(icmp)


def main(path, other, *best):
    end = End(read_key(path), *best)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, ESP) as wire:
        wire.connect((other, 0))
        wire.send(end.hello())
        while True:
            packet = wire.recv(1 << 16)
            for esp in end.hear(packet[(packet[0] & 15) * 4:]):
                wire.send(esp)


if __name__ == "__main__":
    main(*sys.argv[1:])
