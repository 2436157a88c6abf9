"""A pyzmq socket behind the arguments of `flexbond socket`, as far as the tests need them."""
import argparse
import json
import os
import sys

import zmq

parser = argparse.ArgumentParser()
parser.add_argument("pattern")
parser.add_argument("--bind")
parser.add_argument("--connect")
parser.add_argument("--subscribe", action="append", default=[])
parser.add_argument("--routing-id")
parser.add_argument("--recv", type=int)
parser.add_argument("--print-endpoint", action="store_true")
parser.add_argument("--echo", action="store_true")
parser.add_argument("--username")
parser.add_argument("--password")
args = parser.parse_args()

context = zmq.Context()
socket = context.socket(getattr(zmq, args.pattern))
socket.linger = 10_000
if args.routing_id:
    socket.routing_id = args.routing_id.encode()
if args.username:
    socket.plain_username = args.username.encode()
    socket.plain_password = args.password.encode()
if args.pattern == "SUB":
    for topic in args.subscribe or [""]:
        socket.subscribe(topic)
if args.bind:
    socket.bind(args.bind)
    if args.print_endpoint:
        print(socket.last_endpoint.decode(), flush=True)
if args.connect:
    socket.connect(args.connect)
if args.pattern == "XSUB":
    for topic in args.subscribe:
        socket.send(b"\x01" + topic.encode())


def encode(part):
    try:
        return part.decode()
    except UnicodeDecodeError:
        return {"hex": part.hex()}


def decode(part):
    return bytes.fromhex(part["hex"]) if isinstance(part, dict) else part.encode()


sends = args.pattern not in ("PULL", "SUB") and not args.echo
receives = args.pattern not in ("PUSH", "PUB")
# REQ and REP take turns; the others do both at any time.
turn = {"REQ": "send", "REP": "receive"}.get(args.pattern)
received = 0
text = b""
ended = False
while not (args.recv and received >= args.recv and (args.pattern != "REP" or turn == "receive")):
    if sends and turn != "receive" and b"\n" in text:
        line, text = text.split(b"\n", 1)
        socket.send_multipart([decode(part) for part in json.loads(line)])
        if turn:
            turn = "receive"
        continue
    if ended and (not args.recv or turn == "send") and not (args.pattern == "REQ" and turn == "receive"):
        break
    poller = zmq.Poller()
    if receives and turn != "send":
        poller.register(socket, zmq.POLLIN)
    if sends and turn != "receive" and not ended:
        poller.register(0, zmq.POLLIN)
    for ready, _ in poller.poll():
        if ready == 0:
            chunk = os.read(0, 65536)
            text += chunk
            ended = not chunk
        else:
            message = socket.recv_multipart()
            received += 1
            print(json.dumps([encode(part) for part in message], ensure_ascii=False), flush=True)
            if args.echo:
                socket.send_multipart(message)
            elif turn:
                turn = "send"
socket.close()
context.term()
