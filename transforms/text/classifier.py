"""Training a fastText classifier as `fasttext supervised` (0.9.2) does, twice the same, and the file of one.

Differences: one thread; lines in the order they are given, every epoch; the learning rate falls with every line and not
every 100 tokens; vectors begin as counter-based random numbers. The file is fastText's own (version 12).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from schemas.errors import SluiceError
from transforms.base import Params
from transforms.kernels import supervised
from transforms.text.classifier_words import LABEL, Vocabulary

_MAGIC, _VERSION = 793712314, 12
_SOFTMAX, _SUPERVISED = 3, 3
_WORD, _LABEL = 0, 1
#: fastText reports P + 1e-5, having taken the logarithm of that; published thresholds are on its scale
_REPORTED = np.float32(1e-5)
#: rows of one call into the kernel, so that an interrupt is not kept waiting
_BLOCK_ROWS = 1024


class ClassifierParams(Params):
    """How to train; defaults are fastText's, but for the bigrams of DCLM (Li et al. 2024, arXiv 2406.11794)."""

    dim: int = Field(default=100, ge=1, le=1024)
    epochs: int = Field(default=5, ge=1)
    lr: float = Field(default=0.1, gt=0)
    word_ngrams: int = Field(default=2, ge=1, le=8)
    #: vectors that n-grams share by their hash
    buckets: int = Field(default=2_000_000, ge=1, lt=2**30)
    #: words seen less often have no vector of their own
    min_count: int = Field(default=1, ge=1)
    seed: int = Field(default=17, ge=0, lt=2**63)

    def table_bytes(self, num_words: int) -> int:
        """What the table of vectors takes, in memory and in the file."""
        return (num_words + (self.buckets if self.word_ngrams > 1 else 0)) * self.dim * 4


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines to learn from: `features` int32 and their `bounds` int64 [lines + 1], `tokens` int64 [lines], `labels`
    int32 [lines]."""

    features: np.ndarray
    bounds: np.ndarray
    tokens: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained classifier: inputs float32 [words + buckets, dim], outputs float32 [labels, dim]."""

    params: ClassifierParams
    vocabulary: Vocabulary
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    inputs: np.ndarray
    outputs: np.ndarray
    num_tokens: int

    def scores(self, lines: Lines, rows: np.ndarray) -> np.ndarray:
        """What fastText would report of these rows of `lines`, float32 [rows, labels]."""
        chances = np.empty((len(rows), len(self.labels)), np.float32)
        supervised.predict(lines.features, lines.bounds, rows, self.inputs, self.outputs, chances)
        return chances + _REPORTED

    def file(self) -> Iterator[bytes | memoryview]:
        """The bytes of its `.bin` file, in parts."""
        p = self.params
        grams = p.buckets if p.word_ngrams > 1 else 0
        yield struct.pack("<2i", _MAGIC, _VERSION)
        window, negatives, min_n, max_n, rate_update = 5, 5, 0, 0, 100
        yield struct.pack("<7i", p.dim, window, p.epochs, p.min_count, negatives, p.word_ngrams, _SOFTMAX)
        yield struct.pack("<5id", _SUPERVISED, grams, min_n, max_n, rate_update, 1e-4)
        size, unpruned = len(self.vocabulary), -1
        yield struct.pack("<3i2q", size + len(self.labels), size, len(self.labels), self.num_tokens, unpruned)
        labels = [(LABEL + name).encode() for name in self.labels]
        for kind, names, counts in (
            (_WORD, self.vocabulary.words(), self.vocabulary.counts.tolist()),
            (_LABEL, labels, self.label_counts),
        ):
            yield b"".join(name + struct.pack("<xqb", n, kind) for name, n in zip(names, counts, strict=True))
        for matrix in (self.inputs, self.outputs):
            not_quantized = False
            yield struct.pack("<?2q", not_quantized, *matrix.shape)
            yield np.ascontiguousarray(matrix, "<f4").data.cast("B")


def train_classifier(
    params: ClassifierParams,
    vocabulary: Vocabulary,
    labels: tuple[str, ...],
    lines: Lines,
    order: np.ndarray,
    listener: Callable[[int, int], None],
) -> Classifier:
    """Trains on the lines in `order`, int64, once an epoch. `listener` hears how many steps are done, and of how many.

    The learning rate falls linearly from `lr` to 0, counted in tokens. Takes `params.table_bytes` of memory, and reads
    `lines` in place. Raises SluiceError when the numbers grow out of bounds.
    """
    table = np.empty((params.table_bytes(len(vocabulary)) // (4 * params.dim), params.dim), np.float32)
    supervised.uniform(np.uint64(params.seed), np.float32(1 / params.dim), table.reshape(-1))
    outputs = np.zeros((len(labels), params.dim), np.float32)
    sizes = lines.tokens[order] + 1  # fastText counts a line's label too
    total = int(sizes.sum()) * params.epochs
    before = 0
    for epoch in range(params.epochs):
        for at in range(0, len(order), _BLOCK_ROWS):
            block, tokens = order[at : at + _BLOCK_ROWS], sizes[at : at + _BLOCK_ROWS]
            seen = before + np.cumsum(tokens) - tokens
            rates = (params.lr * (1 - seen / total)).astype(np.float32)
            supervised.train(lines.features, lines.bounds, lines.labels, block, rates, table, outputs)
            before += int(tokens.sum())
            listener(epoch * len(order) + at + len(block), params.epochs * len(order))
    if not np.isfinite(outputs).all():
        raise SluiceError(f"training diverged at a learning rate of {params.lr:g}; lower --lr")
    counts = tuple(np.bincount(lines.labels[order], minlength=len(labels)).tolist())
    return Classifier(params, vocabulary, labels, counts, table, outputs, int(sizes.sum()))
