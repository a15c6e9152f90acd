"""Keys without false negatives: any two hashes within a Hamming radius share one.

The covering construction of Pagh (2016, "Locality-sensitive hashing without false negatives", SODA, §3). Every bit of
the hash is given a vector of radius + 1 bits, and every vector v other than 0 makes a key: of the bits whose vectors
have an odd product with v. The vectors of `radius` bits span a space that some v is orthogonal to, so whichever bits
two hashes differ in, one key has none of them. Each key holds half of the bits: keys of 32 bits, 2^(radius+1) - 1 of
them, where keys of the blocks that are left when `radius` of them are spoilt (Manku et al. 2007) would need 924 for as
many bits at radius 6.
"""

from __future__ import annotations

from functools import cache

import numpy as np

#: of the hashes
BITS = 64
MAX_RADIUS = 6


@cache
def masks(radius: int) -> np.ndarray:
    """The bits each key is made of, uint64 [2^(radius + 1) - 1]."""
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius {radius}: keys are made for 0 to {MAX_RADIUS}")
    count = 2 ** (radius + 1) - 1
    # Words of a simplex code over and over, or at the largest radius of the Reed-Muller code RM(1, 6): so that each key
    # holds half of the bits, one or two more or less.
    vectors = [at % count + 1 if count < BITS else BITS | at for at in range(BITS)]
    made = np.zeros(count, np.uint64)
    for key in range(count):
        held = (1 << at for at, vector in enumerate(vectors) if (vector & (key + 1)).bit_count() % 2)
        made[key] = sum(held)
    made.setflags(write=False)
    return made


def covering_keys(hashes: np.ndarray, radius: int) -> np.ndarray:
    """The keys of hashes uint64 [n], uint64 [n, 2^(radius + 1) - 1]: two are alike within a column only."""
    return hashes[:, None] & masks(radius)[None, :]
