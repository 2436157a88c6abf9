#!/usr/bin/env python3
"""Records what a real libzmq says on the wire, for the tests beside this file.

    pip install pyzmq==27.3.0        (its wheels carry libzmq 4.3.5)
    python3 record.py                (rewrites the .hex files in this directory)

Every file is one connection between a libzmq socket ("lib") and a script that plays the other side over a bare TCP
socket ("raw"). A line is a key, a colon and a value; `lib` and `raw` are all bytes each side sent, in hex. The other
keys tell how libzmq was set up and what it was told to do, in order, so that a test can do the same.
"""

import pathlib
import socket
import struct
import threading
import time

import zmq
from zmq.auth.thread import ThreadAuthenticator

HERE = pathlib.Path(__file__).resolve().parent
PEER = {
    "PAIR": "PAIR", "PUB": "SUB", "SUB": "PUB", "REQ": "REP", "REP": "REQ", "DEALER": "ROUTER",
    "ROUTER": "DEALER", "PULL": "PUSH", "PUSH": "PULL", "XPUB": "SUB", "XSUB": "PUB",
}
CODE = {name: code for code, name in enumerate(
    ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"])}


def command(name, body=b""):
    body = bytes([len(name)]) + name + body
    if len(body) < 256:
        return bytes([4, len(body)]) + body
    return bytes([6]) + struct.pack(">Q", len(body)) + body


def properties(kind, *more):
    pairs = [(b"Socket-Type", kind.encode())]
    if kind in ("REQ", "DEALER", "ROUTER"):
        pairs.append((b"Identity", b""))
    pairs.extend(more)
    return b"".join(bytes([len(k)]) + k + struct.pack(">I", len(v)) + v for k, v in pairs)


def greeting(mechanism=b"NULL", minor=1):
    return b"\xff" + bytes(7) + b"\x01\x7f\x03" + bytes([minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def null(kind, minor=1, *more):
    return [greeting(minor=minor), command(b"READY", properties(PEER[kind], *more))]


class Recording:
    """One connection: libzmq on one end, us on the other."""

    def __init__(self, name, kind, raw, *, bind=True, options=(), actions=(), setup=None, until=None, auth=None):
        self.name, self.kind, self.raw, self.bind = name, kind, raw, bind
        self.options, self.actions, self.setup, self.until, self.auth = options, actions, setup, until, auth

    def run(self):
        context = zmq.Context()
        authenticator = None
        if self.auth:
            authenticator = ThreadAuthenticator(context)
            authenticator.start()
            authenticator.configure_plain(domain="*", passwords=self.auth)
        lib = context.socket(getattr(zmq, self.kind))
        lib.linger = 0
        if self.setup:
            self.setup(lib)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        if self.bind:
            port = lib.bind_to_random_port("tcp://127.0.0.1")
            raw = socket.create_connection(("127.0.0.1", port))
        else:
            lib.connect("tcp://127.0.0.1:%d" % listener.getsockname()[1])
            raw, _ = listener.accept()
        heard = bytearray()
        done = threading.Event()

        def listen():
            raw.settimeout(0.4)
            try:
                while not done.is_set():
                    chunk = raw.recv(65536)
                    if not chunk:
                        return
                    heard.extend(chunk)
            except (TimeoutError, ConnectionError):
                pass

        for number, part in enumerate(self.raw):
            raw.sendall(part)
            # Leave libzmq time to answer, so that the order of its answers does not depend on luck.
            time.sleep(0.05)
            if number + 1 == len(self.raw):
                time.sleep(0.1)
        for verb, value in self.actions:
            if verb == "send":
                lib.send_multipart(value, flags=zmq.DONTWAIT)
            elif verb == "subscribe":
                lib.setsockopt(zmq.SUBSCRIBE, value)
            elif verb == "cancel":
                lib.setsockopt(zmq.UNSUBSCRIBE, value)
            time.sleep(0.02)
        if self.until:
            raw.settimeout(5)
            while self.until not in heard:
                heard.extend(raw.recv(65536))
        else:
            listen()
        done.set()
        lines = [
            "# libzmq %s through pyzmq %s, recorded by record.py" % (zmq.zmq_version(), zmq.__version__),
            "type: %s" % self.kind,
            "peer: %s" % PEER[self.kind],
            "libzmq: %s" % ("binds" if self.bind else "connects"),
        ]
        lines += ["%s: %s" % option for option in self.options]
        for verb, value in self.actions:
            parts = value if isinstance(value, list) else [value]
            lines.append("%s: %s" % (verb, " ".join(part.hex() or "-" for part in parts)))
        lines.append("raw: %s" % b"".join(self.raw).hex())
        lines.append("lib: %s" % bytes(heard).hex())
        (HERE / (self.name + ".hex")).write_text("\n".join(lines) + "\n")
        raw.close()
        listener.close()
        lib.close()
        if authenticator:
            authenticator.stop()
        context.term()


def identity(name):
    return lambda lib: lib.setsockopt(zmq.ROUTING_ID, name)


def plain(lib):
    lib.plain_username = b"admin"
    lib.plain_password = b"secret"


def plain_server(lib):
    lib.plain_server = True


def heartbeat(lib):
    lib.heartbeat_ivl = 300
    lib.heartbeat_ttl = 2400
    lib.heartbeat_timeout = 5000


def metadata(lib):
    lib.setsockopt(zmq.METADATA, b"X-Colour:blue")


MESSAGES = [("send", [b"hello"]), ("send", [b""]), ("send", [b"a", b"", b"c" * 300]), ("send", [b"d" * 255]),
            ("send", [b"e" * 5000, b"f"])]
TOPICS = [("subscribe", b""), ("subscribe", b"weather"), ("subscribe", b"t" * 245), ("subscribe", b"u" * 246),
          ("cancel", b"weather")]
PLAIN_OPTIONS = (("mechanism", "plain-client"), ("username", "admin"), ("password", "secret"))
HELLO = command(b"HELLO", b"\x05admin\x06secret")


def v2(kind, routing_id=b""):
    return [b"\xff" + bytes(7) + b"\x01\x7f", bytes([1, CODE[PEER[kind]]]) + bytes([0, len(routing_id)]) + routing_id]


def v1(routing_id=b""):
    return [bytes([len(routing_id) + 1, 0]) + routing_id]


def v1_versioned(kind):
    return [b"\xff" + bytes(7) + b"\x01\x7f", bytes([0, CODE[PEER[kind]]]) + b"\x01\x00"]


def recordings():
    for kind in PEER:
        for bind in (True, False):
            name = "null-%s-%s" % (kind.lower(), "bind" if bind else "connect")
            yield Recording(name, kind, null(kind), bind=bind)
    me = (("routing-id", b"me".hex()),)
    yield Recording("null-dealer-named", "DEALER", null("DEALER", 1, (b"X-Shape", b"round")),
                    options=me + (("metadata", "X-Colour=blue"),),
                    setup=lambda lib: (identity(b"me")(lib), metadata(lib)))
    for label, raw in (("3.1", null("PUSH")), ("3.0", null("PUSH", 0)), ("2.0", v2("PUSH", b"you")),
                       ("1.0", v1(b"you")), ("1.0-versioned", v1_versioned("PUSH"))):
        yield Recording("messages-" + label, "PUSH", raw, actions=MESSAGES)
    for label, raw in (("3.1", null("SUB")), ("3.0", null("SUB", 0)), ("2.0", v2("SUB")), ("1.0", v1())):
        yield Recording("topics-" + label, "SUB", raw, bind=False, actions=TOPICS)
    for label, raw in (("2.0", v2("DEALER", b"you")), ("1.0", v1(b"you"))):
        yield Recording("routing-id-" + label, "DEALER", raw, options=me, setup=identity(b"me"),
                        actions=[("send", [b"x"])])
    yield Recording("ping", "DEALER", null("DEALER"), setup=heartbeat, until=b"PING\0\x18",
                    options=(("heartbeat-ttl-ms", "2400"),), actions=[("ping", b"")])
    yield Recording("pong", "DEALER", null("DEALER") + [command(b"PING", b"\0\0tick"),
                    command(b"PING", b"\0\0" + b"0123456789abcdefXYZ")])
    yield Recording("between-parts", "REP", null("REP") + [
        b"\x01\x00" + command(b"PING", b"\0\0mid") + b"\x00\x02hi"], actions=[])
    for bind in (True, False):
        side = "bind" if bind else "connect"
        yield Recording("plain-client-" + side, "DEALER",
                        [greeting(b"PLAIN"), command(b"WELCOME"), command(b"READY", properties("ROUTER"))],
                        bind=bind, options=PLAIN_OPTIONS, setup=plain, actions=[("send", [b"x"])])
        yield Recording("plain-server-" + side, "DEALER",
                        [greeting(b"PLAIN"), HELLO, command(b"INITIATE", properties("ROUTER"))],
                        bind=bind, options=(("mechanism", "plain-server"),), setup=plain_server,
                        auth={"admin": "secret"}, actions=[("send", [b"x"])])
    yield Recording("plain-server-denies", "DEALER", [greeting(b"PLAIN"), HELLO],
                    options=(("mechanism", "plain-server"), ("verdict", "400")), setup=plain_server,
                    auth={"admin": "other"})


if __name__ == "__main__":
    for recording in recordings():
        print(recording.name)
        recording.run()
