"""Perceptual hashes of a picture and of views of it: parts, and what is left without its margins."""

from __future__ import annotations

import numpy as np
from PIL import Image

#: side of what is hashed, and of the low frequencies that are kept of it, as in imagehash
SIDE = 32
_KEPT = 8
#: windows that are compared with each other, whichever they are of, as shares of the sides: left, top, right, bottom.
#: One picture's window is the other one's whole when the other was cropped; those of a framed one are found inside.
_WINDOWS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.05, 0.05, 0.95, 0.95),
    (0.1, 0.1, 0.9, 0.9),
    (0.1, 0.0, 1.0, 1.0),
    (0.0, 0.1, 1.0, 1.0),
    (0.0, 0.0, 0.9, 1.0),
    (0.0, 0.0, 1.0, 0.9),
)
#: the same of what lies within the margins
_WITHIN = ((0.0, 0.0, 1.0, 1.0), (0.05, 0.05, 0.95, 0.95))
#: regions that are compared with the same region only: one of them is often free of a banner or a watermark
_REGIONS = ((0.0, 0.0, 2 / 3, 2 / 3), (1 / 3, 1 / 3, 1.0, 1.0))
WINDOWS = len(_WINDOWS) + len(_WITHIN)
REGIONS = len(_REGIONS)
#: lines at the edge that vary by no more than this many levels of 256, the lightest and the darkest twentieth of their
#: pixels aside, are margin
_MARGIN_LEVELS = 12.0
_MAX_MARGIN = 0.25

_COSINES = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(_KEPT), 2 * np.arange(SIDE) + 1))
_BIT = np.uint64(1) << np.arange(_KEPT * _KEPT - 1, -1, -1, dtype=np.uint64)
#: signs of the terms of the mirrored picture
_MIRROR = np.where(np.arange(_KEPT) % 2, -1.0, 1.0)


def low_frequencies(squares: np.ndarray) -> np.ndarray:
    """The first 8 x 8 terms of the DCT-II of pictures [n, 32, 32], scaled as scipy's: float64 [n, 8, 8].

    Rounded, so that terms which are 0 are 0 in any order of addition.
    """
    return np.round(4.0 * (_COSINES @ squares.astype(np.float64) @ _COSINES.T), 6)


def phash(terms: np.ndarray) -> np.ndarray:
    """64-bit hashes of low frequencies [n, 8, 8], uint64 [n]: which terms lie above their median, the first one first.

    Equal to `imagehash.phash` (ImageHash 4.3) of the picture that the terms are of, as a number (Krawetz 2011, "Looks
    like it", with the median of all 64 terms in place of the mean).
    """
    flat = terms.reshape(len(terms), -1)
    above = flat > np.median(flat, axis=1, keepdims=True)
    hashed: np.ndarray = (above * _BIT).sum(axis=1, dtype=np.uint64)
    return hashed


def mirrored(terms: np.ndarray) -> np.ndarray:
    """The low frequencies of the pictures with left and right in each other's place."""
    return terms * _MIRROR


def strong_terms(terms: np.ndarray, levels: float) -> np.ndarray:
    """How many of the 63 terms other than the mean have an amplitude of `levels` of 256 or more, int64 [n]."""
    strong: np.ndarray = (np.abs(terms) / SIDE**2 >= levels).reshape(len(terms), -1).sum(axis=1)
    return strong - (np.abs(terms[:, 0, 0]) / SIDE**2 >= levels)


def squares(image: Image.Image, *, views: bool) -> np.ndarray:
    """What is hashed of a picture in luminance (mode L), uint8 [1 or WINDOWS + REGIONS, 32, 32]: all of it, resized as
    imagehash does, then, with `views`, its other windows and its regions."""
    whole = (0.0, 0.0, float(image.width), float(image.height))
    boxes = [whole]
    if views:
        inner = _margins(image)
        boxes = [_part(whole, part) for part in _WINDOWS]
        boxes += [_part(inner, part) for part in _WITHIN]
        boxes += [_part(whole, part) for part in _REGIONS]
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)) for box in boxes])


def _part(box: tuple[float, ...], share: tuple[float, ...]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return left + width * share[0], top + height * share[1], left + width * share[2], top + height * share[3]


def _margins(image: Image.Image) -> tuple[float, float, float, float]:
    """The box within the margins: uniform lines at the edges, of a quarter of the side at most."""
    pixels = np.asarray(image)
    height, width = pixels.shape
    top, bottom = _uniform(pixels)
    left, right = _uniform(pixels[top : height - bottom].T)
    return float(left), float(top), float(width - right), float(height - bottom)


def _uniform(lines: np.ndarray) -> tuple[int, int]:
    """How many lines at the beginning and at the end are uniform, a quarter of them at most each."""
    most = int(len(lines) * _MAX_MARGIN)
    return _run(lines[:most]), _run(lines[::-1][:most])


def _run(lines: np.ndarray) -> int:
    for at, line in enumerate(lines):
        ordered = np.sort(line)
        spared = len(line) // 20
        if float(ordered[len(line) - 1 - spared]) - float(ordered[spared]) > _MARGIN_LEVELS:
            return at
    return len(lines)
