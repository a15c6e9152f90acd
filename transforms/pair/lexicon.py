"""A lexicon of translations learned from the pairs themselves: training, and what a pair scores by it.

IBM Model 1 (Brown et al. 1993) in both directions. A word is its lower-case letters as UAX #29 cuts them, by its first
letters, which stand for its inflections; n-grams of letters in scripts without spaces. Words are kept as 64-bit hashes,
and t(target | source) as a hash of two: a lexicon holds no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SluiceError
from transforms.columns import utf8
from transforms.kernels import lexicon as kernels
from transforms.text.codepoint_tables import properties

#: only so many words of a side are looked at, which bounds the cost of a pair
MAX_WORDS = 200
_PREFIX = 6
_ITERATIONS = 5
#: words of each side that have an entry, the most frequent ones
_MAX_VOCABULARY = 1 << 17
#: word pairs held while training, 24 bytes in each of at least twice as many slots
_MAX_ENTRIES = 1 << 23
#: taken off the expected count of every word pair in the end: what one pair of sentences alone attests may be its own
#: error, which it would then vouch for. Where half of the pairs are wrong, the AUC is 0.97 with it and 0.75 without.
_DISCOUNT = 1.0
#: translations less probable than this are forgotten
_MIN_PROBABILITY = 1e-3
_WEIGHT = 0.5
#: t of a word that is the same on both sides: a name, a number
_SAME = 0.3

#: the tables of a lexicon: t(target | source), t(source | target), and the share of each word among its side's
TO_TARGET, TO_SOURCE, SOURCE_WORDS, TARGET_WORDS = range(4)
SCHEMA = pa.schema(
    [pa.field("table", pa.int8()), pa.field("key", pa.uint64()), pa.field("value", pa.float32())],
    metadata={b"sluice.schema": b"lexicon", b"sluice.version": b"1"},
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a column: `hashes` uint64, those of row k between `bounds` [rows + 1] k and k + 1."""

    hashes: np.ndarray
    bounds: np.ndarray

    @staticmethod
    def of(text: pa.Array) -> Words:
        """The words of a large_string column; null is the empty text."""
        lowered = pc.utf8_lower(pc.fill_null(text, ""))
        hashes = np.empty(_room(lowered), np.uint64)
        bounds = np.empty(len(text) + 1, np.int64)
        count = kernels.word_hashes(*utf8(lowered), *properties(), MAX_WORDS, _PREFIX, hashes, bounds)
        return Words(hashes[:count], bounds)

    def take(self, rows: np.ndarray) -> Words:
        """The words of these rows, in this order."""
        lengths = np.diff(self.bounds)[rows]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(bounds[-1]) - np.repeat(bounds[:-1] - self.bounds[rows], lengths)
        return Words(self.hashes[at], bounds)

    @staticmethod
    def join(parts: Sequence[Words]) -> Words:
        """The rows of all parts."""
        lengths = [np.diff(part.bounds) for part in parts]
        bounds = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.empty(0, np.int64)]))])
        return Words(np.concatenate([*(part.hashes for part in parts), np.empty(0, np.uint64)]), bounds)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A trained lexicon; `tables` [4] of (keys uint64, values float32), open addressing."""

    tables: tuple[tuple[np.ndarray, np.ndarray], ...]

    @staticmethod
    def of(table: pa.Table) -> Lexicon:
        """The lexicon in a table of SCHEMA; raises SluiceError when it is none."""
        if not table.schema.equals(SCHEMA) or table.schema.metadata != SCHEMA.metadata:
            raise SluiceError("this is not a lexicon of sluice alignment train, or one of another version")
        which, keys, values = (column.to_numpy() for column in table.columns)
        if any(column.null_count for column in table.columns) or not (np.isfinite(values) & (values > 0)).all():
            raise SluiceError("the lexicon is damaged: it has values that are no probabilities")
        return Lexicon(tuple(kernels.fill(keys[which == number], values[which == number]) for number in range(4)))

    def score(self, source: Words, target: Words) -> np.ndarray:
        """Mean evidence a word, both directions alike, in nats; float64 [rows], NaN where a side has no known word.

        0: the sides say nothing of each other, as far as the lexicon knows; log(1 - 1/2) = -0.69 is the least.
        """
        rows = len(source.bounds) - 1
        scores = []
        for given, words, table, unigram in (
            (source, target, TO_TARGET, TARGET_WORDS),
            (target, source, TO_SOURCE, SOURCE_WORDS),
        ):
            sums, numbers = np.zeros(rows), np.zeros(rows, np.int64)
            kernels.score_direction(
                given.hashes,
                given.bounds,
                words.hashes,
                words.bounds,
                *self.tables[table],
                *self.tables[unigram],
                _WEIGHT,
                _SAME,
                sums,
                numbers,
            )
            scores.append(np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan))
        mean: np.ndarray = (scores[0] + scores[1]) / 2
        return mean


def train(source: Words, target: Words) -> tuple[pa.Table, int]:
    """(the lexicon of these pairs, of SCHEMA, its rows sorted; the pairs it is learned from).

    Pairs are taken in their order until the tables are full; the caller orders them by a hash, so that it decides
    nothing. Raises SluiceError when there is nothing to learn.
    """
    numbered = [_number(words) for words in (source, target)]
    (vocabulary, shares), (others, other_shares) = ((known, share) for known, _, share in numbered)
    sides = [words for _, words, _ in numbered]
    if not len(vocabulary) or not len(others):
        raise SluiceError("no word occurs in two pairs: there is nothing to learn translations from")
    columns: list[tuple[int, np.ndarray, np.ndarray]] = [
        (SOURCE_WORDS, vocabulary, shares),
        (TARGET_WORDS, others, other_shares),
    ]
    taken = len(source.bounds) - 1
    for table, given, words, known, wanted in (
        (TO_TARGET, sides[0], sides[1], vocabulary, others),
        (TO_SOURCE, sides[1], sides[0], others, vocabulary),
    ):
        pairs, at, number, value = _model_1(given, words, len(known), len(wanted))
        taken = min(taken, pairs)
        keys = np.empty(len(at), np.uint64)
        kernels.pair_keys(known[at - 1], wanted[number - 1], keys)
        columns.append((table, keys, value))
    which = np.concatenate([np.full(len(keys), table, np.int8) for table, keys, _ in columns])
    keys = np.concatenate([keys for _, keys, _ in columns])
    values = np.concatenate([values for _, _, values in columns]).astype(np.float32)
    order = np.lexsort((keys, which))
    return pa.table([which[order], keys[order], values[order]], schema=SCHEMA), taken


def _number(words: Words) -> tuple[np.ndarray, Words, np.ndarray]:
    """(hashes of the known words, ascending; all words as their numbers from 1, without unknown ones; their shares)."""
    found, number, counts = np.unique(words.hashes, return_inverse=True, return_counts=True)
    # words as frequent as the first one too many are left out with it
    too_rare = np.sort(counts)[-_MAX_VOCABULARY - 1] if len(counts) > _MAX_VOCABULARY else 0
    known = (counts > max(1, too_rare)) & (found != 0)
    renumbered = np.where(known, np.cumsum(known), 0)[number]
    kept = renumbered > 0
    bounds = np.concatenate([[0], np.cumsum(kept)])[words.bounds]
    return found[known], Words(renumbered[kept], bounds), counts[known] / max(1, len(words.hashes))


def _model_1(
    given: Words, words: Words, num_given: int, num_words: int
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs taken, and t(word | given) worth keeping: numbers of the given words, of the words, and probabilities."""
    cells = int(((np.diff(given.bounds) + 1) * np.diff(words.bounds)).sum())
    room = 16
    while room < 2 * min(cells, _MAX_ENTRIES):
        room *= 2
    keys = np.zeros(room, np.uint64)
    pairs, _ = kernels.collect(
        given.hashes, given.bounds, words.hashes, words.bounds, num_words, min(cells, _MAX_ENTRIES), keys
    )
    values, counts = np.ones(room), np.zeros(room)
    for _ in range(_ITERATIONS):
        kernels.expectation(
            given.hashes,
            given.bounds[: pairs + 1],
            words.hashes,
            words.bounds[: pairs + 1],
            num_given,
            num_words,
            keys,
            values,
            counts,
        )
    filed = np.flatnonzero(keys > num_words)  # not those of the null word
    at, number = np.divmod(keys[filed].astype(np.int64), num_words + 1)
    totals = np.bincount(at, weights=counts[filed], minlength=num_given + 1)[at]
    found = np.maximum(counts[filed] - _DISCOUNT, 0) / np.maximum(totals, 1e-300)
    kept = found >= _MIN_PROBABILITY
    return pairs, at[kept], number[kept], found[kept]


def _room(text: pa.Array) -> int:
    """At most so many words: one in each byte, and MAX_WORDS in each row."""
    lengths = pc.binary_length(text).to_numpy(zero_copy_only=False)
    return int(np.minimum(lengths, MAX_WORDS).sum())
