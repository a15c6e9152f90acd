"""MinHash signatures, compiled. The readable oracle is in tests/parity/test_minhash.py."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def signature(shingles: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Minima of `shingle * multiplier + offset mod 2^64`, uint64 [permutations]; shingles uint64 [n > 0].

    Multipliers are odd, so each permutes the 64-bit numbers. The permutations are the inner loop, over arrays that
    stay in cache, which vectorises.
    """
    minima = np.full(len(multipliers), np.uint64(0xFFFFFFFFFFFFFFFF))
    for shingle in shingles:
        for k in range(len(multipliers)):
            value = shingle * multipliers[k] + offsets[k]
            if value < minima[k]:
                minima[k] = value
    return minima
