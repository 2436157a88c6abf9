"""A pyzmq peer under remote control: one JSON command a line in, one JSON answer a line out.

A command names its operation in "op"; every other key is an argument. Binary values are hexadecimal text. A failed
command answers {"error": text, "kind": class, "errno": name or null}; the peer then goes on. Every wait has a
"timeout" in milliseconds. End of input ends the process without waiting for anything.
"""

import errno
import json
import os
import select
import sys
import threading
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

CONTEXT = zmq.Context()
CONTEXT.max_sockets = 4096
SOCKETS = {}
MONITORS = {}
AUTHENTICATOR = None


def hexed(message):
    return [bytes(part).hex() for part in message]


def unhexed(parts):
    return [bytes.fromhex(part) for part in parts]


def value(given):
    """Options are integers, or {"hex": ...} for bytes."""
    return bytes.fromhex(given["hex"]) if isinstance(given, dict) else given


def option(name):
    return getattr(zmq, name)


def flags_of(args):
    return sum(getattr(zmq, name) for name in args.get("flags", []))


def await_input(socket, timeout):
    if not socket.poll(timeout, zmq.POLLIN):
        raise TimeoutError(f"nothing came within {timeout} ms")


def numbered(number, size):
    """Eight bytes of number, then filling up to `size`."""
    return number.to_bytes(8, "big") + b"." * max(0, size - 8)


def op_socket(args):
    socket = CONTEXT.socket(option(args["type"]))
    socket.setsockopt(zmq.LINGER, 0)
    for name, given in args.get("options", {}).items():
        socket.setsockopt(option(name), value(given))
    SOCKETS[args["name"]] = socket


def op_bind(args):
    socket = SOCKETS[args["name"]]
    socket.bind(args["endpoint"])
    return {"endpoint": socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()}


def op_connect(args):
    SOCKETS[args["name"]].connect(args["endpoint"])


def op_unbind(args):
    SOCKETS[args["name"]].unbind(args["endpoint"])


def op_disconnect(args):
    SOCKETS[args["name"]].disconnect(args["endpoint"])


def op_send(args):
    """Sends one message, waiting for room up to the timeout; with flag DONTWAIT not at all."""
    socket = SOCKETS[args["name"]]
    flags = flags_of(args)
    if not flags & zmq.DONTWAIT:
        socket.setsockopt(zmq.SNDTIMEO, args["timeout"])
    socket.send_multipart(unhexed(args["parts"]), flags)


def op_send_numbered(args):
    """Sends `count` numbered messages from `first`, each after `prefix`, until one would wait past the timeout."""
    socket = SOCKETS[args["name"]]
    socket.setsockopt(zmq.SNDTIMEO, args["timeout"])
    prefix = unhexed(args.get("prefix", []))
    sent = 0
    try:
        for number in range(args["first"], args["first"] + args["count"]):
            socket.send_multipart(prefix + [numbered(number, args["size"])] * args.get("parts", 1))
            sent += 1
    except zmq.Again:
        pass
    return {"sent": sent}


def op_recv(args):
    """Receives `count` messages; with "properties" each comes with those of its connection."""
    socket = SOCKETS[args["name"]]
    deadline = time.monotonic() + args["timeout"] / 1000
    messages, properties = [], []
    while len(messages) < args.get("count", 1):
        await_input(socket, max(0, int((deadline - time.monotonic()) * 1000)))
        frames = socket.recv_multipart(zmq.DONTWAIT, copy=False)
        messages.append(hexed(frame.bytes for frame in frames))
        found = {}
        for name in args.get("properties", []):
            try:
                found[name] = frames[0].get(name)
            except zmq.ZMQError:
                found[name] = None
        properties.append(found)
    return {"messages": messages, "properties": properties}


def op_drain(args):
    """Receives until nothing comes for "idle" ms; answers the numbers at the start of each last part."""
    socket = SOCKETS[args["name"]]
    numbers = []
    while len(numbers) < args.get("most", 10_000_000) and socket.poll(args["idle"], zmq.POLLIN):
        parts = socket.recv_multipart(zmq.DONTWAIT)
        if len({bytes(part) for part in parts[args.get("skip", 0):]}) != 1:
            raise ValueError("a message was split or mixed")
        numbers.append(int.from_bytes(parts[-1][:8], "big"))
    return {"numbers": numbers}


def op_echo(args):
    """Answers `count` messages with themselves, with `suffix` after the last part."""
    socket = SOCKETS[args["name"]]
    for _ in range(args["count"]):
        await_input(socket, args["timeout"])
        parts = socket.recv_multipart()
        parts[-1] += bytes.fromhex(args.get("suffix", ""))
        socket.send_multipart(parts)


def op_serve(args):
    """Answers requests on all the named REP or ROUTER sockets, `count` in all; says who answered, in order."""
    poller = zmq.Poller()
    for name in args["names"]:
        poller.register(SOCKETS[name], zmq.POLLIN)
    served = []
    names = {SOCKETS[name]: name for name in args["names"]}
    while len(served) < args["count"]:
        ready = poller.poll(args["timeout"])
        if not ready:
            raise TimeoutError(f"no request within {args['timeout']} ms after {len(served)}")
        for socket, _ in ready:
            parts = socket.recv_multipart()
            socket.send_multipart(parts)
            served.append(names[socket])
    return {"served": served}


def op_setsockopt(args):
    SOCKETS[args["name"]].setsockopt(option(args["option"]), value(args["value"]))


def op_monitor(args):
    MONITORS[args["name"]] = SOCKETS[args["name"]].get_monitor_socket()


def op_event(args):
    """Waits for an event with this name; those before it are passed over."""
    monitor = MONITORS[args["name"]]
    deadline = time.monotonic() + args["timeout"] / 1000
    seen = []
    while True:
        left = max(0, int((deadline - time.monotonic()) * 1000))
        if not monitor.poll(left):
            raise TimeoutError(f"no {args['event']} within {args['timeout']} ms, only {seen}")
        event = recv_monitor_message(monitor)
        name = zmq.Event(event["event"]).name
        if name == args["event"]:
            return {"value": int(event["value"]), "endpoint": event["endpoint"].decode()}
        seen.append(name)


def op_zap(args):
    """Answers ZAP requests (RFC 27) in a thread: mechanism PLAIN with these users, anyone with NULL."""
    users = args["users"]
    handler = CONTEXT.socket(zmq.REP)
    handler.setsockopt(zmq.LINGER, 0)
    handler.bind("inproc://zeromq.zap.01")

    def answer():
        while True:
            try:
                version, sequence, _, _, _, mechanism, *credentials = handler.recv_multipart()
            except zmq.ZMQError:
                return
            good = True
            user = b""
            if mechanism == b"PLAIN":
                user, password = credentials
                good = users.get(user.decode()) == password.decode()
            status = [b"200", b"OK"] if good else [b"400", b"invalid credentials"]
            handler.send_multipart([version, sequence, *status, user if good else b"", b""])

    threading.Thread(target=answer, daemon=True).start()


def op_auth(args):
    """Starts pyzmq's own authenticator: CURVE with the public keys in a folder, PLAIN with these users."""
    from zmq.auth.thread import ThreadAuthenticator

    global AUTHENTICATOR
    AUTHENTICATOR = ThreadAuthenticator(CONTEXT)
    AUTHENTICATOR.start()
    AUTHENTICATOR.configure_curve(domain="*", location=args["folder"])
    AUTHENTICATOR.configure_plain(domain="*", passwords=args["users"])


def op_close(args):
    name = args["name"]
    if name in MONITORS:
        SOCKETS[name].disable_monitor()
        MONITORS.pop(name).close()
    SOCKETS.pop(name).close(linger=args.get("linger", 0))


def commands():
    """Commands as they come. In between, every socket is looked at, as an application with a poller would do:
    libzmq attaches connections to a bound socket only when its application calls."""
    pending = b""
    while True:
        while not select.select([sys.stdin], [], [], 0.005)[0]:
            for socket in SOCKETS.values():
                socket.getsockopt(zmq.EVENTS)
        piece = os.read(sys.stdin.fileno(), 1 << 20)
        if not piece:
            return
        *lines, pending = (pending + piece).split(b"\n")
        yield from map(json.loads, lines)


def main():
    for args in commands():
        if args["op"] == "quit":
            break
        try:
            answer = globals()["op_" + args["op"]](args) or {}
        except Exception as problem:  # whatever it is, the other side wants to hear of it
            number = getattr(problem, "errno", None)
            answer = {
                "error": str(problem),
                "kind": type(problem).__name__,
                "errno": errno.errorcode.get(number) or (zmq.Errno(number).name if number else None),
            }
        print(json.dumps(answer), flush=True)
    # Neither sockets nor threads are worth waiting for: the test is over.
    os._exit(0)


main()
