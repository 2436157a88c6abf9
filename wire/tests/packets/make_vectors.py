"""Prints the known answers of vectors.txt: the format once more, written from the documentation of wire::group alone.

Needs the package cryptography for AES-256-GCM. A line is a name, a colon, and hexadecimal bytes; `00*N` stands for N
zero bytes.
"""

import hashlib
import hmac
import ipaddress
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SESSION, SENDER, EPOCH, NUMBER = 0x0102030405060708, 0x0A0B0C0D, 0x11121314, 0x2122232425262728
NONCE = bytes(range(16))
SERVER_NONCE = bytes(range(16, 32))
COOKIE = bytes(range(32, 64))
PROOF = bytes(range(64, 96))
WRAPPED = bytes(range(100, 148))
EPOCH_KEY = bytes(range(200, 232))
PSK = b"correct horse battery staple"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def header(kind, version=1, session=SESSION, sender=SENDER, epoch=EPOCH, number=NUMBER):
    return struct.pack(">HBBQIIQ", 0x4642, version, kind, session, sender, epoch, number)


def plain(kind, body, **fields):
    contents = header(kind, **fields) + body
    return contents + struct.pack(">I", crc32c(contents))


def address(text, port):
    ip = ipaddress.ip_address(text)
    return bytes([ip.version]) + ip.packed + struct.pack(">H", port)


def sized(data):
    return bytes([len(data)]) + data


def claim(cookie, name):
    return NONCE + sized(cookie) + sized(name) + struct.pack(">Q", 1 << 26)


def join(cookie, proof):
    body = claim(cookie, "ada·".encode()) + sized(proof)
    body += bytes(1200 - 28 - 4 - len(body))
    return plain(1, body, session=0, sender=0xFFFFFFFF, epoch=0, number=1)


def accept_terms(multicast):
    return NONCE + struct.pack(">I", 7) + multicast + struct.pack(">HIIQQ", 1400, 200, 2000, 1 << 30, 1 << 28)


def member(number, where, flags):
    return struct.pack(">I", number) + where + struct.pack(">QB", 1 << 20, flags)


MEMBERS = bytes([2]) + member(1, address("192.0.2.1", 4000), 1) + member(2, address("2001:db8::2", 5000), 0)


def view(key):
    return struct.pack(">HBIHH", 9, 3, 33, 1, 2) + key + MEMBERS


DATA = struct.pack(">HBQ", 9, 0b101, 0x3132333435363738) + b"a segment"
STATUS = struct.pack(">HBIQQQIQII", 9, 0b11, 5, 100, 200, 151, 47, 300, 400, 500) + bytes([2]) + struct.pack(">QHQH", 101, 3, 150, 1)

PLAIN = {
    "join-first": join(b"", b""),
    "join": join(COOKIE, PROOF),
    "retry": plain(2, NONCE + COOKIE),
    "reject": plain(3, NONCE + bytes([7]) + sized(b"64 MiB at least")),
    "accept-plain": plain(4, accept_terms(b"\0") + b"\0" + SERVER_NONCE),
    "accept": plain(4, accept_terms(address("239.255.1.2", 4001)) + b"\1" + WRAPPED + SERVER_NONCE),
    "leave": plain(5, b""),
    "goodbye": plain(6, bytes([4]) + sized(b"silent for 2 s")),
    "heartbeat": plain(7, struct.pack(">QQIB", 1_000_000, 900_000, 1_500, 1)),
    "view": plain(8, view(b"\1" + WRAPPED)),
    "view-plain": plain(8, view(b"\0")),
    "view-ack": plain(9, struct.pack(">HI", 9, 33)),
    "channel-join": plain(10, struct.pack(">IHB", 77, 9, 1)),
    "channel-accepted": plain(11, struct.pack(">IHBBQ", 77, 9, 1, 0, 41)),
    "channel-refused": plain(11, struct.pack(">IHBBQ", 77, 9, 0, 2, 0)),
    "channel-leave": plain(12, struct.pack(">IH", 78, 9)),
    "data": plain(13, DATA),
    "status": plain(14, STATUS),
    "sync": plain(15, struct.pack(">HBQQ", 9, 1, 50, 100)),
    "sync-several": plain(15, struct.pack(">HBQQ", 9, 0, 2**64 - 1, 100)),
    "parity": plain(16, struct.pack(">HBQBB", 9, 0b10, 64, 16, 3) + b"parity"),
    "arrive": plain(17, struct.pack(">HQ", 9, 41)),
    "release": plain(18, struct.pack(">HQ", 9, 41)),
    "abort": plain(19, struct.pack(">HQ", 9, 41) + bytes([2]) + struct.pack(">II", 3, 5)),
}


def derive(key, label, *parts):
    info = label.encode() + b"\0" + b"".join(parts)
    return hmac.new(key, info + b"\1", hashlib.sha256).digest()


ROOT = hmac.new(b"flexbond group v1", PSK, hashlib.sha256).digest()
MEMBER_KEY = derive(ROOT, "member", NONCE, SERVER_NONCE)
ORIGIN = header(0)[4:20]


def wrap(label, *parts):
    return AESGCM(derive(MEMBER_KEY, label, ORIGIN, *parts)).encrypt(bytes(12), EPOCH_KEY, None)


def sealed(kind, body, receiver=None):
    start = header(kind, version=0x81 if receiver is None else 0xc1)
    known = start if receiver is None else start + struct.pack(">I", receiver)
    key = derive(EPOCH_KEY, "sender", ORIGIN)
    return start + AESGCM(key).encrypt(struct.pack(">IQ", SENDER, NUMBER), body, known)


SEALED = {
    "proof": hmac.new(derive(ROOT, "join proof"), claim(COOKIE, "ada·".encode()), hashlib.sha256).digest(),
    "key-in-accept": wrap("accept", accept_terms(address("239.255.1.2", 4001))),
    "key-in-view": wrap("view", struct.pack(">HBI", 9, 3, 33)),
    "sealed-data": sealed(13, DATA),
    "sealed-status": sealed(14, STATUS, receiver=SENDER + 1),
    "sealed-sync": sealed(15, struct.pack(">HBQQ", 9, 1, 50, 100), receiver=0),
    "sealed-leave": sealed(5, b""),
}


def show(data):
    zeros = len(data) - 4 - len(data[:-4].rstrip(b"\0"))
    if zeros < 100:
        return data.hex()
    return f"{data[:-4].rstrip(bytes(1)).hex()} 00*{zeros} {data[-4:].hex()}"


for name, data in (PLAIN | SEALED).items():
    print(f"{name}: {show(data)}")
