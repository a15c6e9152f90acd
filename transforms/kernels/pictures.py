"""How much two small pictures are alike, compiled. The readable oracles are in tests/parity/test_kernel_pictures.py.

One is laid over the other (transforms.kernels.registration): that undoes crops, frames, small turns and other exposure.
Then they are compared window by window, as SSIM does (Wang et al. 2004) but for luminance, and by their colours.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.registration import MIN_OVERLAP, align

#: sides of a thumbnail's luminance, and of each of its two planes of colour (Cb, Cr; 128 is grey)
SIDE = 96
COLOUR_SIDE = 24
#: contrast (standard deviation, of 256 levels) below which a window, or a picture's colour, shows nothing
FLAT = 3.0
#: the share of windows that may be less alike than the similarity says: a banner, a watermark
SPARED = 0.25
#: the same of what is left of a window without the means of its rows and columns, and the least share of the variance
#: on the one side that the other must have left
FLAT_BESIDE = 6.0
MIN_BESIDE = 0.25
_WINDOW = 12
_STRIDE = 6
#: found so much alike as they are, a pair is not looked at closer
_ALIKE = 0.97


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

    A window counts by its correlation, by what it shows beside stripes where that is less, and less where one side has
    under half of the contrast that the other has, after the gain of the pictures (the median of the windows'). Windows
    in which both are flat say nothing; pictures that have too little in common, or no window that says anything, are
    not alike: 0.
    """
    side = len(a)
    over = warped(a, place, 1.0)
    count = side * side - np.isnan(over).sum()
    area = abs(place[0] * place[4] - place[1] * place[3])
    if count < MIN_OVERLAP * side * side or count * area < MIN_OVERLAP * side * side:
        return 0.0
    moments = np.empty(((side // _STRIDE) ** 2, 4))
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
                moments[seen, 3] = _beside_stripes(over, b, top, left)
                seen += 1
                if min(aa, bb) >= flat:
                    ratios[both] = bb / aa
                    both += 1
    if not both:
        return 0.0
    gain = np.median(ratios[:both])
    alike = np.zeros(seen)
    for k in range(seen):
        aa, bb, ab, beside = moments[k]
        if ab > 0.0 and min(aa, bb) > 1e-6:
            contrast = np.sqrt(min(gain * aa, bb) / max(gain * aa, bb))
            alike[k] = min(1.0, 2.0 * contrast) * min(ab / np.sqrt(aa * bb), beside)
    return min(1.0, np.sort(alike)[int(SPARED * seen)])


@kernel
def _beside_stripes(a, b, top, left):
    """The root of the correlation of what two windows show beside the means of their rows and columns; 1 when either
    shows too little. Lines of text are stripes in a thumbnail, whatever they say, and stripes are all alike."""
    one, two = np.zeros((_WINDOW, _WINDOW)), np.zeros((_WINDOW, _WINDOW))
    for y in range(_WINDOW):
        for x in range(_WINDOW):
            one[y, x], two[y, x] = a[top + y, left + x], b[top + y, left + x]
    _without_means(one)
    _without_means(two)
    aa = bb = ab = 0.0
    for y in range(_WINDOW):
        for x in range(_WINDOW):
            aa += one[y, x] * one[y, x]
            bb += two[y, x] * two[y, x]
            ab += one[y, x] * two[y, x]
    if max(aa, bb) < _WINDOW * _WINDOW * FLAT_BESIDE * FLAT_BESIDE or min(aa, bb) < MIN_BESIDE * max(aa, bb):
        return 1.0
    return max(0.0, ab / np.sqrt(aa * bb)) ** 0.5


@kernel
def _without_means(window):
    """Takes the means of its rows, then of its columns, from a window [12, 12]."""
    for turn in range(2):
        for y in range(_WINDOW):
            total = 0.0
            for x in range(_WINDOW):
                total += window[y, x] if turn == 0 else window[x, y]
            for x in range(_WINDOW):
                if turn == 0:
                    window[y, x] -= total / _WINDOW
                else:
                    window[x, y] -= total / _WINDOW


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
