"""MinHash signatures, compiled. The readable oracles are in tests/parity/test_kernel_minhash.py."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import mixed

_MOST = np.uint64(0xFFFFFFFFFFFFFFFF)
_PRIME, _61 = np.uint64((1 << 61) - 1), np.uint64(61)


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
def mersenne_signatures(hashed, bounds, multipliers, offsets, mask, out):
    """The same of `(hash * multiplier + offset mod 2^64) mod (2^61 - 1)`, of which `mask` keeps some bits: datatrove's
    permutations (transforms.dedup.datatrove)."""
    for row in range(len(bounds) - 1):
        some = hashed[bounds[row] : bounds[row + 1]]
        if len(some):
            _mersenne_minima(some, multipliers, offsets, mask, out[row])


@entry_point
def band_keys(signed, per_band, keys):
    """128-bit keys of bands of `per_band` minima into `keys`, uint64 [rows, bands, 2]; signed: uint64 [rows, bands *
    per_band]."""
    for row in range(len(signed)):
        for band in range(keys.shape[1]):
            one = other = np.uint64(0)
            for k in range(band * per_band, (band + 1) * per_band):
                one = mixed(one + signed[row, k])
                other = mixed(other ^ signed[row, k])
            keys[row, band, 0] = one
            keys[row, band, 1] = other


@kernel
def _minima(hashed, multipliers, offsets, out):
    for k in range(len(multipliers)):
        least = _MOST
        multiplier, offset = multipliers[k], offsets[k]
        for at in range(len(hashed)):
            least = min(least, hashed[at] * multiplier + offset)
        out[k] = least


@kernel
def _mersenne_minima(hashed, multipliers, offsets, mask, out):
    for k in range(len(multipliers)):
        least = _MOST
        multiplier, offset = multipliers[k], offsets[k]
        for at in range(len(hashed)):
            value = hashed[at] * multiplier + offset
            value = (value & _PRIME) + (value >> _61)  # at most _PRIME + 7
            value = value - _PRIME if value >= _PRIME else value
            least = min(least, value & mask)
        out[k] = least
