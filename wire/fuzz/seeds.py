#!/usr/bin/env python3
"""Writes what the fuzz targets begin with: corpus/TARGET/NAME beside this file, a few small inputs for each.

Those of codec, connection, curve, group, group_session and roundtrip were written with the targets, by hand; those of
all others come from here. Run it again after a change of a target's format.
"""

import base64
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
    seed("keys", "group", "  0123456789abcdef\n")
    seed("keys", "group-bytes", b"\xff" * 32)


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


def server():
    def step(what, call=0, choice=0, count=0, body=b""):
        return bytes([0x40 | what << 2 | call, choice, count, len(body)]) + body

    def method(name, flags=0):
        """One byte has both: the flags, and the name in what is left when it is divided."""
        return next(flags | low for low in range(16) if (flags | low) % 7 == name)

    request, item, end, credit, cancel, ping = 0, 7, 10, 11, 12, 13
    wait, read = b"\x08\x20", b"\x10"
    add, late, listing = method(0), method(1), method(5)
    count, total, echo = method(2, 0x80), method(3, 0x40), method(4, 0xC0)
    seed("rpc_server", "unary", step(request, 1, add, 0, b"[1,2]") + wait + read)
    seed("rpc_server", "wrong", step(request, 1, add, 0, b"[1,") + step(request, 1, listing, 0) + wait + read)
    seed("rpc_server", "cancel", step(request, 2, late, 0, b"200") + step(cancel, 2) + wait + read)
    seed("rpc_server", "stream", step(request, 0, count, 0, b"9") + step(credit, 0, 0, 20) + wait + read)
    upload = step(request, 3, total, 0, b"5") + b"".join(step(item, 3, 0, number, b"7") for number in range(2))
    seed("rpc_server", "upload", upload + wait + step(end, 3, 0, 2) + wait + read)
    talk = step(request, 3, echo, 0, b"null") + step(item, 3, 0, 0, b'"a"') + step(credit, 3, 0, 9)
    seed("rpc_server", "conversation", talk + wait + step(end, 3, 0, 1) + wait + read + step(ping))
    seed("rpc_server", "raw", b"\x20" + message(struct.pack("!4BIQQ", 1, 1, 2, 0, 0, 7, 0), "add", "[3,4]") + wait)


def federation():
    def text(value):
        return bytes([len(value)]) + value.encode()

    def packet(content, *pieces):
        header = b"\x01" + text("job") + text("b") + text("a") + b"\x05\x07\x02" + content
        return message(header, *pieces)

    def items(*items):
        return b"\x03\x09" + bytes([len(items)]) + b"".join(items)

    opened = b"\x01\x00\x07\x03\x01\x02"
    contents = {
        "hello": b"\x00\x02" + text("a") + text("b") + b"\x80\x08\x80\x80\x04\x80\x80\x10\x00\x80\x80\x02",
        "refused": b"\x01\x02",
        "ack": b"\x02\x01",
        "open": items(b"\x00\x00\x01" + text("sums") + b"\x01\x64\x03"),
        "opened": items(opened),
        "settled": items(b"\x03\x00\x05\x01"),
        "abort": items(b"\x05" + text("b") + text("why")),
        "leave": items(opened, b"\x04", b"\x06", b"\x07\x80\x08", b"\x08\x01", b"\x09\x00\x03", b"\x0a\x80\x08"),
    }
    for name, content in contents.items():
        seed("federation", f"packet-{name}", b"\x00" + packet(content))
    data = items(b"\x02\x01\x02\x01" + text("tag") + b"\x01\x01\x64\x00\x00\x02\x03\x04\x02")
    seed("federation", "packet-data", b"\x00" + packet(data, "abc", "defg"))

    def step(what, which=0, count=0, body=b"", high=0):
        return bytes([what | high << 4, which, count, len(body)]) + body

    windows = struct.pack("<QQ", 200, 300)
    up = step(8, count=4, body=windows) + step(6) + step(9)
    rest, later = step(1), step(0, count=50)
    incoming = step(10) + step(14, count=0, body=b"abc") + step(14, count=4, body=b"def", high=1) + rest + step(3) * 2
    seed("federation", "node-in", b"\x01" + up + incoming + later + rest)
    outgoing = step(2, body=b"hello") * 2 + rest + step(11) + rest + step(12) + rest
    seed("federation", "node-out", b"\x01" + up + outgoing + later + rest + step(13))
    pieces = step(15, 0, 0, b"\x00\x01\x06abc") + step(15, 0, 0, b"\x03\x00def") + step(3)
    seed("federation", "node-pieces", b"\x01" + up + step(10) + pieces + step(5) + rest)
    anew = step(8, 0x40, 4, windows) + step(8, 0x80, 4, windows) + later * 6 + rest + step(8, 0x40, 4, windows) + rest
    seed("federation", "node-anew", b"\x01" + up + step(10) + anew + step(13, count=1, body=b"why") + rest)
    both = bytes([3, 7, 0x83, 7, 7, 0, 0x87, 0]) * 3
    sends = bytes([0, 0, 0, 0x40, 0x80, 1, 0, 0xF0, 0x80, 0x41])
    seed("federation", "parties", b"\x02" + both + sends + both + bytes([1, 0, 0x81, 1, 2, 0x60, 0x82, 0x60]) + both)
    seed("federation", "parties-loss", b"\x02" + sends + bytes([3, 7, 0x84, 0, 0x85, 1, 6, 0xFF, 2, 0xFF]) + both + sends)
    everything, pause = step(10, count=7), step(0, count=25)
    talk = everything + pause + b"".join(step(1, which) for which in range(16)) + everything
    deaths = b"".join(step(8, 2 + which % 2 + which * 4, which) for which in range(3)) + step(8, 0) + step(8, 1)
    bad = step(5, 1, 3) + step(6, 1) + step(6, 0x65) + step(3, 1, 4) + step(6, 0xC1, 2) + step(4, 0, 9) + step(6, 4)
    late = step(7, 0, 2) + step(3, 0, 9) + step(5, 1, 9) + step(7, 0, 1) + pause * 12
    lies = step(12, 0, 255, windows) + step(12, 4, 255, windows) + step(12, 0x41, 9, windows)
    lies += b"".join(step(14, 4 * (high % 2), 4, b"\x00abc", high) for high in (0, 4, 1, 5, 2, 3))
    operated = step(9, 0, 1) + step(9, 0x80, 1) + talk + step(9, 0) + step(9, 0x80) + step(9, 0xC0, 1) + talk
    for plan in range(16):
        seed("federation", f"relay-{plan:02}", b"\x04" + bytes([plan]) + talk + lies + bad + late + deaths + talk + bad + late)
    seed("federation", "relay-operated", b"\x04\x07" + talk + operated + lies + step(11, 0, 1) + late)
    seed("federation", "relay-altered", b"\x04\x10" + talk + step(3, 1, 9) + step(15, 4, 1, b"\x09\x11\x20\x21") * 3 + talk)
    seed("federation", "relay-lost", b"\x04\x21" + talk + late + step(11, 0, 1) + step(8, 4) + deaths + talk)
    away = step(1, 13, 1) + step(0) + everything + step(1, 13, 255) + everything * 2 + step(0, 0, 255)
    seed("federation", "relay-away", b"\x04\x06" + away)
    config = {"session": {"local_id": "a", "job_id": 7, "role": "guest"}, "federation": {"guest": ["a"], "host": [10]}}
    config |= {"server": "h:1", "addresses": {"a": "tcp://a:1"}, "limits": {"ttl_ms": 100, "piece": 2048}}
    seed("federation", "config-json", b"\x03" + json.dumps(config).encode())
    toml = '[session]\nlocal_id = "a"\njob_id = "j"\n[federation]\nguest = ["a"]\nhost = ["b"]\n'
    seed("federation", "config-toml", b"\x03" + toml.encode() + b"[limits]\nretry_ms = 50\n")


def collectives():
    def plan(size, operations, *changes):
        return bytes([0, size - 2, len(operations) - 1, *operations, len(changes)]) + b"".join(changes)

    none, cut, longer, other = b"\x00", b"\xb0\x00\x20", b"\xc0\x03abc", b"\xe0\x02\xff\x00"
    bit = lambda at: b"\x80" + struct.pack(">HB", at, 0x10)
    for operation in range(16):
        seed("collectives", f"operation-{operation}", plan(4, [operation, operation | 0x40], *[none] * 24, bit(40), cut))
    seed("collectives", "meeting", plan(2, [15], bit(33), longer))
    seed("collectives", "lengths", plan(3, [3], *[none] * 12, bit(32), bit(39), bit(38)))
    intake = [(0, 0, 9), (1, 0, 5), (4, 0, 0), (6, 0, 0), (7, 0, 99), (2, 0, 4), (4, 0, 0), (3, 0, 0), (4, 0, 0), (4, 0, 0)]
    seed("collectives", "intake", b"\x01" + bytes(24) + bytes(sum(intake, ())))
    seed("collectives", "intake-over", b"\x01" + bytes(sum([(0, 0, 3), (1, 0, 9), (4, 0, 0), (8, 0, 0), (255, 0, 0)], ())))
    # Found by a run: who agrees was told that a rank had left that there was not.
    left = "000205081700f00c0c0c0c0c0c0c0c0c8059603a27100000000000000200008059603a27100000008051603a2700000080"
    seed("collectives", "left-by-nobody", bytes.fromhex(left))
    seed("collectives", "nonsense", plan(3, [1, 4], none, other, other, longer))


def arguments():
    lines = ['["news", {"hex": "00ff"}, ""]', '[{"hex": "0"}]', '["\\u00fc\\n"]', "[5]"]
    for number, text in enumerate(lines):
        seed("arguments", f"line-{number}", "\x00" + text)
    values = ["hex:00ff", "news", "64K", "2GiB", "0.25", "-1", "inf", "1e300", "1048576"]
    options = ["tcp://*:8888,modulo=10,policy=drop-oldest,filter=frame % 2 == 0", "tcp://a:1,group=b"]
    options += ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", "a\u001b[2J\u202e"]
    places = ["2070x2167", "12", "+2.5s", "2026-11-22T01:00:00Z", "239.1.2.3:5000", "[ff02::5]:5", "*:9100"]
    places += ["drop=0.1 duplicate=0.5 reorder truncate=1e-3", "abort-series=1"]
    for choice, texts in enumerate((values, options, places), 1):
        for number, text in enumerate(texts):
            seed("arguments", f"text-{choice}-{number}", chr(choice) + text)


def certificates():
    def tlv(tag, *parts):
        body = b"".join(parts)
        length = bytes([len(body)]) if len(body) < 128 else b"\x82" + struct.pack(">H", len(body))
        return bytes([tag]) + length + body

    def name(*common):
        attribute = lambda text: tlv(0x31, tlv(0x30, tlv(6, b"\x55\x04\x03"), tlv(0x0C, text.encode())))
        return tlv(0x30, *map(attribute, common))

    def certificate(subject, *names):
        algorithm = tlv(0x30, tlv(6, bytes.fromhex("2b6570")))
        validity = tlv(0x30, tlv(0x17, b"260101000000Z"), tlv(0x17, b"360101000000Z"))
        key = tlv(0x30, algorithm, tlv(3, bytes(33)))
        parts = [tlv(0xA0, tlv(2, b"\x02")), tlv(2, b"\x07"), algorithm, name("ca"), validity, subject, key]
        if names:
            listed = tlv(0x30, tlv(6, b"\x55\x1d\x11"), tlv(4, tlv(0x30, *names)))
            parts.append(tlv(0xA3, tlv(0x30, listed)))
        return tlv(0x30, tlv(0x30, *parts), algorithm, tlv(3, bytes(65)))

    def pem(kind, data):
        return f"-----BEGIN {kind}-----\n{base64.encodebytes(data).decode()}-----END {kind}-----\n".encode()

    plain = certificate(name("node 7"))
    many = [tlv(0x82, b"a.example"), tlv(0x81, b"a@b"), tlv(0x86, b"spiffe://a/b"), tlv(0x87, b"\x7f\0\0\1")]
    named = certificate(name("a", "b"), *many)
    seed("certificates", "chain", b"\x00" + pem("CERTIFICATE", named) + b"words\n" + pem("CERTIFICATE", plain))
    for kind in ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"):
        seed("certificates", kind.lower().replace(" ", "-"), b"\x01" + pem(kind, tlv(0x30, tlv(2, b"\0"), tlv(4, bytes(32)))))
    seed("certificates", "common-name", b"\x02" + plain)
    seed("certificates", "names", b"\x02" + named)
    for text in ("DNS:node-7.example.", "IP:2001:db8::7", "email:ada@example.org", "URI:spiffe://x/7", "CN:node 7", "SHA256:" + "0f" * 32):
        seed("certificates", "name-" + text.split(":")[0].lower(), b"\x03" + text.encode())
    seed("certificates", "fingerprint", b"\x03" + b"0f" * 32)
    seed("certificates", "fingerprint-colons", b"\x03" + b":".join([b"A1"] * 32))


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
for make in (parts, transfer, merge, server, federation, collectives, arguments, certificates):
    make()
