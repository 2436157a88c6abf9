"""Calls functions of a flexbond-rpc server: pyzmq, json and struct are enough; numpy is for arrays only.

    python client.py tcp://127.0.0.1:PORT                            a tour of the example `calculator`
    python client.py tcp://127.0.0.1:PORT add '{"a": 1, "b": 2}'     one call
    python client.py tcp://127.0.0.1:PORT count '{"n": 3}' --stream  an answer of many items

A message has these frames: a header of 24 bytes, the method's name (in calls only), the body (here JSON), metadata if
a flag says so, and raw buffers, which the body names by number: {"$buffer": 0}. The server may write the first three
as one frame: the header, the length of the name in one byte, the name, the body.
"""
import argparse
import itertools
import json
import math
import os
import struct
import sys
import time

import zmq

try:
    import numpy
except ImportError:
    numpy = None

# All numbers have their most significant byte first.
HEADER = struct.Struct("!4BIQQ")  # version, kind, codec, flags, count, call, microseconds left
REQUEST, RESPONSE, ERROR, ITEM, END, CREDIT, CANCEL, ONE_WAY, PING, PONG, DRAINING = range(1, 12)
JSON = 2  # a codec; 0 is raw bytes, 1 postcard, 3 MessagePack
STREAM, METADATA = 1, 4  # flags: a stream is wanted; there is metadata


def pack(kind, call, method="", body=b"", buffers=(), flags=0, count=0, timeout=None):
    """The frames of a message. `timeout` is in seconds; None is no deadline."""
    left = 0 if timeout is None else max(1, int(timeout * 1e6))
    return [HEADER.pack(1, kind, JSON, flags, count, call, left), method.encode(), body, *buffers]


def unpack(frames):
    """What the frames of an answer say: kind, count, call, codec, body, buffers."""
    first, *rest = frames
    version, kind, codec, flags, count, call, _ = HEADER.unpack_from(first)
    if version != 1:
        raise ValueError(f"envelope version {version} is not known here")
    if len(first) > HEADER.size:  # header, name and body are one frame; an answer's name has no bytes
        body = first[HEADER.size + 1 + first[HEADER.size]:]
    else:
        _, body, *rest = rest
    if flags & METADATA:
        rest = rest[1:]
    return kind, count, call, codec, body, rest


def encode(value):
    """A value as JSON, and the buffers beside it: arrays of numpy and bytes are not copied into the text."""
    buffers = []

    def beside(thing):
        if isinstance(thing, (bytes, bytearray, memoryview)):
            buffers.append(thing)
            return {"$buffer": len(buffers) - 1}
        if numpy is not None and isinstance(thing, (numpy.ndarray, numpy.generic)):
            array = numpy.asarray(thing, order="C")
            buffers.append(array.tobytes() if array.size == 0 else array)
            return {"dtype": array.dtype.str, "shape": array.shape, "data": {"$buffer": len(buffers) - 1}}
        raise TypeError(f"{type(thing).__name__} cannot be an argument")

    try:
        return json.dumps(value, default=beside, allow_nan=False).encode(), buffers
    except ValueError as error:
        raise ValueError(f"{error}: JSON has neither NaN nor infinity, an array of numpy may")


def no_number(text):
    raise ValueError(f"{text} is no JSON")


def decode(body, buffers):
    """The value of a body: buffers are bytes again, and arrays are arrays of numpy that use these bytes."""

    def beside(object):
        if object.keys() == {"$buffer"}:
            return buffers[object["$buffer"]]
        if object.keys() == {"dtype", "shape", "data"} and numpy is not None:
            return numpy.frombuffer(object["data"], object["dtype"]).reshape(object["shape"])
        return object

    return json.loads(body or b"null", object_hook=beside, parse_constant=no_number)


class CallError(Exception):
    """Why a call has no answer. `kind` is the server's: failed (then `code` says more), unknown_method, bad_arguments,
    panicked, overloaded, unavailable, deadline_exceeded, cancelled, too_large, malformed, internal, ...; or this
    client's own: deadline_exceeded, unconnected, disconnected (the call may have run)."""

    def __init__(self, kind, message, code=0, details=None):
        super().__init__(f"{kind}: {message}" + (f" (code {code})" if kind == "failed" else ""))
        self.kind, self.message, self.code, self.details = kind, message, code, details


class Client:
    """Calls one server. Not for several threads at once: let each have its own."""

    def __init__(self, endpoint, timeout=30.0):
        self.endpoint, self.timeout = endpoint, timeout
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 1000
        self.socket.immediate = True  # only who is connected gets messages
        self.socket.heartbeat_ivl = 10_000
        self.losses = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(endpoint)
        self.numbers = itertools.count(1)
        self.inbox = {}  # what came for each call under way

    def call(self, method, /, timeout=None, **arguments):
        """Calls `method` with these named arguments; returns its answer or raises CallError."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        call = self._begin(method, arguments, deadline)
        try:
            kind, _, value = self._next(call, deadline)
        finally:
            self._end(call)
        if kind != RESPONSE:
            raise CallError("malformed", f"message kind {kind} where one answer was wanted")
        return value

    def stream(self, method, /, timeout=None, window=16, **arguments):
        """Calls `method` and yields the items of its answer. The server sends no more than `window` ahead of the
        reader; leaving the loop early ends the stream there, too. The timeout is for each item."""
        patience = self.timeout if timeout is None else timeout
        call = self._begin(method, arguments, time.monotonic() + patience, window, STREAM)
        received = granted = 0
        try:
            while True:
                kind, count, value = self._next(call, time.monotonic() + patience)
                if kind == END:
                    if count != received:
                        raise CallError("incomplete", f"{received} of {count} items came")
                    return
                yield value
                if kind == RESPONSE:  # one answer is a stream of one
                    return
                received += 1
                if received - granted >= (window + 1) // 2:
                    self.socket.send_multipart(pack(CREDIT, call, count=received - granted))
                    granted = received
        finally:
            self._end(call)

    def close(self):
        self.socket.disable_monitor()
        self.losses.close()
        self.socket.close()

    def _begin(self, method, arguments, deadline, count=0, flags=0):
        left = max(0, deadline - time.monotonic())  # less than none would be for ever
        if not self.socket.poll(left * 1000, zmq.POLLOUT):
            raise CallError("unconnected", f"nobody answers at {self.endpoint}; the call was not sent")
        while self.losses.poll(0):  # connections that were lost earlier are nothing to this call
            self.losses.recv_multipart()
        call = next(self.numbers)
        body, buffers = encode(arguments)
        # A stream has no deadline as a whole.
        timeout = None if flags & STREAM else deadline - time.monotonic()
        frames = pack(REQUEST, call, method, body, buffers, flags, count, timeout)
        self.socket.send_multipart(frames, copy=False)
        self.inbox[call] = []
        return call

    def _next(self, call, deadline):
        """The next message of a call: kind, count, value. An error is raised."""
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.losses, zmq.POLLIN)
        while not self.inbox[call]:
            ready = dict(poller.poll(max(0, deadline - time.monotonic()) * 1000))
            if self.socket in ready:
                frames = self.socket.recv_multipart()
                try:
                    message = unpack(frames)
                except (ValueError, IndexError, struct.error) as error:
                    raise CallError("malformed", f"what came is no answer: {error}")
                if message[2] in self.inbox:  # others are answers that came too late, or no calls at all
                    self.inbox[message[2]].append(message)
            elif self.losses in ready:
                self.losses.recv_multipart()
                raise CallError("disconnected", "the connection was lost; the call may have run")
            else:
                raise CallError("deadline_exceeded", "no answer in time")
        kind, count, _, codec, body, buffers = self.inbox[call].pop(0)
        if kind in (RESPONSE, ERROR, END):
            self.inbox[call] = None  # nothing follows
        if kind == END:
            return kind, count, None
        try:
            if kind == ERROR:
                error = json.loads(body)
                details = json.loads(buffers[0]) if buffers else None
                error = CallError(error["kind"], error.get("message", ""), error.get("code", 0), details)
            else:
                return kind, count, decode(body, buffers) if codec == JSON else body
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise CallError("malformed", f"the answer cannot be read: {error}")
        raise error

    def _end(self, call):
        """Forgets a call; one that is not over is cancelled, and the server stops its work."""
        if self.inbox.pop(call) is not None and self.socket.poll(0, zmq.POLLOUT):
            self.socket.send_multipart(pack(CANCEL, call))


def tour(client):
    for method in client.call("flexbond.methods"):
        print(f"{method['name']}{method['signature']}: {method['description']}")
    print("1 + 2 =", client.call("add", a=1, b=2))
    print("lists:", client.call("add", a=[1, 2], b=[3, 4]))
    if numpy is not None:
        a = numpy.arange(6.0).reshape(2, 3)
        print("arrays:", client.call("minus", a=a, b=numpy.ones((2, 3))).tolist())
    print("a stream:", list(client.stream("count", n=5)))
    for number in client.stream("count", n=1_000_000_000):
        if number == 2:
            break  # ends it on the server, too
    for method, arguments in [
        ("fail", {"code": 7, "message": "as asked"}),
        ("add", {"a": 1, "b": "two"}),
        ("ad", {}),
        ("sleep", {"ms": 60_000, "timeout": 0.1}),
    ]:
        try:
            client.call(method, **arguments)
        except CallError as error:
            print(f"{method}: {error}")


def seconds(text):
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number


def object_of(text):
    """The arguments of a call."""
    value = json.loads(text, parse_constant=no_number)
    if not isinstance(value, dict):
        raise ValueError(f"{text} is no object: write {{\"name\": value}}")
    return value


def line(value):
    """A value as a line of JSON: arrays as lists, other bytes by their number."""

    def beside(thing):
        return {"bytes": len(thing)} if isinstance(thing, bytes) else thing.tolist()

    try:
        return json.dumps(value, default=beside, allow_nan=False)
    except ValueError:
        raise CallError("answer", "it has a NaN or an infinity, which JSON has not")


def misused(message):
    print(f"client.py: {message}", file=sys.stderr)
    raise SystemExit(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint", help="tcp://host:port or ipc:///path")
    parser.add_argument("method", nargs="?")
    parser.add_argument("arguments", nargs="?", default="{}", help="a JSON object: the arguments by name")
    parser.add_argument("--stream", action="store_true", help="print the items of a streamed answer, one a line")
    parser.add_argument("--timeout", type=seconds, default=30.0, help="seconds to wait for the answer (default: 30)")
    args = parser.parse_args()
    # A mistake is told before anything is sent.
    try:
        (args.method or "").encode()
    except UnicodeEncodeError:
        misused("the name of the method is no UTF-8")
    try:
        arguments = object_of(args.arguments)
    except (ValueError, RecursionError) as error:
        misused(f"the arguments: {error}")
    try:
        client = Client(args.endpoint, args.timeout)
    except zmq.ZMQError as error:
        misused(f"cannot connect to {args.endpoint}: {error}")
    try:
        if args.method is None:
            tour(client)
        elif args.stream:
            for item in client.stream(args.method, **arguments):
                print(line(item), flush=True)
        else:
            print(line(client.call(args.method, **arguments)))
        sys.stdout.flush()
    except CallError as error:
        raise SystemExit(f"{error}" + (f"; details: {json.dumps(error.details)}" if error.details else ""))
    except BrokenPipeError:  # who reads has enough: there is nobody to tell, also at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise SystemExit(130)
    finally:
        client.close()


if __name__ == "__main__":
    main()
