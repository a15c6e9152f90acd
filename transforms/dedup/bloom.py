"""Bloom filters (Bloom 1970): which keys came before, in 3 bytes a key, at a stated chance of being wrong.

1.2 bytes a key at a false-positive rate of 1 %, 2.4 at 1e-4, 3.6 at 1e-6, where a key itself is 16. The price: a key
that never came is now and then taken for one that did, and of one that came it cannot be said where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from transforms.base import Params
from transforms.kernels.bloom import look_up


class Bloom(Params):
    """Duplicates are found by a Bloom filter instead of by comparing keys."""

    #: chance that a key that is new is taken for a duplicate, once the filter holds all keys; it is lower while there
    #: are fewer, so that the share of all keys wrongly removed is well below it
    false_positive_rate: float = Field(default=1e-6, ge=1e-15, le=0.5)


@dataclass(frozen=True, slots=True)
class BloomSize:
    """How large a filter is, and in how many of its bits a key is."""

    num_bits: int
    num_hashes: int

    @classmethod
    def of(cls, num_keys: int, false_positive_rate: float) -> BloomSize:
        """The smallest filter that holds so many keys at this rate: m = ceil(-n ln p / ln² 2) bits, and
        k = round(m / n ln 2) of them for each."""
        if num_keys < 1 or not 0 < false_positive_rate < 1:
            raise ValueError(f"no Bloom filter for {num_keys} keys at a false-positive rate of {false_positive_rate}")
        num_bits = math.ceil(-num_keys * math.log(false_positive_rate) / math.log(2) ** 2)
        return cls(num_bits, max(1, round(num_bits / num_keys * math.log(2))))

    @property
    def num_bytes(self) -> int:
        """Its memory."""
        return -(-self.num_bits // 64) * 8

    def rate(self, num_keys: int) -> float:
        """Its false-positive rate when it holds so many keys."""
        return float((1 - math.exp(-self.num_hashes * num_keys / self.num_bits)) ** self.num_hashes)


def seen(keys: np.ndarray, false_positive_rate: float) -> np.ndarray:
    """Whether each key, uint64 [n, 2], comes earlier in the array, bool [n]: true for all that do, and for others by
    mistake, at a rate that reaches `false_positive_rate` only at the last key. One filter of BloomSize.of(n) bits."""
    found = np.zeros(len(keys), np.bool_)
    if len(keys):
        size = BloomSize.of(len(keys), false_positive_rate)
        words = np.zeros(size.num_bytes // 8, np.uint64)
        look_up(words, size.num_bits, size.num_hashes, np.ascontiguousarray(keys, np.uint64), True, found)
    return found
