"""Holds the reader of docs/python.md against a golden cube, and against NumPy's indexing.

    reader_numpy.py READER.py CUBE EXPECTED.json
"""

import importlib.util
import json
import sys

import numpy as np

spec = importlib.util.spec_from_file_location("reader", sys.argv[1])
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)
cube = reader.Cube(sys.argv[2])
with open(sys.argv[3]) as file:
    expected = json.load(file)

assert list(cube.shape[::-1]) == expected["shape"], cube.shape
assert cube.catalog["dtype"] == expected["dtype"]
array = cube[tuple(slice(None) for _ in cube.shape)]
assert array.shape == cube.shape and array.dtype == cube.dtype
digits = 2 * cube.dtype.itemsize
bits = array.reshape(-1, array.shape[-1]).view(cube.bits) if array.size else []
rows = [" ".join("%0*x" % (digits, value) for value in row) for row in bits]
assert rows == expected["rows"], "samples differ"
if array.size:
    for key in [(0,), (-1,), (slice(None, None, -2),), (0, slice(1, 3), 0), (slice(None), 0, -1),
                (..., 0), (0, ...), (..., slice(0, 2), -1), ...]:
        found, wanted = cube[key], array[key]
        assert found.shape == wanted.shape, (key, found.shape, wanted.shape)
        assert found.tobytes() == wanted.tobytes(), key
    assert np.asarray(cube).tobytes() == array.tobytes() and cube.ndim == array.ndim
    first = next(cube.frames())
    assert len(first["cards"]) % 80 == 0 and first["frame"] == 0
assert sum(1 for _ in cube.frames()) == expected.get("records", cube.catalog["next_frame"])
