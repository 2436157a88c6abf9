"""Answers calls of flexbond-rpc clients: pyzmq, json and struct are enough; numpy is for arrays only.

    python server.py [--bind tcp://127.0.0.1:0]

The line "listening at tcp://..." says where to call:

    flexbond call tcp://127.0.0.1:PORT add '{"a": 1, "b": 2}'
    flexbond call tcp://127.0.0.1:PORT count '{"n": 3}' --stream

A message has these frames: a header of 24 bytes, the method's name (in calls only), the body (here JSON), metadata if
a flag says so, and raw buffers, which the body names by number: {"$buffer": 0}. A client may write the first three as
one frame: the header, the length of the name in one byte, the name, the body. The socket, a ROUTER, has the caller's
address in front of these.
"""
import argparse
import inspect
import json
import struct
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
STREAM, METADATA, UPLOADS = 1, 4, 8  # flags: a stream is wanted; there is metadata; arguments follow as a stream


class Failure(Exception):
    """What a function raises to fail a call: a code and a message for the caller, and details if it likes."""

    def __init__(self, code, message, details=None, kind="failed"):
        super().__init__(message)
        self.code, self.message, self.details, self.kind = code, message, details, kind


def check(is_right, message):
    """What only the function can see of its arguments."""
    if not is_right:
        raise Failure(0, message, kind="bad_arguments")


def is_integer(thing):
    return type(thing) is int  # a bool would be one, too, but is none to the caller


def add(a, b):
    """adds numbers or arrays"""
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            raise Failure(1, f"{len(a)} and {len(b)} numbers do not go together")
        return [add(*pair) for pair in zip(a, b)]
    numbers = (int, float) if numpy is None else (int, float, numpy.ndarray)
    for name, thing in ("a", a), ("b", b):
        check(isinstance(thing, numbers), f"add: {name} is neither a number nor an array, but {type(thing).__name__}")
    try:
        return a + b
    except TypeError as error:  # arrays of texts, for instance
        raise Failure(0, f"add: {error}", kind="bad_arguments")
    except (ValueError, OverflowError) as error:  # shapes that differ, an integer too large for a fraction
        raise Failure(1, str(error))


def echo(value=None):
    """answers what it gets"""
    return value


def fail(code, message):
    """fails with this code and message"""
    check(is_integer(code) and -2**63 <= code < 2**63, "fail: code is no integer of 64 bits")
    check(isinstance(message, str), "fail: message is no text")
    raise Failure(code, message, details={"raised by": "server.py"})


def count(n):
    """counts from 0 to n - 1"""
    check(is_integer(n), "count: n is no integer")
    yield from range(n)


class Server:
    """Functions by name. They run one after the other; a generator is a stream, and takes turns with everything else."""

    def __init__(self, *functions):
        self.functions = {function.__name__: function for function in functions}
        self.functions["flexbond.methods"] = self.methods
        self.functions["flexbond.health"] = lambda: "serving"
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 1000
        self.socket.heartbeat_ivl = 10_000
        self.streams = {}  # (peer, call): [generator, items that may be sent, items sent, deadline]

    def methods(self):
        return [
            {
                "name": name,
                "signature": str(inspect.signature(function)),
                "description": (inspect.getdoc(function) or "").split("\n")[0],
                "streams": inspect.isgeneratorfunction(function),
                "uploads": False,
            }
            for name, function in sorted(self.functions.items())
        ]

    def run(self):
        while True:
            ready = [key for key, stream in self.streams.items() if stream[1] > 0]
            # Streams with nothing to do still have deadlines.
            if self.socket.poll(0 if ready else 100 if self.streams else None):
                peer, *frames = self.socket.recv_multipart()
                self.handle(peer, frames)
            for key in ready:
                self.advance(key)
            for key in [key for key, stream in self.streams.items() if time.monotonic() > stream[3]]:
                self.streams.pop(key)[0].close()
                self.fail(*key, Failure(0, "the deadline passed", kind="deadline_exceeded"))

    def handle(self, peer, frames):
        try:
            first, *rest = frames
            version, kind, codec, flags, count, call, left = HEADER.unpack_from(first)
        except (ValueError, struct.error):
            return  # not even a header: nobody to answer
        deadline = time.monotonic() + left / 1e6 if left else float("inf")
        try:
            if version != 1:
                raise Failure(0, f"envelope version {version} is not known here", kind="malformed")
            if len(first) > HEADER.size:  # header, name and body are one frame
                end = HEADER.size + 1 + first[HEADER.size]
                name, body = first[HEADER.size + 1:end], first[end:]
            elif len(rest) >= 2:
                name, body, *rest = rest
            else:
                raise Failure(0, f"{len(frames)} frames where three are needed", kind="malformed")
            if flags & METADATA:
                rest = rest[1:]
            if kind in (REQUEST, ONE_WAY):
                try:
                    name = name.decode()
                except UnicodeDecodeError:
                    raise Failure(0, "the name of the method is no UTF-8", kind="malformed")
                answer = self.answer(name, codec, flags, body, rest)
                if kind == ONE_WAY:
                    return
                if inspect.isgenerator(answer):
                    self.streams[peer, call] = [answer, count, 0, deadline]
                elif time.monotonic() > deadline:
                    raise Failure(0, "the deadline passed", kind="deadline_exceeded")
                else:
                    self.send(peer, RESPONSE, call, answer)
            elif kind == CREDIT and (peer, call) in self.streams:
                self.streams[peer, call][1] += count
            elif kind == CANCEL and (peer, call) in self.streams:
                self.streams.pop((peer, call))[0].close()
            elif kind == PING:
                self.send(peer, PONG, call)
        except Failure as failure:
            if kind == REQUEST or failure.kind == "malformed":
                self.fail(peer, call, failure)
        except Exception as error:  # the function's own; the server lives on
            if kind == REQUEST:
                self.fail(peer, call, Failure(0, f"{type(error).__name__}: {error}", kind="panicked"))

    def answer(self, name, codec, flags, body, buffers):
        function = self.functions.get(name)
        if function is None:
            message = f"there is no method {name}: flexbond.methods lists those that there are"
            raise Failure(0, message, kind="unknown_method")
        if codec != JSON:
            raise Failure(0, f"codec {codec} is not known here: use JSON", kind="bad_arguments")
        if flags & UPLOADS:
            raise Failure(0, f"{name} takes no stream of arguments", kind="bad_arguments")
        if inspect.isgeneratorfunction(function) and not flags & STREAM:
            raise Failure(0, f"{name} answers with a stream: ask for a stream", kind="bad_arguments")
        try:
            arguments = decode(body, buffers)
            # Arguments by name, in order, or none.
            named = arguments if isinstance(arguments, dict) else {}
            positional = () if arguments is None or named is arguments else arguments
            positional = positional if isinstance(positional, list) else [positional] if positional != () else ()
            bound = inspect.signature(function).bind(*positional, **named)
        except (TypeError, ValueError, IndexError, RecursionError) as error:
            raise Failure(0, f"{name}: {error}", kind="bad_arguments")
        return function(*bound.args, **bound.kwargs)

    def advance(self, key):
        """Sends the next item of a stream, or its end."""
        stream = self.streams.get(key)
        if stream is None:
            return
        try:
            self.send(key[0], ITEM, key[1], next(stream[0]), stream[2])
            stream[1] -= 1
            stream[2] += 1
        except StopIteration:
            del self.streams[key]
            self.send(key[0], END, key[1], count=stream[2])
        except Failure as failure:
            del self.streams[key]
            self.fail(*key, failure)
        except Exception as error:
            del self.streams[key]
            self.fail(*key, Failure(0, f"{type(error).__name__}: {error}", kind="panicked"))

    def send(self, peer, kind, call, value=None, count=0):
        body, buffers = encode(value) if kind in (RESPONSE, ITEM) else (b"", [])
        header = HEADER.pack(1, kind, JSON, 0, count, call, 0)
        self.socket.send_multipart([peer, header, b"", body, *buffers])

    def fail(self, peer, call, failure):
        error = {"kind": failure.kind, "code": failure.code, "message": failure.message}
        details = [] if failure.details is None else [json.dumps(failure.details).encode()]
        header = HEADER.pack(1, ERROR, JSON, 0, 0, call, 0)
        self.socket.send_multipart([peer, header, b"", json.dumps(error).encode(), *details])


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
        raise TypeError(f"{type(thing).__name__} cannot be an answer")

    try:
        return json.dumps(value, default=beside, allow_nan=False).encode(), buffers
    except ValueError:
        raise Failure(2, "the answer has a NaN or an infinity, which JSON has not: an array of numpy may")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bind", default="tcp://127.0.0.1:0", help="tcp://host:port or ipc:///path")
    args = parser.parse_args()
    server = Server(add, echo, fail, count)
    try:
        server.socket.bind(args.bind)
    except zmq.ZMQError as error:
        raise SystemExit(f"server.py: cannot bind {args.bind}: {error}")
    print("listening at", server.socket.last_endpoint.decode(), flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
