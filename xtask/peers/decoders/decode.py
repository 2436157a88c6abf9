# bitshuffle's C code in two of its Python packages as a bench peer: one part, decompressed again and again.
#
# decode.py bitshuffle|hdf5plugin ELEMENT PIXELS PART SECONDS
#
# Both packages bring the library compiled; it is called directly, so that neither pays for HDF5 or for new memory: one
# thread, the same part, the same output again and again, as `peer-flexbond-stream decode` has it.
import ctypes
import json
import os
import sys
import time

# Before the library is loaded, which asks only then.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np


def library(name):
    """The C library of a package, and which vectors it was compiled for."""
    if name == "bitshuffle":
        import bitshuffle
        import bitshuffle.ext

        sets = [s for s in ("AVX512", "AVX2", "SSE2", "NEON") if getattr(bitshuffle, "using_" + s, bool)()]
        return ctypes.CDLL(bitshuffle.ext.__file__), sets
    import hdf5plugin

    build = hdf5plugin.get_config().build_config
    sets = [s.upper() for s in ("avx512", "avx2", "ssse3", "sse2") if getattr(build, s)]
    return ctypes.CDLL(os.path.join(hdf5plugin.PLUGIN_PATH, "libh5bshuf.so")), sets


def main():
    name, element, pixels, part, seconds = sys.argv[1:]
    element, seconds = int(element), float(seconds)
    library_, sets = library(name)
    decompress = library_.bshuf_decompress_lz4
    decompress.restype = ctypes.c_int64
    decompress.argtypes = [ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_size_t] * 3
    pixels = np.fromfile(pixels, dtype=np.uint8)
    part = np.fromfile(part, dtype=np.uint8)
    # The header: bytes of data, bytes of a block.
    assert int.from_bytes(part[:8].tobytes(), "big") == pixels.size, "the header is not that of the pixels"
    block = int.from_bytes(part[8:12].tobytes(), "big") // element
    out = np.zeros_like(pixels)
    words = (part.ctypes.data + 12, out.ctypes.data, pixels.size // element, element, block)
    used = decompress(*words)
    if used != part.size - 12 or not np.array_equal(out, pixels):
        print(json.dumps({"error": f"the pixels are wrong ({used} of {part.size - 12} bytes used)"}))
        return
    frames, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        decompress(*words)
        frames += 1
    print(json.dumps({"frames": frames, "seconds": time.perf_counter() - begin, "vectors": sets}))


main()
