"""MinHash signatures, compiled. The readable oracles are in tests/parity/test_kernel_minhash.py."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import entry_point, kernel

_MOST = np.uint64(0xFFFFFFFFFFFFFFFF)


@entry_point
def signatures(hashed, bounds, multipliers, offsets, out):
    """Minima of `hash * multiplier + offset mod 2^64` into `out`, uint64 [rows, permutations]; rows without any hash
    are left.

    hashed: uint64, bounds: int64 [rows + 1]. Multipliers are odd, so each permutes the 64-bit numbers. Hashes are the
    inner loop: the minimum stays in registers, and the compiler makes vectors of it.
    """
    for row in range(len(bounds) - 1):
        some = hashed[bounds[row] : bounds[row + 1]]
        if len(some):
            _minima(some, multipliers, offsets, out[row])


@kernel
def _minima(hashed, multipliers, offsets, out):
    for k in range(len(multipliers)):
        least = _MOST
        multiplier, offset = multipliers[k], offsets[k]
        for at in range(len(hashed)):
            least = min(least, hashed[at] * multiplier + offset)
        out[k] = least
