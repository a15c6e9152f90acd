"""Hashes that stand for strings in kernels, and the table that counts them.

Strings are compared by 64-bit hashes. Two different ones of a document collide with a chance of about 2^-64: some pair
of a million distinct n-grams with one of 3 in 10^8.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

#: of the hash of a word; transforms.dedup.shingles uses it too
SEED = np.uint64(0x243F6A8885A308D3)
FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_1 = np.uint64(1)


@kernel
def step(state, value):
    """One code point, or one word's hash, into a hash."""
    state = (state ^ value) * FACTOR
    return state ^ (state >> _HALF)


@kernel
def mixed(x):
    """splitmix64's finaliser: every bit depends on every bit."""
    x = x + FACTOR
    x = (x ^ (x >> _30)) * _MIX_1
    x = (x ^ (x >> _27)) * _MIX_2
    return x ^ (x >> _31)


@kernel
def hash_codes(codes, start, stop):
    """Hash of codes[start:stop]."""
    state = SEED
    for at in range(start, stop):
        state = step(state, np.uint64(codes[at]))
    return state


@kernel
def table_size(entries):
    """Slots of a table that holds so many entries: a power of two, at most half full."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@kernel
def slot_of(keys, size, key):
    """The slot of `key` (never 0, which marks an empty one), or the empty one where it belongs."""
    mask = size - 1
    slot = np.int64((key * FACTOR) >> np.uint64(20)) & mask
    while keys[slot] != np.uint64(0) and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def as_key(value):
    """A 64-bit hash as a table key."""
    return value if value != np.uint64(0) else _1
