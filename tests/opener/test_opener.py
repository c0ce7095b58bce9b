"""The opener is a judge, so it is judged: packets sealed here, then spoiled in every way it must see."""

import base64
import io
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from scapy.all import Dot1Q, Ether, IP, IPv6, IPv6ExtHdrHopByHop, Raw, TCP, UDP, raw, wrpcap

import frames
import opener

TEK = bytes(range(32))
EPOCH = 300  # its byte is 45
SPI = 45 << 24 | 7
REVEALED = {"epochs": [{"id": EPOCH, "cipher": "chacha20-poly1305",
                        "tek": base64.b64encode(TEK).decode()}]}
# crypto_kdf_derive_from_key(36, 0x2d000007, "TSGESP01", 00 01 … 1f) of libsodium 1.0.18.
KEY = bytes.fromhex("973fc6e2da91acfab9e057592c7b66bb9eb9d4922397cb508bca0ac4b822edb41b9b3973")
ADDRESSES = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}


# The packets of docs/protocol.md, 1.8, by cipher; what is inside is one UDP datagram, or a piece of one.
EXAMPLES = [
    ("chacha20-poly1305", "450000441234400040fda385c0000201c000020203000011000000010036ee8000000001"
                          "9195cc5bb0d68e7849848c520e2001237a82de58bc1847a468bbfb57bb83691a"),
    ("aes-256-gcm", "450000441234400040fda385c0000201c000020203000011000000020036ee8100000002"
                    "babe733bd8f57247726343c62a7bc4bb3cfab0d65feff4fa9b2b104cbc1f0eef"),
    ("chacha20-poly1305", "600000000030fd4020010db800000000000000000000000120010db8000000000000000000000002"
                          "03000011000000030036ee8200000003"
                          "d1a32e32d5623a67fe672a7f353ae901d38870205b205728f457ddb16cf129c3"),
    ("chacha20-poly1305", "4500004c123440004011a469c0000201c0000202109d109d00380000"
                          "03000011000000050036ee8400000005"
                          "3a7ae811dee1669fa36236c7260b77b7ebc1db76a106401cb7e4698876a86f93"),
    ("chacha20-poly1305", "600000000038114020010db800000000000000000000000120010db8000000000000000000000002"
                          "109d109d003821af03000011000000060036ee8500000006"
                          "6eada0276cd5de140b4765fe89ba21088a5592c5c66928acf91de8718a258199"),
]


def network(version, protocol, payload, **more):
    source, destination = ADDRESSES[version]
    if version == 4:
        return IP(src=source, dst=destination, proto=protocol, **more) / Raw(payload)
    return IPv6(src=source, dst=destination, nh=protocol) / Raw(payload)


def seal(version, next_header, inside, sequence=1, cipher=ChaCha20Poly1305, spi=SPI, pad=None, iv=None):
    addresses = raw(network(version, 253, b""))[-8 if version == 4 else -32:]
    length = -(len(inside) + 2) % 4
    pad = bytes(range(1, length + 1)) if pad is None else pad
    head = struct.pack("!II", spi, sequence)
    iv = iv or struct.pack("!II", 123456, sequence)
    return head + iv + cipher(KEY[:32]).encrypt(
        KEY[32:] + iv, inside + pad + bytes([len(pad), next_header]), head + addresses)


def inside(version, payload=b"modbus"):
    """A TCP segment as it stands behind the IP header, with its checksum."""
    packet = network(version, 6, b"")
    packet.remove_payload()
    whole = raw(packet / TCP(sport=40000, dport=502) / Raw(payload))
    return whole[20 if version == 4 else 40:]


def run(packets, revealed=None, **options):
    file = io.BytesIO()
    file.close = lambda: None
    wrpcap(file, [Ether() / packet for packet in packets])
    judge = opener.Opener(opener.Epochs(revealed or REVEALED))
    file.seek(0)
    for packet in frames.sealed(file, 253, **options):
        judge.take(packet)
    return judge.report()


@pytest.mark.parametrize("version", (4, 6))
@pytest.mark.parametrize("length", range(5))
def test_opens(version, length):
    sealed = seal(version, 6, inside(version, b"x" * length))
    report = run([network(version, 253, sealed), network(version, 6, inside(version))])
    assert report["opened"] == report["sealed"] == 1 and report["inner"] == {"tcp 502": 1}


def test_opens_behind_tags_options_and_udp():
    sealed = seal(6, 6, inside(6))
    hops = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop(nh=253) / Raw(sealed)
    tagged = Dot1Q(vlan=5) / Dot1Q(vlan=6) / network(4, 253, seal(4, 6, inside(4), 2))
    udp = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=4253, dport=4253) / Raw(seal(4, 6, inside(4), 3))
    report = run([hops, tagged, udp], udp_port=4253)
    assert report["opened"] == report["sealed"] == 3, report


@pytest.mark.parametrize("cipher, packet", EXAMPLES)
def test_opens_the_examples_of_the_protocol(cipher, packet):
    revealed = {"epochs": [{"id": 3, "cipher": cipher, "tek": base64.b64encode(TEK).decode()}]}
    packet = bytes.fromhex(packet)
    version = packet[0] >> 4
    report = run([(IP if version == 4 else IPv6)(packet)], revealed, udp_port=4253)
    assert report["inner"] == {"udp 5000": 1}, report
    # The datagram of the examples has no checksum, which only IPv4 allows.
    assert report["refused"] == ({} if version == 4 else {"checksum inside": 1})


def test_opens_aes():
    revealed = {"epochs": [{**REVEALED["epochs"][0], "cipher": "aes-256-gcm"}]}
    assert run([network(4, 253, seal(4, 6, inside(4), cipher=AESGCM))], revealed)["opened"] == 1


def pieces(version, *cuts, spoil=lambda parts: parts):
    whole = inside(version, b"p" * 200)
    ends = [*cuts[1:], len(whole)]
    parts = [(at, end < len(whole), whole[at:end]) for at, end in zip(cuts, ends)]
    return [network(version, 253, seal(
        version, 44, struct.pack("!BBHI", 6, 0, at | more, 99) + data, sequence))
        for sequence, (at, more, data) in enumerate(spoil(parts), 1)]


@pytest.mark.parametrize("version", (4, 6))
def test_joins_pieces_in_any_order(version):
    for order in (lambda parts: parts, lambda parts: parts[::-1]):
        report = run(pieces(version, 0, 64, 136, spoil=order))
        assert (report["pieces"], report["reassembled"], report["incomplete"]) == (3, 1, 0)
        assert report["inner"] == {"tcp 502": 1} and not report["refused"]
    assert run(pieces(version, 0, 64, spoil=lambda parts: parts[1:]))["incomplete"] == 1


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


SPOILED = {
    "not authentic": lambda: [network(4, 253, flip(seal(4, 6, inside(4)), at)) for at in (9, 17, -1)],
    "unknown epoch": lambda: [network(4, 253, seal(4, 6, inside(4), spi=9 << 24 | 7))],
    "padding": lambda: [network(4, 253, seal(4, 6, inside(4, b"xyz"), pad=b"\0\0\0"))],
    "sequence number": lambda: [network(4, 253, seal(4, 6, inside(4), 5, iv=struct.pack("!II", 1, 6)))],
    "checksum inside": lambda: [network(4, 253, seal(4, 6, flip(inside(4), -1)))],
    "length": lambda: [network(4, 253, b"\0" * 35), network(4, 253, b"")],
    "sealed packet in fragments": lambda: [network(4, 253, seal(4, 6, inside(4)), flags="MF")],
    "piece twice": lambda: pieces(4, 0, 64, spoil=lambda parts: [parts[0], parts[0]]),
    "piece length": lambda: pieces(4, 0, 61),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_refuses(reason):
    report = run(SPOILED[reason]())
    assert reason in report["refused"], report


def test_another_address_does_not_authenticate():
    moved = network(4, 253, seal(4, 6, inside(4)))
    moved.dst = "10.0.0.3"
    assert run([moved])["refused"] == {"not authentic": 1}


def test_sees_a_number_used_twice():
    packets = [network(4, 253, seal(4, 6, inside(4, payload), 9)) for payload in (b"one", b"two")]
    assert run(packets)["repeated"] == 1
