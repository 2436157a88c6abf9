"""Receives with bsread and says what it makes of each message. Arguments: the port, how many messages."""

import json
import sys

import numpy
from bsread import PULL, Source


def plain(value):
    if isinstance(value, numpy.ndarray):
        return {"dtype": value.dtype.name, "shape": list(value.shape), "values": value.ravel().tolist()}
    if isinstance(value, numpy.generic):
        return value.item()
    raise TypeError(type(value))


with Source(host="127.0.0.1", port=int(sys.argv[1]), mode=PULL, receive_timeout=20_000) as stream:
    for _ in range(int(sys.argv[2])):
        data = stream.receive().data
        values = {
            name: [value.value, value.timestamp, value.timestamp_offset] for name, value in data.data.items()
        }
        seen = {
            "pulse_id": data.pulse_id,
            "time": [data.global_timestamp, data.global_timestamp_offset],
            "values": values,
        }
        print(json.dumps(seen, default=plain), flush=True)
