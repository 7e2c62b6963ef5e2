"""What astropy.stats.sigma_clip makes of lines: python3 tests/it/clip.py JOBS SAMPLES OUT

JOBS is text, a job a line: dtype n lines lower upper rounds center spread; rounds 0 is until nothing changes.
SAMPLES are the lines of all jobs, little-endian, one after the other. OUT becomes, line after line,
n bytes of 1 for masked or 0, then the bounds, low and high, as little-endian float64.
"""

import sys
import warnings

import astropy
import numpy as np
from astropy.stats import SigmaClip

warnings.simplefilter("ignore")
jobs, samples, out = sys.argv[1:]
if astropy.__version__.split(".")[0] != "8":
    sys.exit(f"astropy is {astropy.__version__}, and 8 is what is compared with")
with open(samples, "rb") as samples, open(out, "wb") as out:
    for job in open(jobs):
        dtype, n, lines, lower, upper, rounds, center, spread = job.split()
        n, lines, rounds = int(n), int(lines), int(rounds)
        dtype = np.dtype(dtype).newbyteorder("<")
        data = np.frombuffer(samples.read(n * lines * dtype.itemsize), dtype).reshape(lines, n)
        clip = SigmaClip(sigma_lower=float(lower), sigma_upper=float(upper), maxiters=rounds or None,
                         cenfunc=center, stdfunc=spread)
        clipped, low, high = clip(data.astype(dtype.newbyteorder("=")), axis=1, return_bounds=True)
        mask = np.broadcast_to(np.ma.getmaskarray(clipped), data.shape)
        for line in range(lines):
            out.write(mask[line].astype("u1").tobytes())
            out.write(np.array([low[line], high[line]], "<f8").tobytes())
