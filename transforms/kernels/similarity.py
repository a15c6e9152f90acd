"""Similarities of sets, compiled: rows of a ragged array of sorted distinct numbers. The oracles are numpy's set
operations (tests/unit/test_dedup_steps.py)."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import entry_point, kernel

#: buckets of more values than this are left to numpy's sort
_FEW = 16


@entry_point
def sorted_distinct(values, bounds):
    """(every row's distinct values, ascending; their bounds int64 [rows + 1]); values uint64, bounds int64."""
    made = np.empty(len(values), np.uint64)
    ends = np.zeros(len(bounds), np.int64)
    starts = np.empty(1, np.int64)
    count = 0
    for row in range(len(bounds) - 1):
        given = values[bounds[row] : bounds[row + 1]]
        ordered = made[count : count + len(given)]
        bits = _bits(len(given))
        if 1 << bits >= len(starts):
            starts = np.empty((1 << bits) + 1, np.int64)
        _sort(given, bits, starts, ordered)
        first = count
        for value in ordered:  # the distinct ones move up in the same memory
            if count == first or value != made[count - 1]:
                made[count] = value
                count += 1
        ends[row + 1] = count
    return made[:count], ends


@kernel
def _bits(size):
    """So many leading bits make a bucket for each of `size` values, or two."""
    bits = 0
    while bits < 32 and 1 << bits < size:
        bits += 1
    return bits


@kernel
def _sort(values, bits, starts, ordered):
    """Sorts into `ordered` by leading bits, and then within buckets: a bucket of hashes, which are spread evenly, holds
    a value or two. starts: int64 with room for 2^bits + 1."""
    shift = np.uint64(64 - bits)
    starts[: (1 << bits) + 1] = 0
    for value in values:
        starts[_bucket(value, bits, shift) + 1] += 1
    for bucket in range(1 << bits):
        starts[bucket + 1] += starts[bucket]
    for value in values:
        bucket = _bucket(value, bits, shift)
        ordered[starts[bucket]] = value
        starts[bucket] += 1
    start = 0
    for bucket in range(1 << bits):  # starts[bucket] is now where it ends
        stop = starts[bucket]
        if stop - start > _FEW:
            ordered[start:stop] = np.sort(ordered[start:stop])
        else:
            for at in range(start + 1, stop):
                value = ordered[at]
                while at > start and ordered[at - 1] > value:
                    ordered[at] = ordered[at - 1]
                    at -= 1
                ordered[at] = value
        start = stop


@kernel
def _bucket(value, bits, shift):
    return np.int64(value >> shift) if bits else 0


@entry_point
def overlaps(values, bounds, first, second, containment):
    """Similarity of the sets in rows first[k] and second[k], float64 [k]: Jaccard, or with `containment` the share of
    the second's members that are in the first. Empty sets are like nothing: 0."""
    out = np.zeros(len(first), np.float64)
    for k in range(len(first)):
        a, a_stop = bounds[first[k]], bounds[first[k] + 1]
        b, b_stop = bounds[second[k]], bounds[second[k] + 1]
        shared = _shared(values[a:a_stop], values[b:b_stop])
        whole = b_stop - b if containment else a_stop - a + b_stop - b - shared
        if whole > 0:
            out[k] = shared / whole
    return out


@kernel
def _shared(a, b):
    """How many members two sorted distinct arrays have in common."""
    count = i = j = 0
    while i < len(a) and j < len(b):
        one, other = a[i], b[j]
        # sums of comparisons, because which of the two is smaller is anybody's guess
        count += np.int64(one == other)
        i += np.int64(one <= other)
        j += np.int64(other <= one)
    return count
