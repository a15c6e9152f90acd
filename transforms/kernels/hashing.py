"""Hashes that stand for strings in kernels, and the table that counts them.

Strings are compared by 64-bit hashes. Two different ones of a document collide with a chance of about 2^-64: some pair
of a million distinct n-grams with one of 3 in 10^8. `join` hashes (61 bits, polynomial, so that the hash of a
concatenation follows from its parts') collide with a chance of at most length / 2^61 a pair.
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

_PRIME = np.uint64((1 << 61) - 1)
_BASE = np.uint64(0x1C6EF372FE94F82B & ((1 << 61) - 1))
_LOW_32 = np.uint64(0xFFFFFFFF)
_LOW_29 = np.uint64((1 << 29) - 1)
_29 = np.uint64(29)
_61 = np.uint64(61)
_3 = np.uint64(3)
_1 = np.uint64(1)
_TOP_BIT = np.uint64(1 << 63)


@kernel
def step(state, value):
    """One code point, or one word's hash, into a hash."""
    state = (state ^ value) * FACTOR
    return state ^ (state >> _HALF)


@kernel
def hash_codes(codes, start, stop):
    """Hash of codes[start:stop]."""
    state = SEED
    for at in range(start, stop):
        state = step(state, np.uint64(codes[at]))
    return state


@kernel
def multiply(a, b):
    """a * b modulo 2^61 - 1, of numbers below it."""
    a_high, a_low = a >> _HALF, a & _LOW_32
    b_high, b_low = b >> _HALF, b & _LOW_32
    middle = a_high * b_low + a_low * b_high
    low = a_low * b_low
    total = ((a_high * b_high) << _3) + (middle >> _29) + ((middle & _LOW_29) << _HALF) + (low >> _61) + (low & _PRIME)
    total = (total & _PRIME) + (total >> _61)
    return total - _PRIME if total >= _PRIME else total


@kernel
def add(a, b):
    """a + b modulo 2^61 - 1, of numbers below it."""
    total = a + b
    return total - _PRIME if total >= _PRIME else total


@kernel
def join_hash(codes, start, stop):
    """(polynomial hash of codes[start:stop], the factor that makes room for so many): join = a * factor_b + b."""
    value, factor = np.uint64(0), _1
    for at in range(start, stop):
        value = add(multiply(value, _BASE), np.uint64(codes[at]) + _1)
        factor = multiply(factor, _BASE)
    return value, factor


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
