"""The kernels on vectors against numpy, to the last bit where the order of summation is numpy's too."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.vectors import cosines, nearest, products, unit_vectors


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 9), st.integers(1, 70))
def test_products(seed: int, rows: int, width: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, of = (rng.normal(size=shape).astype(np.float32) for shape in ((rows, width), (width, columns)))
    expected = np.zeros((rows, columns), np.float32)
    for k in range(width):
        expected += vectors[:, k, None] * of[k]
    assert products(vectors, of).tolist() == expected.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 8), st.integers(1, 5))
def test_nearest(seed: int, rows: int, columns: int, count: int) -> None:
    """Few values, so that there are ties: the first goes first."""
    count = min(count, columns)
    similarity = np.random.default_rng(seed).integers(-2, 3, (rows, columns)).astype(np.float32)
    expected = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    assert nearest(similarity, count).tolist() == expected.tolist()


def test_unit_vectors() -> None:
    given_rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [1e-30, 0], [-1e30, 0]], np.float32)
    units, good = unit_vectors(given_rows)
    assert good.tolist() == [True, False, False, False, True, True]
    assert units[good].tolist() == np.array([[0.6, 0.8], [1, 0], [-1, 0]], np.float32).tolist()
    assert not units[~good].any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40))
def test_cosines(seed: int, rows: int, width: int) -> None:
    units, _ = unit_vectors(np.random.default_rng(seed).normal(size=(rows, width)))
    first, second = (np.ravel(grid) for grid in np.mgrid[:rows, :rows])
    found = cosines(units, first, second)
    expected = (units.astype(np.float64) @ units.astype(np.float64).T).ravel()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.max() <= 1
