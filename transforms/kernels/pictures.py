"""How much two small pictures are alike, compiled. The readable oracles are in tests/parity/test_kernel_pictures.py.

One is laid over the other by an affine map, found by least squares on a pyramid together with the gain and offset of
its luminance (Lucas and Kanade 1981; Bergen et al. 1992): that undoes crops, frames, small turns and other exposure.
Then they are compared window by window, as SSIM does (Wang et al. 2004) but for luminance, and by their colours.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

#: sides of a thumbnail's luminance, and of each of its two planes of colour (Cb, Cr; 128 is grey)
SIDE = 96
COLOUR_SIDE = 24
#: smallest share of either picture that must lie over the other
MIN_OVERLAP = 0.6
#: contrast (standard deviation, of 256 levels) below which a window, or a picture's colour, shows nothing
FLAT = 3.0
#: the share of windows that may be less alike than the similarity says: a banner, a watermark
SPARED = 0.25
_WINDOW = 12
_STRIDE = 6
#: found so much alike, or so little explained by an affine map on the coarse levels, a pair is not looked at closer
_ALIKE = 0.97
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
def likeness(thumbnails, first, second, mirrored):
    """Similarity of thumbnails first[k] and second[k], float64 [k], 0 to 1; thumbnails uint8 [n, bytes] are luminance
    and two planes of colour, row by row. With `mirrored`, that of the second's mirror image where it is higher."""
    out = np.empty(len(first), np.float64)
    for k in range(len(first)):
        a, a_colours = _planes(thumbnails[first[k]])
        b, b_colours = _planes(thumbnails[second[k]])
        out[k] = similarity(a, a_colours, b, b_colours)
        if mirrored:
            turned = similarity(a, a_colours, b[:, ::-1].copy(), b_colours[:, :, ::-1].copy())
            out[k] = max(out[k], turned)
    return out


@kernel
def _planes(thumbnail):
    """(luminance float64 [96, 96], colours float64 [2, 24, 24], 0 is grey) of a thumbnail's bytes."""
    values = thumbnail.astype(np.float64)
    shade = values[: SIDE * SIDE].copy().reshape(SIDE, SIDE)
    return shade, values[SIDE * SIDE :].copy().reshape(2, COLOUR_SIDE, COLOUR_SIDE) - 128.0


@kernel
def similarity(a, a_colours, b, b_colours):
    """The lower of the likenesses of detail and of colour, where b lies over a: as they are, or laid over."""
    place = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    as_they_are = min(detail(a, b, place), colour(a_colours, b_colours, place))
    if as_they_are >= _ALIKE or not align(a, b, place):
        return as_they_are
    return max(as_they_are, min(detail(a, b, place), colour(a_colours, b_colours, place)))


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
            place += np.linalg.solve(normal, right)[:6]
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
def _unexplained(normal, right, count, squares):
    """1 - r^2 of a and b where they lie over each other, and 1 when one is the other's negative."""
    b_sum, a_sum = normal[6, 7], right[7]
    a_spread, b_spread = squares - a_sum * a_sum / count, normal[6, 6] - b_sum * b_sum / count
    covariance = right[6] - a_sum * b_sum / count
    if a_spread <= 1e-9 or b_spread <= 1e-9 or covariance <= 0.0:
        return 1.0
    return 1.0 - covariance * covariance / (a_spread * b_spread)


@kernel
def warped(a, place, scale):
    """a as b's pixels see it; NaN where they lie beside it. `scale` is a's size in that of the map's picture."""
    side = len(a)
    middle = (side - 1) / 2.0
    out = np.full((side, side), np.nan)
    for y in range(side):
        v = y - middle
        for x in range(side):
            u = x - middle
            at_x = place[0] * u + place[1] * v + place[2] * scale + middle
            at_y = place[3] * u + place[4] * v + place[5] * scale + middle
            if at_x < -0.5 or at_x > side - 0.5 or at_y < -0.5 or at_y > side - 0.5:
                continue
            at_x, at_y = min(max(at_x, 0.0), side - 1.0), min(max(at_y, 0.0), side - 1.0)
            left, top = min(int(at_x), side - 2), min(int(at_y), side - 2)
            p, q = at_x - left, at_y - top
            above = a[top, left] * (1 - p) + a[top, left + 1] * p
            out[y, x] = above * (1 - q) + (a[top + 1, left] * (1 - p) + a[top + 1, left + 1] * p) * q
    return out


@kernel
def detail(a, b, place):
    """How much the windows of b and what they lie over are alike: the quartile that three quarters reach.

    A window counts by its correlation, and less where one side has under half of the contrast that the other has, after
    the gain of the pictures (the median of the windows'). Windows in which both are flat say nothing; pictures that
    have too little in common, or no window that says anything, are not alike: 0.
    """
    side = len(a)
    over = warped(a, place, 1.0)
    count = side * side - np.isnan(over).sum()
    area = abs(place[0] * place[4] - place[1] * place[3])
    if count < MIN_OVERLAP * side * side or count * area < MIN_OVERLAP * side * side:
        return 0.0
    moments = np.empty(((side // _STRIDE) ** 2, 3))
    ratios = np.empty(len(moments))
    seen = both = 0
    n = _WINDOW * _WINDOW
    flat = FLAT * FLAT
    for top in range(0, side - _WINDOW + 1, _STRIDE):
        for left in range(0, side - _WINDOW + 1, _STRIDE):
            a_sum = b_sum = aa = bb = ab = 0.0
            for y in range(top, top + _WINDOW):
                for x in range(left, left + _WINDOW):
                    one, two = over[y, x], b[y, x]
                    a_sum += one
                    b_sum += two
                    aa += one * one
                    bb += two * two
                    ab += one * two
            if np.isnan(a_sum):
                continue
            aa, bb, ab = (aa - a_sum * a_sum / n) / n, (bb - b_sum * b_sum / n) / n, (ab - a_sum * b_sum / n) / n
            if max(aa, bb) >= flat:
                moments[seen, 0], moments[seen, 1], moments[seen, 2] = aa, bb, ab
                seen += 1
                if min(aa, bb) >= flat:
                    ratios[both] = bb / aa
                    both += 1
    if not both:
        return 0.0
    gain = np.median(ratios[:both])
    alike = np.zeros(seen)
    for k in range(seen):
        aa, bb, ab = moments[k]
        if ab > 0.0 and min(aa, bb) > 1e-6:
            contrast = np.sqrt(min(gain * aa, bb) / max(gain * aa, bb))
            alike[k] = min(1.0, 2.0 * contrast) * ab / np.sqrt(aa * bb)
    return min(1.0, np.sort(alike)[int(SPARED * seen)])


@kernel
def colour(a, b, place):
    """The cosine of b's colours and what they lie over, taken as vectors from grey; 1 when either is grey: a picture
    and its copy in grey are alike. Colours float64 [2, 24, 24]."""
    aa = bb = ab = 0.0
    count = 0
    for plane in range(2):
        over = warped(a[plane], place, COLOUR_SIDE / SIDE)
        for y in range(COLOUR_SIDE):
            for x in range(COLOUR_SIDE):
                one, two = over[y, x], b[plane, y, x]
                if not np.isnan(one):
                    aa += one * one
                    bb += two * two
                    ab += one * two
                    count += 1
    if min(aa, bb) <= count * FLAT * FLAT:
        return 1.0
    return max(0.0, ab / np.sqrt(aa * bb))
