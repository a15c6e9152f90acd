"""Small fastText models with random weights, written in the library's format; nothing is trained."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

HS, NS, SOFTMAX, OVA = 1, 2, 3, 4

WORDS = ("</s>", "the", "der", "und", "río", "река", "水", "the,", "naïve", "__label__not")
LABELS = ("__label__en", "__label__de", "__label__es", "__label__ru", "__label__zh", "__label__fr", "__label__ja")


def model_file(
    *,
    loss: int = SOFTMAX,
    dim: int = 10,
    words: Sequence[str] = WORDS,
    labels: Sequence[str] = LABELS,
    word_ngrams: int = 1,
    buckets: int = 300,
    chars: tuple[int, int] = (2, 4),
    prune: float | None = None,
    quantize: int | None = None,
    norms: bool = False,
    quantize_output: bool = False,
    version: int = 12,
    kind: int = 3,
    seed: int = 0,
) -> bytes:
    """A model's bytes. `prune`: the share of n-grams left; `quantize`: dimensions a code stands for."""
    rng = np.random.default_rng(seed)
    head = struct.pack("<2i", 793712314, version)
    head += struct.pack("<12id", dim, 5, 5, 1, 5, word_ngrams, loss, kind, buckets, *chars, 100, 1e-4)
    left = None if prune is None else np.flatnonzero(rng.random(buckets) < prune)
    num_left = -1 if left is None else len(left)
    dictionary = struct.pack("<3i2q", len(words) + len(labels), len(words), len(labels), 1000, num_left)
    for at, word in enumerate((*words, *labels)):
        is_label = at >= len(words)
        count = 7 * (len(labels) + len(words) - at) ** 2 if is_label else 10
        dictionary += word.encode() + b"\0" + struct.pack("<qb", count, is_label)
    if left is not None:
        pairs = np.stack([left, rng.permutation(len(left))], axis=1)
        dictionary += rng.permutation(pairs).astype("<i4").tobytes()
    num_rows = len(words) + (buckets if left is None else len(left))
    rows = _matrix(rng, num_rows, dim, quantize, norms)
    weights = _matrix(rng, len(labels), dim, quantize if quantize_output else None, norms)
    flags = struct.pack("<b", quantize is not None), struct.pack("<b", quantize_output)
    return head + dictionary + flags[0] + rows + flags[1] + weights


def _matrix(rng: np.random.Generator, num_rows: int, dim: int, quantize: int | None, norms: bool) -> bytes:
    if quantize is None:
        values = rng.normal(size=(num_rows, dim)) * 1.5
        return struct.pack("<2q", num_rows, dim) + values.astype("<f4").tobytes()
    codes = rng.integers(0, 256, (num_rows, -(-dim // quantize)), np.uint8)
    found = struct.pack("<b2qi", norms, num_rows, dim, codes.size) + codes.tobytes() + _codebook(rng, dim, quantize)
    return found + (rng.integers(0, 256, num_rows, np.uint8).tobytes() + _codebook(rng, 1, 1) if norms else b"")


def _codebook(rng: np.random.Generator, dim: int, width: int) -> bytes:
    blocks = -(-dim // width)
    values = rng.normal(size=dim * 256) * 1.5
    return struct.pack("<4i", dim, blocks, width, dim - (blocks - 1) * width) + values.astype("<f4").tobytes()
