#!/usr/bin/env python3
"""Writes what the fuzz targets begin with: corpus/TARGET/NAME beside this file, a few small inputs for each.

Those of codec, connection, curve, group, group_session and roundtrip were written with the targets, by hand; those of
all others come from here. Run it again after a change of a target's format.
"""

import json
import struct
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def seed(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else bytes(data))


def word(data):
    """Bytes behind their length, as `Script::bytes` reads them."""
    data = data.encode() if isinstance(data, str) else bytes(data)
    return struct.pack(">H", len(data)) + data


def message(*frames):
    """As `Script::message` reads it."""
    return bytes([len(frames)]) + b"".join(word(frame) for frame in frames)


def keys():
    public, secret = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
    seed("keys", "public", public)
    seed("keys", "secret", secret)
    seed("keys", "certificate", f'metadata\ncurve\n    public-key = "{public}"\n')
    seed("keys", "secret-certificate", f'#  ZPL\ncurve\n  public-key = "{public}"\n\tsecret-key = \'{secret}\'\n')


def endpoint():
    for name, text in {
        "tcp": "tcp://127.0.0.1:5555",
        "tcp6": "tcp://[::1]:0",
        "zone": "tcp://[fe80::1%eth0]:80",
        "any": "tcp://*:*",
        "source": "tcp://eth0:0;host.example:5555",
        "ipc": "ipc:///tmp/a b%20",
        "abstract": "ipc://@name",
        "inproc": "inproc://name",
        "tls": "tls://host.example:443",
        "udp": "udp://239.1.2.3:5000",
    }.items():
        seed("endpoint", name, text)


def tunnel():
    frames = struct.pack(">IH", 10, 4) + b"0123456789" + struct.pack(">IH", 3, 0) + b"abc" + struct.pack(">IH", 0, 0)
    for step in (1, 5, 255):
        seed("tunnel", f"frames-{step}", bytes([step]) + frames)
    seed("tunnel", "hello", b"\x01fbtn\x01\x00\x12\x34" + bytes(range(16)))


def subscriptions():
    def step(kind, key, text):
        return bytes([kind + 3 * 16 * key if kind + 48 * key < 256 else kind, len(text)]) + text

    steps = [(0, 0, b"weather"), (0, 1, b"weather"), (0, 2, b"wea"), (0, 0, b""), (2, 0, b"weather.north")]
    steps += [(1, 0, b"weather"), (1, 1, b"weather"), (2, 0, b"weather"), (1, 2, b"wea")]
    seed("subscriptions", "prefixes", b"".join(step(*one) for one in steps))
    seed("subscriptions", "introduction", b"\x03SUB\x02id\x06X-Site\x05north")


def mesh():
    hello = b"FBMESH\r\n" + struct.pack("<HBBI", 1, 2, 0, 16) + struct.pack("<QII", 7, 1, 2)
    seed("mesh", "hello", b"\x00" + hello)

    def header(tag, body, epoch=1, announced=0):
        return struct.pack("<IIQQ", epoch, announced, tag, len(body)) + body

    frames = header(2, b"abc") + header(1, b"x" * 100) + header(3, b"", announced=9) + header(2, b"y" * 9000)
    for step in (1, 30, 255):
        seed("mesh", f"frames-{step}", bytes([2, step, 6, 2, 1, 0x42, 3, 2, 0]) + frames)

    def text(value):
        return struct.pack("<H", len(value)) + value

    join = b"\x01" + struct.pack("<BIBI", 1, 2, 0, 0) + text(b"rank") + text(b"tcp://127.0.0.1:5")
    epoch = b"\x04" + struct.pack("<II", 1, 2) + (struct.pack("<I", 5) + text(b"a") + text(b"inproc://a")) * 2
    requests = {"join": join, "suspect": b"\x04" + struct.pack("<II", 1, 2), "leave": b"\x06"}
    notices = {"epoch": epoch, "failed": b"\x05" + struct.pack("<IIII", 1, 2, 0, 1)}
    notices["welcome"] = b"\x01" + struct.pack("<QIQQ", 7, 0, 200_000, 2_000_000)
    for name, data in (requests | notices).items():
        seed("mesh", name, b"\x01" + data)
    joins = bytes([0x93, 0, 0x9B, 1, 0x01, 0])
    advance = b"\x03" + struct.pack("<I", 1)
    said = bytes([5 << 3 | 5, 0]) + advance + bytes([5 << 3 | 5, 1]) + advance
    suspect = b"\x04" + struct.pack("<II", 2, 1)
    said += bytes([9 << 3 | 5, 0]) + suspect + bytes([0xF8, 0, 0xF8, 0, 1, 0, 2, 1])
    seed("mesh", "session", b"\x03" + joins + said)


def rpc():
    def header(kind, codec=2, flags=0, count=0, call=7, deadline=0):
        return struct.pack("!4BIQQ", 1, kind, codec, flags, count, call, deadline)

    seed("rpc_envelope", "request", message(header(1, deadline=250_000), "telescope.point", '{"ra": 12.5}'))
    seed("rpc_envelope", "compact", message(header(1) + b"\x0ftelescope.point" + b'{"ra": 12.5}'))
    metadata = b"\x0dauthorization\x00\x00\x00\x08Bearer 7"
    seed("rpc_envelope", "metadata", message(header(8, flags=4), "log", "[]", metadata, "buffer"))
    for kind in range(2, 12):
        seed("rpc_envelope", f"kind-{kind}", message(header(kind, count=3), "", "null"))

    values = {
        "plain": '[7, "text", [[1, true], [-1, false]], {"a": [1, 2]}]',
        "lent": '[{"$buffer": 0}, [{"$buffer": 1}], null]',
        "list": "[[1, 2.5], [3, 4]]",
        "floats": "[[1, 2], [3, 4]]",
        "mixed": '[[1, 2], null, {"$buffer": 0}]',
    }
    for number, (name, text) in enumerate(values.items()):
        seed("rpc_values", f"{name}-json", bytes([1 + 3 * number]) + message("abc", "d") + text.encode())
    tensor = {"dtype": "float64", "shape": [2, 1], "data": {"$buffer": 0}}
    seed("rpc_values", "tensor-json", bytes([1 + 3 * 2]) + message(bytes(16)) + json.dumps(tensor).encode())
    seed("rpc_values", "plain-postcard", bytes([0]) + message() + b"\x07\x01\x01a\x01\x02\x01\x01\x01a\x01\x09")
    seed("rpc_values", "plain-pack", bytes([2]) + message() + b"\x94\x07\xc0\x91\x92\x01\xc3\x81\xa1a\x91\x09")

    def step(what, which=0, count=0, body=b""):
        return bytes([what, which, count, len(body)]) + body

    item, response, error, end, credit = (3 + 12 * kind for kind in range(5))
    unary = [step(0, 1, 100), step(2), step(response, body=b"{}"), step(8)]
    stream = [step(0, 5, 3), step(2), step(item, 0, 0, b"a"), step(8), step(9), step(item, 0, 1, b"b"), step(9)]
    stream += [step(end, 0, 2), step(9), step(9)]
    failure = json.dumps({"kind": "failed", "code": 3, "message": "x"}).encode()
    seed("rpc_calls", "unary", b"".join(unary))
    seed("rpc_calls", "stream", b"".join(stream))
    seed("rpc_calls", "failed", step(0) + step(2) + step(error, 0, 0, failure) + step(8))
    seed("rpc_calls", "upload", step(0, 8) + step(2) + step(credit, 0, 2) + step(10) + step(10, 0, 1) + step(11))
    seed("rpc_calls", "late", step(0, 1, 50) + step(2) + step(7, 0, 60) + step(8) + step(0, 2, 5) + step(7, 0, 9) + step(8))


def stream():
    def head(**fields):
        return json.dumps(fields)

    array = head(htype="array-1.0", type="uint16", shape=[2, 2], frame=1)
    seed("stream", "array", message(array, bytes(8)) + message(array, b""))
    packed = head(htype="array-1.0", type="uint8", shape=[4], encoding="lz4<")
    seed("stream", "packed", message(packed, b"\x40abcd"))
    series = message(head(htype="dheader-1.0", series=1, header_detail="basic"), head(nimages=2))
    image = [head(htype="dimage-1.0", series=1, frame=0, hash="x")]
    image += [head(htype="dimage_d-1.0", shape=[2, 2], type="uint8", encoding="<", size=4), b"abcd"]
    image += [head(htype="dconfig-1.0", start_time=1, stop_time=2, real_time=1)]
    seed("stream", "series", series + message(*image) + message(head(htype="dseries_end-1.0", series=1)))
    data = head(htype="bsr_d-1.1", channels=[{"name": "A", "type": "float64"}, {"name": "B", "type": "string"}])
    main = head(htype="bsr_m-1.1", pulse_id=7, hash="0", global_timestamp={"sec": 1, "ns": 2})
    seed("stream", "pulse", message(main, data, bytes(8), bytes(16), "text", bytes(16)))
    seed("stream", "other", message('{"htype": "x-1.0"}', "a") + message("{}") + message("[1]"))
    seed("stream", "stream2", message(cbor({"type": "end", "series_id": 1, "series_unique_id": "x"})))


class Tag:
    def __init__(self, number, value):
        self.number, self.value = number, value


def cbor(value):
    def head(major, number):
        for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if number < 24:
                return bytes([major << 5 | number])
            if number < 1 << 8 * size:
                return bytes([major << 5 | code]) + number.to_bytes(size, "big")
        raise ValueError(number)

    match value:
        case Tag():
            return head(6, value.number) + cbor(value.value)
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value)) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(cbor(one) for one in value)
        case dict():
            return head(5, len(value)) + b"".join(cbor(key) + cbor(one) for key, one in value.items())
        case _:
            return b"\xf6"


def stream2():
    described = 55799
    numbers = Tag(40, [[2, 2], Tag(69, bytes(8))])
    packed = Tag(40, [[2, 2], Tag(64, Tag(56500, ["lz4", 1, b"\x40abcd"]))])
    start = {"type": "start", "series_id": 1, "series_unique_id": "x", "number_of_images": 2}
    start |= {"channels": ["a"], "image_size_x": 2, "image_dtype": "uint16", "flatfield": {"a": numbers}}
    image = {"type": "image", "series_id": 1, "image_id": 0, "real_time": [1, 1000]}
    image |= {"series_date": Tag(0, "2024-01-01T00:00:00Z"), "data": {"a": numbers, "b": packed}, "user_data": [1, 2.5]}
    other = {"type": "custom", "nested": {"a": [True, None, b"x"]}}
    end = {"type": "end", "series_id": 1, "series_unique_id": "x"}
    for name, event in {"start": start, "image": image, "other": other, "end": end}.items():
        seed("stream2", name, cbor(Tag(described, event)))


def compression():
    def case(codec, size, length, part):
        return bytes([codec, size]) + struct.pack(">HB", length, 0) + part

    block = b"\x40abcd"
    seed("compression", "lz4", case(0, 1, 4, block))
    seed("compression", "sized", case(1, 1, 4, struct.pack("<I", 4) + block))
    seed("compression", "hdf5", case(2, 1, 4, struct.pack(">QI", 4, 1 << 30) + struct.pack(">I", 5) + block))
    bits = b"\x80" + bytes(8)
    seed("compression", "bitshuffle-lz4", case(3, 1, 8, struct.pack(">QII", 8, 8, 9) + bits))
    seed("compression", "bitshuffle-bare", case(4, 1, 8, struct.pack(">I", 9) + bits))
    seed("compression", "bitshuffle", case(5, 2, 32, bytes(range(32))))
    for codec in range(6):
        seed("compression", f"text-{codec}", case(codec, 1, 9, b"what is long and repeats, repeats, repeats. " * 8))


def recording():
    messages = message("head", "body") + message("") + message() + message("x" * 300, "y") + message("last")
    for choice, name in enumerate(["open", "packed", "closed", "closed-packed", "cut", "cut-packed", "cut-closed"]):
        seed("recording", name, bytes([1, choice, 5]) + messages + struct.pack(">H", 300))
    for choice in (8, 10, 12):
        seed("recording", f"harmed-{choice}", bytes([1, choice, 5]) + messages + b"\x00\xc8\x00\x91\x55")


def split():
    header = word('{"htype": "dimage-1.0", "frame": 7, "series": 1, "source": "x"}')
    for number, text in enumerate(["frame % 2 == 0", 'htype == "dimage-1.0" && frame >= 5', "series != 1", 'source == "x"']):
        seed("split", f"filter-{number}", header + text.encode())
    output = {"address": "tcp://127.0.0.1:2", "modulo": 2, "group": "g", "policy": "block", "filter": "frame >= 1"}
    config = {"source": {"address": "tcp://127.0.0.1:1", "mode": "SUB"}, "streams": [output]}
    seed("split", "config", header + json.dumps(config).encode())
    config = {"source": "tcp://127.0.0.1:1", "streams": [{"address": "tcp://*:2"}]}
    seed("split", "config-short", header + json.dumps(config).encode())


def parts():
    body = b"fbp\x02" + struct.pack("<IQQ", 2, 51, 9) + struct.pack("<QQ", 4, 3)
    body += bytes(8) + b"head" + bytes(12) + b"abc"
    body = body[:8] + struct.pack("<Q", len(body)) + body[16:]
    seed("parts", "whole", b"\x00" + word(body))
    for cut in (24, 30, len(body) - 1):
        seed("parts", f"pieces-{cut}", b"\x01" + word(body[:cut]) + b"\x03" + word(body[cut:]))
    seed("parts", "cut", b"\x01" + word(body[:30]) + b"\x02" + word(body[30:40]) + b"\x04" + word(b""))


def transfer():
    def varint(number):
        out = b""
        while number >= 128:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    def text(value):
        return varint(len(value)) + value

    def entry(path, size=None):
        kind = b"\x00" if size is None else b"\x01" + varint(size)
        return text(path) + kind + varint(0o644) + varint(2 * 1_700_000_000) + varint(5)

    def version(data):
        return b"\x01" + data

    entries = [entry(b"a"), entry(b"a/b", 1000), entry(b"c d", 0)]
    seed("transfer", "manifest", version(varint(3) + b"".join(entries)))
    seed("transfer", "leads-out", version(varint(1) + entry(b"a/../../b", 1)))
    digest = bytes(range(32))
    seed("transfer", "file", version(b"\x00" + varint(1) + varint(500) + varint(1) + varint(500) + digest))
    seed("transfer", "end", version(b"\x01" + digest))
    seed("transfer", "abort", version(b"\x02" + text(b"why")))
    seed("transfer", "has", version(b"\x00" + varint(1) + varint(1) + varint(500) + digest))
    seed("transfer", "got", version(b"\x01" + varint(1) + varint(1) + varint(1) + text(b"why")))


def merge():
    def item(source, number):
        return bytes([2 | source << 4, number])

    both = b"".join(item(source, number) for number in range(4) for source in range(3))
    seed("merge", "in-order", b"\x00\x64" + both)
    late = item(0, 1) + item(1, 2) + b"\x00\xc8" + item(2, 1) + item(0, 3) + b"\x00\xc8" + item(1, 1)
    seed("merge", "late", b"\x01\x64" + late)
    again = b"".join(item(0, number) for number in range(8)) + item(1, 0) + item(0, 0) + item(1, 1)
    seed("merge", "anew", b"\x03\x10" + again)


for make in (keys, endpoint, tunnel, subscriptions, mesh, rpc, stream, stream2, compression, recording, split):
    make()
for make in (parts, transfer, merge):
    make()
