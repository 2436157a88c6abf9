"""Packs images with the libraries that others use, and unpacks what comes back. The argument is where to send."""

import json
import struct
import sys

import bitshuffle
import lz4.block
import numpy
import zmq

socket = zmq.Context().socket(zmq.PUSH)
socket.connect(sys.argv[1])


def total(what, pixels):
    octets = numpy.frombuffer(pixels.tobytes(), "uint8").astype("uint64")
    numbers = numpy.arange(1, octets.size + 1, dtype="uint64") % 65_521
    print(*what, int((octets * numbers).sum()), flush=True)


for element in ["uint8", "uint16", "uint32"]:
    for rows, columns in [(64, 128), (514, 1030), (3, 5), (1, 7)]:
        pixels = (numpy.arange(rows * columns) * 7 % 251).astype(element).reshape(rows, columns)
        size = pixels.dtype.itemsize
        for framing in ["lz4", "bslz4", "bare"]:
            what = (element, "%dx%d" % (rows, columns), framing)
            if framing == "lz4":
                encoding = "lz4<"
                data = lz4.block.compress(pixels.tobytes(), store_size=False)
            else:
                encoding = "bs%d-lz4<" % (8 * size)
                block = 8192 // size
                head = struct.pack(">QI", pixels.nbytes, block * size) if framing == "bslz4" else b""
                data = head + bitshuffle.compress_lz4(pixels, block).tobytes()
            parts = [
                {"htype": "dimage-1.0", "series": 1, "frame": 1, "hash": ""},
                {"htype": "dimage_d-1.0", "shape": [columns, rows], "type": element, "encoding": encoding,
                 "size": len(data)},
                data,
                {"htype": "dconfig-1.0", "start_time": 0, "stop_time": 0, "real_time": 0},
            ]
            socket.send_multipart([part if part is data else json.dumps(part).encode() for part in parts])
            total(what, pixels)
            back = bytes.fromhex(sys.stdin.readline().strip())
            if framing == "lz4":
                unpacked = lz4.block.decompress(back, uncompressed_size=pixels.nbytes)
            else:
                length, block_bytes = struct.unpack(">QI", back[:12])
                assert length == pixels.nbytes, (length, pixels.nbytes)
                unpacked = bitshuffle.decompress_lz4(
                    numpy.frombuffer(back[12:], "uint8"), pixels.shape, pixels.dtype, block_bytes // size
                )
            total(what, numpy.frombuffer(bytes(unpacked), element))
