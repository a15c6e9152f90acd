"""Similarities of sets, compiled: rows of a ragged array of sorted distinct numbers. The oracles are numpy's set
operations (tests/unit/test_dedup_steps.py)."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import entry_point, kernel


@entry_point
def sorted_distinct(values, bounds):
    """(every row's distinct values, ascending; their bounds int64 [rows + 1]); values uint64, bounds int64."""
    made = np.empty(len(values), np.uint64)
    ends = np.zeros(len(bounds), np.int64)
    count = 0
    for row in range(len(bounds) - 1):
        ordered = np.sort(values[bounds[row] : bounds[row + 1]])
        for k in range(len(ordered)):
            if k == 0 or ordered[k] != ordered[k - 1]:
                made[count] = ordered[k]
                count += 1
        ends[row + 1] = count
    return made[:count], ends


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
    count = at = 0
    for value in a:
        while at < len(b) and b[at] < value:
            at += 1
        if at == len(b):
            break
        if b[at] == value:
            count += 1
            at += 1
    return count
