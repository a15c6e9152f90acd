"""The kernels that compare pictures against plain numpy, and pHash against what imagehash says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import photo
from transforms import kernels
from transforms.image.phash import low_frequencies, mirrored, phash, squares
from transforms.kernels.pictures import (
    COLOUR_SIDE,
    FLAT,
    FLAT_BESIDE,
    MIN_BESIDE,
    SIDE,
    SPARED,
    colour,
    detail,
    warped,
)
from transforms.kernels.registration import MIN_OVERLAP, align, halved, solved

STILL = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
PLACES = [STILL, np.array([0.9, 0.02, 1.5, -0.03, 0.95, -2.25]), np.array([1.15, 0.0, 0.0, 0.05, 1.1, 3.0])]


def thumbnail(seed: int) -> np.ndarray:
    return np.asarray(photo(seed).convert("L").resize((SIDE, SIDE)), float)


def plain_warped(a: np.ndarray, place: np.ndarray, scale: float) -> np.ndarray:
    """Bilinear interpolation between four pixels; half a pixel beyond the edge the edge counts."""
    side = len(a)
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side] - middle
    at_x = place[0] * x + place[1] * y + place[2] * scale + middle
    at_y = place[3] * x + place[4] * y + place[5] * scale + middle
    beside = (at_x < -0.5) | (at_x > side - 0.5) | (at_y < -0.5) | (at_y > side - 0.5)
    at_x, at_y = np.clip(at_x, 0, side - 1), np.clip(at_y, 0, side - 1)
    left, top = np.minimum(at_x.astype(int), side - 2), np.minimum(at_y.astype(int), side - 2)
    p, q = at_x - left, at_y - top
    above = a[top, left] * (1 - p) + a[top, left + 1] * p
    below = a[top + 1, left] * (1 - p) + a[top + 1, left + 1] * p
    return np.where(beside, np.nan, above * (1 - q) + below * q)


def plain_beside(one: np.ndarray, two: np.ndarray) -> float:
    one, two = (w - w.mean(0) - w.mean(1, keepdims=True) + w.mean() for w in (one, two))
    if max(one.std(), two.std()) < FLAT_BESIDE or min(one.var(), two.var()) < MIN_BESIDE * max(one.var(), two.var()):
        return 1.0
    return float(max(0.0, (one * two).mean() / (one.std() * two.std()))) ** 0.5


def plain_detail(a: np.ndarray, b: np.ndarray, place: np.ndarray) -> float:
    over = plain_warped(a, place, 1.0)
    share = np.isfinite(over).mean()
    if min(share, share * abs(place[0] * place[4] - place[1] * place[3])) < MIN_OVERLAP:
        return 0.0
    pairs = []
    for top in range(0, SIDE - 11, 6):
        for left in range(0, SIDE - 11, 6):
            one, two = over[top : top + 12, left : left + 12], b[top : top + 12, left : left + 12]
            if np.isfinite(one).all() and max(one.std(), two.std()) >= FLAT:
                shared = ((one - one.mean()) * (two - two.mean())).mean()
                pairs.append((one.std(), two.std(), shared, plain_beside(one, two)))
    both = [two / one for one, two, *_ in pairs if min(one, two) >= FLAT]
    if not both:
        return 0.0
    gain = np.median(np.square(both)) ** 0.5
    alike = [
        min(max(0.0, shared) / (one * two), beside) * min(1.0, 2 * min(gain * one, two) / max(gain * one, two))
        if min(one, two) > 1e-3
        else 0.0
        for one, two, shared, beside in pairs
    ]
    return sorted(alike)[int(SPARED * len(alike))]


@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_laid_over_each_other_as_numpy_does(place: np.ndarray) -> None:
    a, b = thumbnail(1), thumbnail(2) * 0.7 + 20
    np.testing.assert_allclose(warped(a, place, 1.0), plain_warped(a, place, 1.0), rtol=0, atol=1e-9)
    for other in (b, a * 0.5 + 30, np.where(np.mgrid[:SIDE, :SIDE][0] < 30, 128.0, a)):
        assert detail(a, other, place) == pytest.approx(plain_detail(a, other, place), abs=1e-9)


def test_halves_are_means() -> None:
    a = thumbnail(3)
    np.testing.assert_allclose(halved(a), a.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3)), rtol=0, atol=1e-9)


def test_equations_are_solved_as_lapack_does() -> None:
    rows = np.random.default_rng(5).normal(size=(50, 8)) * 10.0 ** np.arange(-4, 4)
    normal, right = rows.T @ rows, rows.T @ np.arange(50.0)
    normal[np.diag_indices(8)] *= 1.001
    np.testing.assert_allclose(solved(normal, right), np.linalg.solve(normal, right), rtol=1e-9)


def test_no_kernel_needs_scipy() -> None:
    """numba hands np.linalg on to scipy's LAPACK, which `pip install sluice` does not bring."""
    folder = Path(kernels.__file__).parent
    assert [
        path.name for path in folder.glob("*.py") if re.search(r"np\.linalg\.\w+\(|scipy\.\w", path.read_text())
    ] == []


@pytest.mark.parametrize("place", PLACES)
def test_a_map_is_found_again(place: np.ndarray) -> None:
    a = thumbnail(4)
    b = warped(a, place, 1.0)
    b = np.where(np.isfinite(b), 0.8 * b + 10, 0.0)
    found = STILL.copy()
    assert align(a, b, found)
    np.testing.assert_allclose(found, place, rtol=0, atol=0.3)
    np.testing.assert_allclose(found[[0, 1, 3, 4]], place[[0, 1, 3, 4]], rtol=0, atol=0.01)


def test_colours_are_compared_as_vectors() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 30, (2, 2, COLOUR_SIDE, COLOUR_SIDE))
    b += 0.5 * a
    cosine = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert colour(a, b, STILL) == pytest.approx(cosine, abs=1e-12)
    assert colour(a, np.zeros_like(a), STILL) == 1.0
    assert colour(a, -a, STILL) == 0.0


def gradient() -> Image.Image:
    return Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))


def checkerboard() -> Image.Image:
    y, x = np.mgrid[:64, :64]
    return Image.fromarray(((x // 8 + y // 8) % 2 * 255).astype(np.uint8))


#: str(imagehash.phash(picture)), ImageHash 4.3.2
IMAGEHASH = {
    "gradient": "8000000000000000",
    "checkerboard": "8000000000000000",
    "photo 0": "dd1cc3bc4ca4f161",
    "photo 1": "83f36ac69a91cc4e",
    "photo 2": "c489f32a37a59b19",
    "photo 3": "a9709e0c3b96b2ad",
}


@pytest.mark.parametrize("name", list(IMAGEHASH))
def test_the_hash_is_imagehashs(name: str) -> None:
    drawn = {"gradient": gradient, "checkerboard": checkerboard}
    image = drawn[name]() if name in drawn else photo(int(name.split()[1])).convert("L")
    assert f"{int(phash(low_frequencies(squares(image, views=False)))[0]):016x}" == IMAGEHASH[name]


def test_the_mirrored_hash_is_that_of_the_mirror_image() -> None:
    image = photo(3).convert("L").resize((32, 32))
    terms = low_frequencies(np.asarray(image)[None])
    other = low_frequencies(np.asarray(image)[None, :, ::-1])
    assert phash(mirrored(terms)) == phash(other) != phash(terms)
