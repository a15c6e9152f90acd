"""Bloom filters: their size, their bits against a readable reference, and the false-positive rate they keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedup.bloom import Bloom, BloomSize, seen
from transforms.kernels.bloom import high_half, look_up

_64 = 2**64


def keys_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), np.uint64)


def mixed(x: int) -> int:
    """splitmix64 of Python's numbers."""
    x = (x + 0x9E3779B97F4A7C15) % _64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % _64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % _64
    return x ^ (x >> 31)


def reference_seen(keys: list[tuple[int, int]], rate: float) -> list[bool]:
    """The same with a set of bit numbers."""
    size = BloomSize.of(len(keys), rate)
    held: set[int] = set()
    found = []
    for first, second in keys:
        start, stride = mixed(first), mixed(second) | 1
        bits = {(start + i * stride) % _64 * size.num_bits >> 64 for i in range(size.num_hashes)}
        found.append(bits <= held)
        held |= bits
    return found


@pytest.mark.parametrize(
    ("keys", "rate", "bits", "hashes"),
    [
        (10**6, 0.01, 9585059, 7),
        (10**6, 1e-4, 19170117, 13),
        (10**9, 0.01, 9585058378, 7),
        (2336120, 1e-15, 167938850, 50),  # Paloma's (Magnusson et al. 2023), 20,992,357 bytes
    ],
)
def test_sizes_are_the_published_ones(keys, rate, bits, hashes):
    assert BloomSize.of(keys, rate) == BloomSize(bits, hashes)
    assert 0 <= BloomSize(bits, hashes).num_bytes - -(-bits // 8) < 8


def test_too_many_hashes_spoil_a_filter():
    """datatrove 0.10.1 takes its size in bytes for one in bits, and 45 bits a key where 6 are best."""
    bits = 8_000_000
    assert round(bits / 10**6 * math.log(2)) == 6
    assert BloomSize(bits, 6).rate(10**6) == pytest.approx(0.02158, abs=1e-5)
    assert BloomSize(bits, 45).rate(10**6) == pytest.approx(0.84994, abs=1e-5)


@given(st.integers(0, _64 - 1), st.integers(0, _64 - 1))
def test_the_high_half_of_a_product(a, b):
    assert int(high_half(np.uint64(a), np.uint64(b))) == a * b >> 64


NUMBERS = st.integers(0, 3) | st.integers(_64 - 2, _64 - 1) | st.integers(0, _64 - 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60), st.sampled_from([0.5, 0.1, 1e-6, 1e-15]))
def test_the_same_as_the_reference(keys, rate):
    array = np.asarray(keys, np.uint64).reshape(-1, 2)
    assert seen(array, rate).tolist() == (reference_seen(keys, rate) if keys else [])


def test_every_repeat_is_seen():
    keys = keys_of(20_000, 1)
    order = np.random.default_rng(2).integers(0, len(keys), 50_000)
    _, firsts = np.unique(order, return_index=True)
    again = np.ones(len(order), bool)
    again[firsts] = False
    found = seen(keys[order], 1e-9)
    assert np.array_equal(found, again)


@pytest.mark.parametrize("rate", [0.1, 0.01, 1e-4])
def test_the_stated_rate_is_kept(rate):
    """Of a million distinct keys, no larger share than stated is taken for repeats; and a full filter takes as many
    of a million others as its size says."""
    count = 1_000_000
    keys, others = keys_of(count, 3), keys_of(count, 4)
    error = math.sqrt(rate * (1 - rate) / count)
    assert seen(keys, rate).mean() <= rate + 3 * error

    size = BloomSize.of(count, rate)
    words = np.zeros(size.num_bytes // 8, np.uint64)
    found = np.zeros(count, bool)
    look_up(words, size.num_bits, size.num_hashes, keys, True, found)
    look_up(words, size.num_bits, size.num_hashes, keys, False, found)
    assert found.all()
    look_up(words, size.num_bits, size.num_hashes, others, False, found)
    assert size.rate(count) == pytest.approx(rate, rel=0.03)
    assert found.mean() == pytest.approx(size.rate(count), abs=3 * error)


def test_keys_of_one_shard_are_spread_as_well():
    """The pipeline's filters hold keys whose upper bits are equal."""
    keys = keys_of(200_000, 5)
    keys[:, 1] = (keys[:, 1] >> np.uint64(8)) | np.uint64(0xA7 << 56)
    rate = 0.01
    assert seen(keys, rate).mean() <= rate + 3 * math.sqrt(rate / len(keys))


@pytest.mark.parametrize(("keys", "rate"), [(0, 0.1), (10, 0.0), (10, 1.0), (10, math.nan)])
def test_a_filter_of_nothing_is_refused(keys, rate):
    with pytest.raises(ValueError, match="no Bloom filter for"):
        BloomSize.of(keys, rate)


@pytest.mark.parametrize("rate", [0, 1, -0.1, math.nan])
def test_rates_that_make_no_sense_are_refused(rate):
    with pytest.raises(ValueError, match="false_positive_rate"):
        Bloom(false_positive_rate=rate)
