"""The bits of a Bloom filter: which of them a key has, set and looked up; the readable reference is in tests/unit."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import mixed

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_6, _63, _0, _1 = np.uint64(6), np.uint64(63), np.uint64(0), np.uint64(1)


@kernel
def look_up(words, num_bits, num_hashes, keys, insert, found):
    """Whether each key, in order, has all of its bits set already, into `found`, bool [n]; with `insert` they are set
    before the next key is looked up.

    words: uint64 [ceil(num_bits / 64)] · keys: uint64 [n, 2]. The bits of a key are h1 + i h2 mod 2^64, i below
    `num_hashes` (Kirsch & Mitzenmacher 2006), scaled to `num_bits` by the high half of a product: a remainder would
    favour the low bits.
    """
    size = np.uint64(num_bits)
    for at in range(len(keys)):
        state = mixed(keys[at, 0])
        stride = mixed(keys[at, 1]) | _1
        every = True
        for _ in range(num_hashes):
            bit = high_half(state, size)
            word, mask = np.int64(bit >> _6), _1 << (bit & _63)
            if words[word] & mask == _0:
                every = False
                if not insert:
                    break
                words[word] |= mask
            state += stride
        found[at] = every


@kernel
def high_half(a, b):
    """The upper 64 bits of a product of two numbers of 64."""
    low_a, high_a, low_b, high_b = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = high_a * low_b + ((low_a * low_b) >> _HALF)
    return high_a * high_b + (middle >> _HALF) + ((low_a * high_b + (middle & _LOW)) >> _HALF)
