"""Sends with bsread: numbers, arrays, a string, a bool, and a channel without a value.

Arguments: how many messages, compression of the data header, compression of the data ("-": not said). The first line
printed is where it sends.
"""

import sys

import numpy
from bsread import Sender

count = int(sys.argv[1])
header_compression, data_compression = (None if name == "-" else name for name in sys.argv[2:])
sender = Sender(
    port=0,
    address="tcp://127.0.0.1",
    data_header_compression=header_compression,
    data_compression=data_compression,
)
for name in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]:
    sender.add_channel(name, metadata={"type": name})
    sender.add_channel(name + "-array", metadata={"type": name, "shape": [3, 2]})
sender.add_channel("string", metadata={"type": "string"})
sender.add_channel("bool", metadata={"type": "bool"})
sender.add_channel("picture", metadata={"type": "uint16", "shape": [128, 64]})
sender.add_channel("none", metadata={"type": "float64"})
sender.open()
print(sender.stream.socket.last_endpoint.decode(), flush=True)
for pulse in range(count):
    data = {"string": "größe %d" % pulse, "bool": pulse % 2 == 1, "none": None}
    data["picture"] = numpy.arange(128 * 64, dtype="uint16").reshape(64, 128) + pulse
    for name in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]:
        data[name] = numpy.dtype(name).type(pulse)
        data[name + "-array"] = (numpy.arange(6) + pulse).astype(name).reshape(2, 3)
    sender.send(data=data, pulse_id=1000 + pulse, timestamp=(1_700_000_000, pulse))
sender.close()
