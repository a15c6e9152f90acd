"""The words of a text classifier: how a text becomes a line, which words it knows, and a line's features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.sample import SENTINEL
from transforms.columns import utf8
from transforms.kernels import supervised
from transforms.kernels.hashing import table_size

#: how fastText spells a line's end, which is a word, and what labels begin with
LINE_END = "</s>"
LABEL = "__label__"
#: distinct words held while counting: about 3 GB of them
MAX_WORDS = 20_000_000


def one_line(text: str) -> str:
    """The text as a classifier reads it, in training and after: one line, every run of white space one space.

    Case and punctuation stay. A NUL is white space, because it is to fastText; media sentinels are too.
    """
    return " ".join(text.replace(SENTINEL, " ").replace("\0", " ").split())


class WordCounts:
    """Counts the words of lines. Beyond `max_words` different ones the rarest are forgotten, ever more of them, as
    fastText does."""

    def __init__(self, max_words: int = MAX_WORDS) -> None:
        self.max_words = max_words
        self.counts: Counter[str] = Counter()
        self.lines = 0
        self._forget = 0

    def add(self, lines: Iterable[str]) -> None:
        """Counts what a line holds before its end."""
        for line in lines:
            words = line.split()
            if LINE_END in words:
                words = words[: words.index(LINE_END)]
            self.counts.update(words)
            self.lines += 1
            if len(self.counts) > self.max_words:
                self._forget += 1
                self.counts = Counter({word: n for word, n in self.counts.items() if n > self._forget})

    def vocabulary(self, min_count: int) -> Vocabulary:
        """The words seen at least so often, the most frequent first, equals by their bytes; the line's end is one."""
        found = {word.encode(): count for word, count in self.counts.items() if not word.startswith(LABEL)}
        found[LINE_END.encode()] = self.lines
        kept = [word for word, count in found.items() if count >= min_count]
        kept.sort(key=lambda word: (-found[word], word))
        return Vocabulary.of(kept, [found[word] for word in kept])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words, UTF-8, with their counts.

    Number k is pool[bounds[k]:bounds[k + 1]], uint8 and int64 [words + 1]; `table`, int32, finds it by its hash.
    """

    counts: np.ndarray
    pool: np.ndarray
    bounds: np.ndarray
    table: np.ndarray

    @classmethod
    def of(cls, words: list[bytes], counts: list[int]) -> Vocabulary:
        """The vocabulary of these words, in this order."""
        pool = np.frombuffer(b"".join(words) or b"\0", np.uint8)
        bounds = np.cumsum([0, *map(len, words)], dtype=np.int64)
        table = np.full(table_size(len(words)), -1, np.int32)
        supervised.word_table(pool, bounds, table)
        return cls(np.asarray(counts, np.int64), pool, bounds, table)

    def __len__(self) -> int:
        return len(self.counts)

    def words(self) -> list[bytes]:
        """All words, in order."""
        pool = self.pool.tobytes()
        return [pool[start:stop] for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True)]

    def features(self, lines: pa.Array, word_ngrams: int, buckets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(features of all lines int32, their bounds int64 [lines + 1], tokens int64 [lines]) of a large_string column.

        A line's features are the numbers of its words, its end among them, then those of its n-grams of 2 up to
        `word_ngrams` tokens, known words or not: len(self) + their hash modulo `buckets`.
        """
        spelled = (np.frombuffer(mark.encode(), np.uint8) for mark in (LABEL, LINE_END))
        return supervised.features(
            *utf8(lines), self.pool, self.bounds, self.table, word_ngrams, buckets if word_ngrams > 1 else 0, *spelled
        )
