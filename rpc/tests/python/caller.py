"""What callers of other languages do, also wrong: each function is a test, called with the endpoint of our calculator."""
import sys

import numpy
import zmq
from client import CANCEL, HEADER, JSON, ONE_WAY, PING, PONG, REQUEST, STREAM, CallError, Client, pack, unpack


def raises(kind, text, call, /, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except CallError as error:
        assert error.kind == kind and text in error.message, error
        return error
    raise AssertionError(f"no error where {kind} was to come")


def arguments_of_every_kind(endpoint):
    client = Client(endpoint)
    assert client.call("add", a=1, b=2) == 3
    assert client.call("add", a=0.5, b=2) == 2.5
    assert client.call("add", a=[1.0, 2.0], b=[3.0, 4.0]) == [4.0, 6.0]
    assert client.call("minus", a=[[1, 2], [3, 4]], b=1) == [[0, 1], [2, 3]]
    assert client.call("echo", text="ü", none=None) == {"text": "ü", "none": None}
    a, b = numpy.arange(1e6).reshape(1000, 1000), numpy.ones((1000, 1000))
    assert (client.call("add", a=a, b=b) == a + b).all()
    assert (client.call("minus", a=a.T, b=2) == a.T - 2).all(), "not in C order"
    for dtype in ["|u1", "<u2", ">u2", "<i4", ">i8", "<f4", ">f4", "<f8"]:
        a = numpy.array([1, 2, 100], dtype)
        assert client.call("add", a=a, b=a).tolist() == [2, 4, 200], dtype
        same = client.call("echo", a=a)["a"]
        assert same.dtype == a.dtype and (same == a).all(), dtype
    empty = client.call("add", a=numpy.zeros((0, 3)), b=numpy.zeros((0, 3)))
    assert empty.shape == (0, 3)
    assert client.call("echo", raw=b"\0\1")["raw"] == b"\0\1"
    names = [method["name"] for method in client.call("flexbond.methods")]
    assert "count" in names and "flexbond.health" in names
    assert client.call("flexbond.health") == "serving"


def failures(endpoint):
    client = Client(endpoint)
    error = raises("failed", "no such star", client.call, "fail", code=42, message="no such star")
    assert error.code == 42
    raises("panicked", "oh dear", client.call, "panic", message="oh dear")
    raises("panicked", "", client.call, "panic")
    raises("unknown_method", "did you mean add?", client.call, "ADD", a=1, b=2)
    raises("bad_arguments", "missing field `b`", client.call, "add", a=1)
    raises("bad_arguments", "at b", client.call, "add", a=1, b="two")
    raises("bad_arguments", "unknown field `c`", client.call, "add", a=1, b=2, c=3)
    raises("bad_arguments", "missing field `a`", client.call, "add")
    raises("bad_arguments", "at a", client.call, "add", a={"x": 1}, b=2)
    raises("bad_arguments", "invalid type", list, client.stream("count", n="three"))
    raises("failed", "do not go together", client.call, "add", a=[1, 2], b=[1, 2, 3])
    raises("failed", "64 bits", client.call, "add", a=2**63 - 1, b=1)
    raises("deadline_exceeded", "", client.call, "sleep", ms=60_000, timeout=0.2)
    raises("bad_arguments", "stream", client.call, "count", n=3)
    assert client.call("add", a=1, b=1) == 2, "the server lives"
    assert client.inbox == {}


def streams(endpoint):
    client = Client(endpoint)
    assert list(client.stream("count", n=0)) == []
    assert list(client.stream("count", n=1000, window=4)) == list(range(1000))
    assert list(client.stream("echo", x=1)) == [{"x": 1}], "one answer is a stream of one"
    # Two at once, and a call in between.
    both = zip(client.stream("count", n=100, window=3), client.stream("count", n=100, window=5))
    for index, pair in enumerate(both):
        assert pair == (index, index)
        if index == 50:
            assert client.call("add", a=1, b=2) == 3
    # A reader that stops is waited for, and one that leaves ends the stream.
    slow = client.stream("count", n=10**12, window=2)
    assert next(slow) == 0
    assert client.call("add", a=1, b=2) == 3
    slow.close()
    raises("bad_arguments", "", list, client.stream("count"))




def answer(socket):
    assert socket.poll(10_000), "no answer"
    return unpack(socket.recv_multipart())


def messages_that_are_none(endpoint):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(endpoint)
    good = pack(REQUEST, 7, "add", b'{"a": 1, "b": 2}')
    for frames in [
        [b""],
        [b"x"],
        [good[0][:23]],
        [good[0]],
        good[:2],
        [b"\2" + good[0][1:], *good[1:]],
        [HEADER.pack(1, 99, JSON, 0, 0, 7, 0), *good[1:]],
        [HEADER.pack(1, REQUEST, 77, 0, 0, 7, 0), *good[1:]],
        [HEADER.pack(1, REQUEST, JSON, 128, 0, 7, 0), *good[1:]],
        [HEADER.pack(1, REQUEST, JSON, 4, 0, 7, 0), *good[1:], b"\xff\xff"],
        pack(REQUEST, 7, "", b"{}"),
        pack(REQUEST, 7, "x" * 256, b"{}"),
        pack(REQUEST, 7, "add", b'{"a": 1, "b"'),
        pack(REQUEST, 7, "add", b"\xff\xfe"),
        pack(REQUEST, 7, "add", b"[" * 100_000),
        pack(REQUEST, 7, "add", b'{"a": {"$buffer": 0}, "b": 1}'),
        pack(REQUEST, 7, "add", b'{"a": {"dtype": "<f8", "shape": [9], "data": {"$buffer": 0}}, "b": 1}', [b"short"]),
        pack(REQUEST, 7, "add", b'{"a": {"dtype": "<f8", "shape": [4294967296, 4294967296], "data": {"$buffer": 0}}, "b": 1}', [b""]),
        pack(REQUEST, 7, "echo", b"null", [b"x"] * 1100),
        pack(CANCEL, 12345),
    ]:
        socket.send_multipart(frames)
        # Whatever came of it, a good call is answered with what it asked for.
        socket.send_multipart(pack(REQUEST, 8, "add", b'{"a": 1, "b": 2}'))
        while True:
            kind, _, call, _, body, _ = answer(socket)
            if call == 8:
                assert body == b"3", (frames, body)
                break
            assert kind == 3, (frames, kind, body)
    # A deadline that is as good as over, one-way calls, pings.
    socket.send_multipart(pack(REQUEST, 9, "sleep", b'{"ms": 60000}', timeout=1e-6))
    kind, _, call, _, body, _ = answer(socket)
    assert (kind, call) == (3, 9) and b"deadline_exceeded" in body, body
    socket.send_multipart(pack(ONE_WAY, 10, "add", b'{"a": 1, "b": 2}'))
    socket.send_multipart(pack(ONE_WAY, 10, "unknown", b"{}"))
    socket.send_multipart(pack(PING, 11))
    kind, _, call, _, _, _ = answer(socket)
    assert (kind, call) == (PONG, 11)


def huge_bodies(endpoint):
    """The server takes 1 MB."""
    client = Client(endpoint)
    raises("too_large", "1000000", client.call, "echo", text="x" * 2_000_000)
    raises("too_large", "1000000", client.call, "echo", array=numpy.zeros(1_000_000))
    assert client.call("add", a=1, b=2) == 3


def a_call_that_is_cut_off(endpoint):
    """The test ends the server once the call is under way."""
    client = Client(endpoint)
    raises("disconnected", "may have run", client.call, "sleep", ms=600_000, timeout=60)


def nobody_is_there(endpoint):
    raises("unconnected", endpoint, Client(endpoint).call, "add", a=1, b=2, timeout=0.3)


globals()[sys.argv[1]](sys.argv[2])
print("done")
