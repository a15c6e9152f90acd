"""Interpolated modified Kneser-Ney (Chen and Goodman 1998), with KenLM's rules where they leave something open.

Counts of n-grams that begin a line are their own, those of others the number of different words before them; discounts
come from all counts, pruned or not, one set a level; what is pruned leaves its mass to the back-off; unigrams are
interpolated with a uniform distribution over the vocabulary, the unknown word and a line's end among it (Heafield et
al. 2013). The probabilities of all words after any context sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field

from transforms.base import Params
from transforms.kernels.ngram_model import BEGIN, END

#: KenLM's, for counts that give none
_FALLBACK = (0.5, 1.0, 1.5)
_WORD_BITS = np.uint64(32)


class NgramParams(Params):
    """How to train."""

    order: int = Field(default=3, ge=2, le=6)
    #: rarer words are unknown
    min_word_count: int = Field(default=2, ge=1)
    #: rarer n-grams of three words and more are left out
    min_ngram_count: int = Field(default=2, ge=1)
    #: text that is read; beyond it rows are chosen by hash(seed, id). Training takes about 40 bytes of memory a byte
    max_bytes: int = Field(default=64 * 2**20, gt=0)
    seed: int = Field(default=17, ge=0, lt=2**63)


@dataclass(frozen=True, slots=True)
class Ngrams:
    """n-grams as kernels.ngram_model has them; `levels` are how many of each length. prefix, word, suffix: int32, all
    [nodes]; a unigram has no prefix and no suffix, -1."""

    levels: tuple[int, ...]
    prefix: np.ndarray
    word: np.ndarray
    suffix: np.ndarray
    log_prob: np.ndarray
    back_off: np.ndarray


@dataclass(slots=True)
class _Level:
    """All n-grams of one length: `raw` counts, `counts` as smoothing sees them, `kept` after pruning."""

    prefix: np.ndarray
    word: np.ndarray
    suffix: np.ndarray
    raw: np.ndarray
    begins: np.ndarray
    kept: np.ndarray
    counts: np.ndarray


def train_ngrams(sequence: np.ndarray, params: NgramParams) -> Ngrams:
    """The model of a sequence of word numbers, int32, with BEGIN and END around each line.

    Words are numbered with the most frequent first, from END + 1 on, so that pruning leaves the first ones.
    """
    levels = _count(sequence, params)
    uniform = 1.0 / (levels[0].kept.sum() - 1)  # no text goes on with BEGIN
    prob = _discounted(levels[0], None)
    probs = [np.where(np.arange(len(prob[0])) == BEGIN, 1.0, prob[0] + prob[1][0] * uniform)]
    back_offs = []
    for shorter, level in pairwise(levels):
        own, left = _discounted(level, len(shorter.word))
        back_offs.append(left)
        probs.append(own + left[level.prefix] * probs[-1][level.suffix])
    back_offs.append(np.ones(len(levels[-1].word)))
    numbers, first = [], 0
    for level in levels:
        numbers.append((np.cumsum(level.kept) - 1 + first).astype(np.int32))
        first += int(level.kept.sum())
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for at, level in enumerate(levels):
        kept = level.kept
        links = [
            numbers[at - 1][link[kept]] if at else np.full(kept.sum(), -1, np.int32)
            for link in (level.prefix, level.suffix)
        ]
        logs = [np.log(values[at][kept]).astype(np.float32) for values in (probs, back_offs)]
        for into, values in zip(columns, (links[0], level.word[kept].astype(np.int32), links[1], *logs), strict=True):
            into.append(values)
    return Ngrams(tuple(int(level.kept.sum()) for level in levels), *map(np.concatenate, columns))


def _count(sequence: np.ndarray, params: NgramParams) -> list[_Level]:
    """All levels, the shortest first."""
    place = np.arange(len(sequence)) - np.maximum.accumulate(np.where(sequence == BEGIN, np.arange(len(sequence)), 0))
    raw = np.bincount(sequence, minlength=END + 1)
    kept = raw >= params.min_word_count
    kept[: END + 1] = True
    words = np.arange(len(raw))
    unlinked = np.zeros(len(raw), np.int64)
    levels = [_Level(unlinked, words, unlinked, raw, words == BEGIN, kept, raw)]
    nodes = sequence
    for length in range(2, params.order + 1):
        last = np.flatnonzero(place >= length - 1)
        keys = nodes[last - 1].astype(np.uint64) << _WORD_BITS | sequence[last].astype(np.uint64)
        found, first, inverse, raw = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        prefix, word = (found >> _WORD_BITS).astype(np.int64), (found & np.uint64(2**32 - 1)).astype(np.int64)
        suffix = nodes[last[first]].astype(np.int64)
        shorter = levels[-1]
        kept = shorter.kept[prefix] & shorter.kept[suffix]
        if length > 2:
            kept &= raw >= params.min_ngram_count
        shorter.counts = np.where(shorter.begins, shorter.raw, np.bincount(suffix, minlength=len(shorter.word)))
        levels.append(_Level(prefix, word, suffix, raw, shorter.begins[prefix], kept, raw))
        nodes = np.zeros(len(sequence), np.int32)
        nodes[last] = inverse
    levels[0].counts[BEGIN] = 0
    return levels


def _discounted(level: _Level, num_contexts: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(the discounted probability of each n-gram, the mass each context leaves); without contexts there is one."""
    counts = level.counts.astype(np.float64)
    reduced = np.maximum(counts - _discounts(level.counts)[np.minimum(level.counts, 3)], 0)
    context = np.zeros(len(counts), np.int64) if num_contexts is None else level.prefix
    size = num_contexts or 1
    total = np.bincount(context, counts, size)
    taken = np.bincount(context, np.where(level.kept, reduced, 0), size)
    total[total == 0] = 1  # a context that nothing follows, such as a line's end: everything is left
    return reduced / total[context], (total - taken) / total


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken off counts of 0, 1, 2, and 3 or more."""
    t1, t2, t3, t4 = (int((counts == k).sum()) for k in range(1, 5))
    if not (t1 and t2 and t3):
        return np.array((0.0, *_FALLBACK))
    y = t1 / (t1 + 2 * t2)
    found = (1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3)
    inside = all(0 < discount < k for k, discount in enumerate(found, 1))
    return np.array((0.0, *(found if inside else _FALLBACK)))
