"""The affine map that lays one picture over another, compiled. The oracles are in tests/parity/test_kernel_pictures.py.

It is found by least squares on a pyramid, together with the gain and offset of luminance (Lucas and Kanade 1981; Bergen
et al. 1992).
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

#: smallest share of either picture that must lie over the other
MIN_OVERLAP = 0.6
#: so little explained by an affine map on the coarse levels, a pair is not looked at closer
_UNLIKE = 0.85
#: how large the one is in the other, and where (shares of the side): whole, cropped or framed, or cut at one side
_STARTS = np.array(
    [
        (1.0, 1.0, 0.0, 0.0),
        (0.85, 0.85, 0.0, 0.0),
        (1 / 0.85, 1 / 0.85, 0.0, 0.0),
        (1.0, 0.9, 0.0, 0.05),
        (1.0, 0.9, 0.0, -0.05),
        (0.9, 1.0, 0.05, 0.0),
        (0.9, 1.0, -0.05, 0.0),
        (1.0, 1 / 0.9, 0.0, 0.05),
        (1.0, 1 / 0.9, 0.0, -0.05),
        (1 / 0.9, 1.0, 0.05, 0.0),
        (1 / 0.9, 1.0, -0.05, 0.0),
    ]
)
#: how many of these are followed to the second level, and to the third
_CLOSER = 4
_CLOSEST = 2


@kernel
def align(a, b, place):
    """Puts the map from b's pixels to a's into `place`: x' = p0 x + p1 y + p2, y' = p3 x + p4 y + p5, from the middle.
    False when none was found that explains the one by the other."""
    half_a, half_b = halved(a), halved(b)
    small_a, small_b = halved(half_a), halved(half_b)
    tiny_a, tiny_b = halved(small_a), halved(small_b)
    tried = np.zeros((len(_STARTS), 6))
    left = np.empty(len(_STARTS))
    for k in range(len(_STARTS)):
        tried[k, 0], tried[k, 4] = _STARTS[k, 0], _STARTS[k, 1]
        tried[k, 2], tried[k, 5] = _STARTS[k, 2] * len(tiny_a), _STARTS[k, 3] * len(tiny_a)
        left[k] = _refine(tiny_a, tiny_b, tried[k], 6)
    left[0] = min(left[0], 1.0)  # as they are is always tried
    order = np.argsort(left)
    for at in range(len(_STARTS)):
        k = order[at]
        if left[k] < np.inf and (at < _CLOSER or k == 0):
            _double(tried[k])
            left[k] = _refine(small_a, small_b, tried[k], 8)
        else:
            left[k] = np.inf
    least = np.inf
    for k in np.argsort(left)[:_CLOSEST]:
        if left[k] <= _UNLIKE:
            _double(tried[k])
            residual = _refine(half_a, half_b, tried[k], 6)
            if residual < least:
                least = residual
                place[:] = tried[k]
    _double(place)
    return least <= _UNLIKE and _refine(a, b, place, 3) < np.inf


@kernel
def _double(place):
    """A map of one level as one of the next, where shifts are twice as many pixels."""
    place[2] *= 2.0
    place[5] *= 2.0


@kernel
def halved(picture):
    """Means of two by two pixels."""
    half = len(picture) // 2
    out = np.empty((half, half))
    for y in range(half):
        for x in range(half):
            above = picture[2 * y, 2 * x] + picture[2 * y, 2 * x + 1]
            out[y, x] = 0.25 * (above + picture[2 * y + 1, 2 * x] + picture[2 * y + 1, 2 * x + 1])
    return out


@kernel
def _refine(a, b, place, steps):
    """Improves the map in `place` by that many Gauss-Newton steps, while they do; returns the share of a's variance,
    where b lies over it, that b does not explain: infinite when too little lies over each other."""
    best = np.inf
    kept = place.copy()
    for step in range(steps + 1):
        normal, right, count, squares = _equations(a, b, place)
        if count < MIN_OVERLAP * a.size:
            break
        residual = _unexplained(normal, right, count, squares)
        if residual > best - 1e-4:
            if residual < best:
                best = residual
                kept[:] = place
            break
        best = residual
        kept[:] = place
        if step < steps:
            for i in range(8):
                normal[i, i] = normal[i, i] * 1.001 + 1e-6
            place += solved(normal, right)[:6]
    place[:] = kept
    return best


@kernel
def _equations(a, b, place):
    """The normal equations of a's change under the map, with gain and offset, against b: (float64 [8, 8], float64 [8],
    pixels of b that lie over a, sum of squares of a there)."""
    side = len(a)
    middle = (side - 1) / 2.0
    normal = np.zeros((8, 8))
    right = np.zeros(8)
    row = np.empty(8)
    count = 0
    squares = 0.0
    for y in range(side):
        v = y - middle
        for x in range(side):
            u = x - middle
            at_x = place[0] * u + place[1] * v + place[2] + middle
            at_y = place[3] * u + place[4] * v + place[5] + middle
            if at_x < 0.0 or at_x > side - 1.0 or at_y < 0.0 or at_y > side - 1.0:
                continue
            left, top = min(int(at_x), side - 2), min(int(at_y), side - 2)
            p, q = at_x - left, at_y - top
            one, two, three, four = a[top, left], a[top, left + 1], a[top + 1, left], a[top + 1, left + 1]
            value = (one * (1 - p) + two * p) * (1 - q) + (three * (1 - p) + four * p) * q
            across = (two - one) * (1 - q) + (four - three) * q
            down = (three - one) * (1 - p) + (four - two) * p
            row[0], row[1], row[2] = across * u, across * v, across
            row[3], row[4], row[5] = down * u, down * v, down
            row[6], row[7] = -b[y, x], -1.0
            for i in range(8):
                for j in range(i + 1):
                    normal[i, j] += row[i] * row[j]
                right[i] -= row[i] * value
            count += 1
            squares += value * value
    for i in range(8):
        for j in range(i):
            normal[j, i] = normal[i, j]
    return normal, right, count, squares


@kernel
def solved(matrix, right):
    """x of matrix x = right, float64 [n], of a positive definite matrix, float64 [n, n], by Cholesky's factors.

    numba's np.linalg would need scipy, whose LAPACK adds up in an order that depends on the machine's processor.
    """
    n = len(right)
    lower = np.zeros((n, n))
    x = np.empty(n)
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
        x[i] = right[i]
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    return x


@kernel
def _unexplained(normal, right, count, squares):
    """1 - r^2 of a and b where they lie over each other, and 1 when one is the other's negative."""
    b_sum, a_sum = normal[6, 7], right[7]
    a_spread, b_spread = squares - a_sum * a_sum / count, normal[6, 6] - b_sum * b_sum / count
    covariance = right[6] - a_sum * b_sum / count
    if a_spread <= 1e-9 or b_spread <= 1e-9 or covariance <= 0.0:
        return 1.0
    return 1.0 - covariance * covariance / (a_spread * b_spread)
