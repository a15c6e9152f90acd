"""Signatures, band keys and sorted sets by kernel against numpy."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedup.shingles import mix
from transforms.kernels.minhash import band_keys, mersenne_signatures, signatures
from transforms.kernels.sha1 import sha1_64
from transforms.kernels.similarity import sorted_distinct

numbers = st.integers(0, 2**64 - 1)
rows_of_numbers = st.lists(st.lists(st.one_of(numbers, st.integers(0, 3)), max_size=40), max_size=5)


def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray([value for row in rows for value in row], np.uint64), np.cumsum([0, *map(len, rows)])


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    multipliers, offsets = np.random.default_rng(count).integers(0, 2**64, (2, count), np.uint64)
    return multipliers | np.uint64(1), offsets


@given(rows_of_numbers, st.integers(1, 33))
def test_signatures_are_minima_of_permutations(rows: list[list[int]], count: int) -> None:
    multipliers, offsets = drawn(count)
    found = np.full((len(rows), count), 7, np.uint64)
    signatures(*ragged(rows), multipliers, offsets, found)
    for row, values in enumerate(rows):
        hashed = np.asarray(values, np.uint64)[:, None]
        expected = (hashed * multipliers + offsets).min(axis=0).tolist() if values else [7] * count
        assert found[row].tolist() == expected


@given(rows_of_numbers, st.sampled_from([2**64 - 1, 2**32 - 1]))
def test_mersenne_signatures_are_datatroves_formula(rows: list[list[int]], mask: int) -> None:
    multipliers, offsets = drawn(16)
    found = np.full((len(rows), 16), 7, np.uint64)
    mersenne_signatures(*ragged(rows), multipliers, offsets, np.uint64(mask), found)
    for row, values in enumerate(rows):
        hashed = np.asarray(values, np.uint64)[:, None]
        permuted = (hashed * multipliers + offsets) % np.uint64(2**61 - 1) & np.uint64(mask)
        assert found[row].tolist() == (permuted.min(axis=0).tolist() if values else [7] * 16)


@pytest.mark.parametrize("product", [0, 1, 2**61 - 2, 2**61 - 1, 2**61, 2**62 - 2, 2**62 - 1, 2**64 - 8, 2**64 - 1])
def test_reduction_by_the_mersenne_prime_at_its_edges(product: int) -> None:
    found = np.empty((1, 1), np.uint64)
    one, zero = np.ones(1, np.uint64), np.zeros(1, np.uint64)
    mersenne_signatures(np.asarray([product], np.uint64), np.asarray([0, 1]), one, zero, np.uint64(2**64 - 1), found)
    assert int(found[0, 0]) == product % (2**61 - 1)


def test_a_band_key_is_of_all_its_minima_in_order() -> None:
    signed = np.random.default_rng(1).integers(0, 2**64, (5, 12), np.uint64)
    keys = np.empty((5, 3, 2), np.uint64)
    band_keys(signed, 4, keys)
    minima = signed.reshape(5, 3, 4)
    one, other = np.zeros((2, 5, 3), np.uint64)
    for k in range(4):
        one, other = mix(one + minima[:, :, k]), mix(other ^ minima[:, :, k])
    assert (keys == np.stack([one, other], axis=2)).all()


@given(rows_of_numbers)
def test_sets_are_sorted_and_distinct(rows: list[list[int]]) -> None:
    values, bounds = sorted_distinct(*ragged(rows))
    assert [values[a:b].tolist() for a, b in itertools.pairwise(bounds)] == [sorted(set(r)) for r in rows]


def test_large_sets_whose_members_share_their_leading_bits() -> None:
    evenly = np.random.default_rng(2).integers(0, 2**64, 30_000, np.uint64)
    crowded = evenly >> np.uint64(40)
    values, bounds = sorted_distinct(np.concatenate([evenly, crowded, evenly]), np.asarray([0, 30_000, 60_000, 90_000]))
    for row, expected in enumerate((evenly, crowded, evenly)):
        assert values[bounds[row] : bounds[row + 1]].tolist() == np.unique(expected).tolist()


def test_sha1_is_hashlibs() -> None:
    """Of every length around the borders of its blocks."""
    data = np.random.default_rng(3).integers(0, 256, 400, np.uint8)
    stops = np.arange(200)
    for starts in (np.zeros(200, np.int64), stops // 3):
        found = np.empty(200, np.uint64)
        sha1_64(data, starts, stops, found)
        pieces = [data[start:stop].tobytes() for start, stop in zip(starts, stops, strict=True)]
        assert found.tolist() == [int.from_bytes(hashlib.sha1(piece).digest()[:8], "little") for piece in pieces]
