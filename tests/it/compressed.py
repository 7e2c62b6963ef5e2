"""Makes tile-compressed images, and beside each the samples that astropy reads from it.

    python3 compressed.py kept FOLDER     the files of testdata/fz, and their checksums
    python3 compressed.py many FOLDER     some hundred, with NAME.raw (little-endian)
"""

import itertools
import os
import sys
import warnings
import zlib

import numpy as np
from astropy.io import fits

warnings.simplefilter("ignore")
kind, folder = sys.argv[1:]


def little(samples):
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def make(name, samples, **how):
    """False where astropy refuses to compress so."""
    path = f"{folder}/{name}.fits.fz"
    try:
        fits.CompImageHDU(samples, **how).writeto(path, overwrite=True)
    except (KeyError, ValueError):
        if os.path.exists(path):
            os.remove(path)
        return False
    found = little(fits.getdata(path, 1))
    if kind == "many":
        open(f"{folder}/{name}.raw", "wb").write(found)
    else:
        print(f'("{name}", "{samples.dtype.name}", 0x{zlib.crc32(found):08x}),')
    return True


def kept():
    x, y = np.meshgrid(np.arange(37), np.arange(45))
    v = 7 * x + 31 * y
    noisy = 100 + v / 50 + np.sin(v * v % 1009)
    noisy[3] = 5
    noisy[::4, ::3] = 0
    noisy[1::6, ::5] = np.nan
    make("rice-uint8", (v % 256).astype("u1"), compression_type="RICE_1")
    boxes = {"tile_shape": (10, 17)}
    make("rice-boxes-int16", (v - 500).astype("i2"), compression_type="RICE_1", **boxes)
    make("rice-int32", ((v - 500) * 70000).astype("i4"), compression_type="RICE_1")
    make("gzip1-uint16", (v + 40000).astype("u2"), compression_type="GZIP_1")
    how = {"compression_type": "GZIP_2", "quantize_level": 0}
    make("gzip2-boxes-float64", np.where(v % 9, v / 8, np.nan), **how, **boxes)
    make("gzip2-int64", v.astype("i8") << 40, compression_type="GZIP_2")
    make("plio-int16", np.where(v % 5, 0, v % 97).astype("i2"), compression_type="PLIO_1")
    how = {"compression_type": "HCOMPRESS_1"}
    make("hcompress-int16", (v - 500).astype("i2"), **how)
    how = how | {"hcomp_scale": 9, "hcomp_smooth": 1}
    make("hcompress-smooth-int32", (v * v % 99 + v).astype("i4"), tile_shape=(45, 37), **how)
    how = {"compression_type": "RICE_1", "quantize_level": 2.0}
    make("dither1-float32", noisy.astype("f4"), quantize_method=1, dither_seed=9990, **how)
    make("dither2-float32", noisy.astype("f4"), quantize_method=2, dither_seed=7, **how)
    how["compression_type"] = "GZIP_1"
    make("plain-float64", noisy, quantize_method=-1, **how, **boxes)


def many():
    rng = np.random.default_rng(5)
    shapes = [(37, 45), (1500,), (5, 23, 31)]
    codes = ["RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1"]
    n_made = 0
    for number, shape, code in itertools.product(range(4), shapes, codes):
        tile = [None, shape, tuple((n + 2) // 3 for n in shape), (1,) * (len(shape) - 1) + (5,)]
        tile = tile[number]
        base = 100 + 30 * np.sin(np.indices(shape).sum(0) / 9) + rng.normal(0, 4, shape)
        # Half of the types with each way to cut tiles.
        for dtype in [["u1", "u2", "i4"], ["i1", "i2", "u4"]][number % 2]:
            samples = base * (0.6 if dtype[1] == "1" else int(dtype[1]) ** 3)
            samples = np.where(samples > samples.mean(), samples, 0) if code == "PLIO_1" else samples
            samples = samples.astype("i8").astype(dtype)
            name = f"{number}-{len(shape)}-{code}-{dtype}"
            for scale, smooth in [(0, 0), (6, 0), (6, 1)] if code == "HCOMPRESS_1" else [(0, 0)]:
                how = {"hcomp_scale": scale, "hcomp_smooth": smooth}
                name = f"{number}-{len(shape)}-{code}-{dtype}-{scale}-{smooth}"
                n_made += make(name, samples, compression_type=code, tile_shape=tile, **how)
        for dtype, level, method in itertools.product(["f4", "f8"], [0, 8], [-1, 1, 2]):
            if (dtype == "f8") == (number % 2 == 0) and method != 1:
                continue
            samples = base.astype(dtype)
            samples.flat[::31] = 0
            samples.flat[7::53] = np.nan
            if (level == 0 and (method > 0 or code[0] != "G")) or code == "PLIO_1":
                continue
            how = {"quantize_level": level, "quantize_method": method, "dither_seed": 1 + n_made}
            name = f"{number}-{len(shape)}-{code}-{dtype}-{level}-{method}"
            n_made += make(name, samples, compression_type=code, tile_shape=tile, **how)
    print(n_made)


{"kept": kept, "many": many}[kind]()
