"""Randomness by name: a draw depends on the seed and on what it is for, never on what was drawn before it."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def digest(seed: int, *names: object) -> int:
    """64 bits from the seed and a path of names."""
    key = "\x1f".join(map(str, (seed, *names))).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def draw(seed: int, *names: object) -> random.Random:
    """A generator of its own for `names`."""
    return random.Random(digest(seed, *names))


def draw_noise(seed: int, *names: object) -> np.random.Generator:
    """The same for arrays: Philox, whose stream numpy promises to keep."""
    return np.random.Generator(np.random.Philox(key=digest(seed, *names)))
