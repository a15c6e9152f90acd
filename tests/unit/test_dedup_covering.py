"""Covering keys: whichever bits two hashes differ in, up to the radius, one key has none of them."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.dedup.covering import BITS, MAX_RADIUS, covering_keys, masks


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_any_two_hashes_within_the_radius_share_a_key(radius: int) -> None:
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**64, 2000, np.uint64, endpoint=False)
    others = hashes.copy()
    for row in range(len(hashes)):
        for bit in rng.choice(BITS, radius, replace=False).tolist():
            others[row] ^= np.uint64(1 << bit)
    shared = (covering_keys(hashes, radius) == covering_keys(others, radius)).any(axis=1)
    assert shared.all()


def test_every_pair_of_bits_is_covered_at_radius_two() -> None:
    for one in range(BITS):
        for two in range(one):
            spoilt = np.uint64((1 << one) | (1 << two))
            assert (masks(2) & spoilt == 0).any()


@pytest.mark.parametrize("radius", range(1, MAX_RADIUS + 1))
def test_a_key_holds_about_half_of_the_bits_and_unrelated_hashes_share_none(radius: int) -> None:
    held = [int(mask).bit_count() for mask in masks(radius)]
    assert len(held) == 2 ** (radius + 1) - 1
    assert min(held) >= 30
    drawn = np.random.default_rng(1).integers(0, 2**64, (2, 500), np.uint64)
    assert not (covering_keys(drawn[0], radius) == covering_keys(drawn[1], radius)).any()


def test_larger_radii_are_refused() -> None:
    with pytest.raises(ValueError, match="radius 7"):
        masks(7)
