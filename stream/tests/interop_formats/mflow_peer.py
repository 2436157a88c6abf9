"""Receives with mflow's own handlers, says what it makes of each message, and forwards it with them.

Arguments: where to receive, how many messages. The first line printed is where it sends. A message whose header says
"stay" is not forwarded.
"""

import json
import sys

import mflow
import numpy


def plain(value):
    if isinstance(value, numpy.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": value.ravel().tolist()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(type(value))


source = mflow.connect(sys.argv[1], receive_timeout=20_000)
sink = mflow.connect("tcp://127.0.0.1:*", conn_type=mflow.BIND, mode=mflow.PUSH, linger=10_000)
print(sink.socket.last_endpoint.decode(), flush=True)
for _ in range(int(sys.argv[2])):
    message = source.receive()
    data = message.data
    print(json.dumps(data, default=plain), flush=True)
    if "stay" not in data["header"]:
        sink.forward(data)
sink.disconnect()
