"""Products of vectors, compiled, in one order of summation: BLAS's depends on how many rows it is given, and on the
machine. The oracles are in tests/parity/test_kernel_vectors.py."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel


@kernel
def unit_vectors(vectors):
    """(vectors of length 1, float32 [rows, width]; which rows have one, bool [rows]): rows of zeros, and those with a
    NaN or infinity, have none. `vectors` float32 or float64 [rows, width]."""
    rows, width = vectors.shape
    out = np.zeros((rows, width), np.float32)
    good = np.zeros(rows, np.bool_)
    for row in range(rows):
        total = 0.0
        for k in range(width):
            value = np.float64(vectors[row, k])
            total += value * value
        if total > 0 and total < np.inf:
            length = np.sqrt(total)
            good[row] = True
            for k in range(width):
                out[row, k] = np.float64(vectors[row, k]) / length
    return out, good


@kernel
def products(vectors, columns):
    """vectors @ columns, float32 [rows, n], each summed over the width in order; float32 [rows, width], [width, n]."""
    rows, width = vectors.shape
    out = np.zeros((rows, columns.shape[1]), np.float32)
    for row in range(rows):
        into = out[row]
        for k in range(width):
            value = vectors[row, k]
            of = columns[k]
            for at in range(len(into)):
                into[at] += value * of[at]
    return out


@kernel
def nearest(similarity, count):
    """The `count` columns with the highest similarity of each row, best first, of equals the first: int64
    [rows, count]; similarity float32 [rows, n >= count]."""
    rows, n = similarity.shape
    out = np.empty((rows, count), np.int64)
    for row in range(rows):
        found = 0
        for column in range(n):
            value = similarity[row, column]
            place = found
            while place > 0 and similarity[row, out[row, place - 1]] < value:
                place -= 1
            if place < count:
                found = min(found + 1, count)
                for k in range(found - 1, place, -1):
                    out[row, k] = out[row, k - 1]
                out[row, place] = column
    return out


@kernel
def cosines(vectors, first, second):
    """Products of unit vectors first[k] and second[k] in [-1, 1], float64 [k]; vectors float32 [rows, width]."""
    out = np.empty(len(first), np.float64)
    for k in range(len(first)):
        total = 0.0
        for at in range(vectors.shape[1]):
            total += np.float64(vectors[first[k], at]) * np.float64(vectors[second[k], at])
        out[k] = min(1.0, max(-1.0, total))
    return out
