"""Runs of tokens straight from UTF-8: a sparse choice of short ones by which repeats are found, and all long ones
around them. The readable reference of the tokens is transforms.dedup.substrings.reference_tokens.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import MARK, SPACE, UNSPACED
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import SEED, mixed, step
from transforms.kernels.segments import SEED_2, decoded, step_2

#: of the polynomials that hash runs of tokens, modulo the prime 2^61 - 1: drawn once
_BASE = np.uint64(0x0A5F1C3D9E2B7481)
_BASE_2 = np.uint64(0x13C7E8A4D06B592F)
_PRIME = np.uint64((1 << 61) - 1)
_0, _1, _3, _30, _31, _61 = np.uint64(0), np.uint64(1), np.uint64(3), np.uint64(30), np.uint64(31), np.uint64(61)
_LOW_30 = np.uint64((1 << 30) - 1)
_LOW_31 = np.uint64((1 << 31) - 1)
_SENTINEL = 0xFFFC
_NO_TOKEN, _LETTER, _WORD = range(3)


@entry_point
def fingerprints(data, offsets, length, width, index, flags):
    """(row uint32 [n], spans uint32 [n, 2], hashes uint64 [n]) of some runs of `width` tokens, chosen by what they are:
    every run of `length` tokens holds one (winnowing: Schleimer, Wilkerson & Aiken 2003, section 3).

    data: uint8, offsets: int64 [rows + 1]. Of the length - width + 1 runs in such a one, the least hash is chosen, the
    last of equal ones: so equal runs of `length` tokens have their choice at the same place in them, and even those
    that overlap have two. Rows and spans, bytes of the row, ascend.
    """
    places = np.empty((1 << 12, 2), np.int64)
    hashes = np.empty((1 << 12, 2), np.uint64)
    sums = np.empty(1 << 12, np.uint64)
    row = np.empty(1 << 10, np.uint32)
    spans = np.empty((1 << 10, 2), np.uint32)
    found = np.empty(1 << 10, np.uint64)
    scale = _power(_BASE, width)
    count = 0
    for r in range(len(offsets) - 1):
        size = offsets[r + 1] - offsets[r]
        if size >= len(places):
            places, hashes, sums = _rooms(size)
        n = _tokens(data, offsets[r], offsets[r + 1], index, flags, places, hashes)
        stop = 0
        while stop < n:
            start, stop = stop, _run_end(places, stop, n)
            if stop - start >= length:
                _add_up(hashes, 0, start, stop, _BASE, sums)
                for at in range(start, stop - width + 1):  # in place: a sum is needed only once
                    sums[at] = mixed(_hash(sums, at, width, scale))
                best = -1
                for last in range(start + length - width, stop - width + 1):
                    if best < last - length + width:  # none is chosen among the last ones
                        best = _last_least(sums, last - length + width, last)
                    elif sums[last] <= sums[best]:
                        best = last
                    else:
                        continue
                    if count == len(row):
                        row, spans, found = _larger(row), _larger_spans(spans), _larger(found)
                    row[count], found[count] = r, sums[best]
                    spans[count, 0], spans[count, 1] = places[best, 0], places[best + width - 1, 1]
                    count += 1
            stop += 1  # past the break
    return row[:count], spans[:count], found[:count]


@kernel
def windows(data, offsets, length, width, wanted, index, flags):
    """(row uint32 [n], spans uint32 [n, 2], keys uint64 [n, 2]) of all runs of `length` tokens that hold a run of
    `width` whose hash, as `fingerprints` gives it, is one of `wanted`, uint64 ascending."""
    places = np.empty((1 << 12, 2), np.int64)
    hashes = np.empty((1 << 12, 2), np.uint64)
    sums = np.empty(1 << 12, np.uint64)
    row = np.empty(1 << 10, np.uint32)
    spans = np.empty((1 << 10, 2), np.uint32)
    keys = np.empty((1 << 10, 2), np.uint64)
    sums_2 = np.empty(1 << 12, np.uint64)
    scale = _power(_BASE, width)
    scales = _power(_BASE, length), _power(_BASE_2, length)
    count = 0
    for r in range(len(offsets) - 1):
        size = offsets[r + 1] - offsets[r]
        if size >= len(places):
            places, hashes, sums = _rooms(size)
            sums_2 = np.empty(len(sums), np.uint64)
        n = _tokens(data, offsets[r], offsets[r + 1], index, flags, places, hashes)
        stop = 0
        while stop < n:
            start, stop = stop, _run_end(places, stop, n)
            if stop - start >= length:
                _add_up(hashes, 0, start, stop, _BASE, sums)
                _add_up(hashes, 1, start, stop, _BASE_2, sums_2)
                done = start  # windows before it are out
                for at in range(start, stop - width + 1):
                    if not _is_one_of(mixed(_hash(sums, at, width, scale)), wanted):
                        continue
                    done = max(done, at + width - length)
                    while done <= min(at, stop - length):
                        if count == len(row):
                            row, spans, keys = _larger(row), _larger_spans(spans), _larger_spans(keys)
                        row[count] = r
                        spans[count, 0], spans[count, 1] = places[done, 0], places[done + length - 1, 1]
                        keys[count, 0] = mixed(_hash(sums, done, length, scales[0]))
                        keys[count, 1] = mixed(_hash(sums_2, done, length, scales[1]))
                        count += 1
                        done += 1
            stop += 1
    return row[:count], spans[:count], keys[:count]


@kernel
def _rooms(size):
    """Room for the tokens of a row of so many bytes: (places, hashes, sums)."""
    room = size + size // 4 + 2
    return np.empty((room, 2), np.int64), np.empty((room, 2), np.uint64), np.empty(room, np.uint64)


@kernel
def _larger(array):
    grown = np.empty(2 * len(array), array.dtype)
    grown[: len(array)] = array
    return grown


@kernel
def _larger_spans(array):
    grown = np.empty((2 * len(array), 2), array.dtype)
    grown[: len(array)] = array
    return grown


@kernel
def _tokens(data, begin, end, index, flags, places, hashes):
    """Fills in the tokens of data[begin:end]: `places`, bytes from `begin`, and two `hashes` of their code points.
    Gives their number. A media part is an entry that ends where it begins: no run goes over it."""
    n = 0
    at = begin
    inside = _NO_TOKEN
    first, second = SEED, SEED_2
    while at < end:
        code, size = decoded(data, at, end)
        kind = flags[np.int64(index[code >> 8]) << 8 | (code & 255)]
        if kind & SPACE:
            inside = _NO_TOKEN
        elif code == _SENTINEL:
            places[n, 0] = places[n, 1] = at - begin
            n += 1
            inside = _NO_TOKEN
        else:
            letter = kind & UNSPACED != 0
            if letter or inside == _NO_TOKEN or (inside == _LETTER and not kind & MARK):
                places[n, 0] = at - begin
                n += 1
                first, second = SEED, SEED_2
                inside = _LETTER if letter else _WORD
            first, second = step(first, np.uint64(code)), step_2(second, np.uint64(code))
            hashes[n - 1, 0], hashes[n - 1, 1] = first, second
            places[n - 1, 1] = at + size - begin
        at += size
    return n


@kernel
def _run_end(places, start, n):
    """Where a run of tokens without a media part ends."""
    stop = start
    while stop < n and places[stop, 1] > places[stop, 0]:
        stop += 1
    return stop


@kernel
def _add_up(hashes, which, start, stop, base, sums):
    """sums[k], k from start to stop, becomes the polynomial of the tokens before k."""
    total = _0
    for k in range(start, stop):
        sums[k] = total
        total = _modulo(_times(total, base) + (hashes[k, which] >> _3))
    sums[stop] = total


@kernel
def _hash(sums, at, width, scale):
    """The polynomial of the `width` tokens from `at` on; `scale` is its base to the power of `width`."""
    return _modulo(sums[at + width] + _PRIME - _times(sums[at], scale))


@kernel
def _last_least(values, first, last):
    """The last place of the least of values[first : last + 1]."""
    best = first
    for at in range(first + 1, last + 1):
        if values[at] <= values[best]:
            best = at
    return best


@kernel
def _is_one_of(value, ascending):
    """Whether a value is among some."""
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == value


@kernel
def _power(base, exponent):
    """base^exponent modulo the prime."""
    result = _1
    for _ in range(exponent):
        result = _times(result, base)
    return result


@kernel
def _times(a, b):
    """a b modulo 2^61 - 1, for both below it."""
    high_a, low_a, high_b, low_b = a >> _31, a & _LOW_31, b >> _31, b & _LOW_31
    middle = low_a * high_b + high_a * low_b
    return _modulo(((high_a * high_b) << _1) + (middle >> _30) + ((middle & _LOW_30) << _31) + low_a * low_b)


@kernel
def _modulo(x):
    """x modulo 2^61 - 1."""
    x = (x & _PRIME) + (x >> _61)
    return x - _PRIME if x >= _PRIME else x
