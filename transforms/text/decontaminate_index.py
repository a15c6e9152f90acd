"""What benchmarks look like to decontamination: a sorted array of n-gram hashes, and whose they are.

Everything is in a few arrays: 8 bytes a hash, 4 an owner, and a bit table of about 16 bits a hash that spares the
search for most words of most documents. MMLU's test set (14,042 questions) takes about 20 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.text.decontaminate_items import Item
from transforms.text.decontaminate_tokens import CHUNKS, READINGS, chunk_numbers, letters_per_word, read, roll

#: an n-gram of fewer different words says nothing: "1 1 1 1 …", "True False True False …"
_MIN_DISTINCT = 6
_MIN_TABLE_BITS = 10
_BLOCK_WORDS = 1 << 18


@dataclass(frozen=True, slots=True)
class Table:
    """The n-grams of one length.

    `keys`: distinct hashes, sorted, uint64 [keys]; `starts`: int64 [keys + 1], where each key's `owners` begin;
    `owners`: item numbers, int32; `seen`: bool [2^bits], whether some key has these lowest bits.
    """

    keys: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    seen: np.ndarray

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """The position of each hash in `keys`, -1 where it is not there; int64."""
        found = np.full(len(hashes), -1, np.int64)
        maybe = np.flatnonzero(self.seen[hashes & np.uint64(len(self.seen) - 1)])
        if len(maybe):
            wanted = hashes[maybe]
            at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
            equal = self.keys[at] == wanted
            found[maybe[equal]] = at[equal]
        return found

    def owners_of(self, keys: np.ndarray) -> np.ndarray:
        """The items that have any of these keys, once for each key they have."""
        return np.concatenate([self.owners[self.starts[key] : self.starts[key + 1]] for key in keys])


@dataclass(frozen=True, slots=True)
class Index:
    """The items, and tables of their n-grams by (length in words, whether such a gram is a whole short item)."""

    items: list[Item]
    tables: dict[tuple[int, bool], Table]


def build_index(items: Sequence[Item], ngram: int, min_item_words: int) -> Index:
    """The index of all items.

    Of each, all n-grams of its whole text (its columns in their order). A text, or first column (the prompt), of fewer
    than `ngram` words is one gram by itself if it has at least `min_item_words`, and if no other item shares it: what
    several questions have in common ("Which of the following is true?") is a phrase, not a question. In scripts
    without spaces both numbers are of words, not letters (2 letters each in Han and kana, 4 in Thai and its like).
    """
    long: dict[int, list[tuple[np.ndarray, int]]] = {}
    beside: list[tuple[np.ndarray, int]] = []
    short: dict[tuple[int, int], set[int]] = {}
    for number, item in enumerate(items):
        for part in dict.fromkeys((item.text, item.prompt)):
            scale = letters_per_word(part)
            for reading, words in zip(READINGS, read(part), strict=True):
                if len(words) < ngram * scale:
                    if len(words) >= min_item_words * scale:
                        short.setdefault((len(words), int(roll(words, len(words))[0])), set()).add(number)
                elif part == item.text:  # the prompt's n-grams are among these
                    long.setdefault(ngram * scale, []).append((words, number))
                    if reading == CHUNKS and scale == 1 and ngram > min_item_words:
                        beside += [(run, number) for run in _beside_marks(words, chunk_numbers(part), ngram - 1)]
    grams: dict[tuple[int, bool], list[tuple[np.ndarray, np.ndarray]]] = {}
    for length, entries in [*long.items(), (ngram - 1, beside)]:
        grams.setdefault((length, False), []).extend(_grams(block, length) for block in _blocks(entries))
    for (length, gram), numbers in short.items():
        if len(numbers) == 1:
            grams.setdefault((length, True), []).append((np.array([gram], np.uint64), np.array([*numbers], np.int32)))
    tables = {key: _table(found) for key, found in sorted(grams.items()) if found}
    return Index(list(items), {key: table for key, table in tables.items() if len(table.keys)})


def _blocks(entries: list[tuple[np.ndarray, int]]) -> Iterator[list[tuple[np.ndarray, int]]]:
    """The entries in blocks of a bounded number of words (one entry may pass it)."""
    block: list[tuple[np.ndarray, int]] = []
    size = 0
    for words, number in entries:
        block.append((words, number))
        size += len(words)
        if size >= _BLOCK_WORDS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _grams(block: list[tuple[np.ndarray, int]], ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """All n-gram hashes of a block's texts and their owners, without those of too few different words."""
    lengths = [len(words) for words, _ in block]
    words = np.concatenate([words for words, _ in block])
    owners = np.repeat(np.array([number for _, number in block], np.int32), lengths)
    text = np.repeat(np.arange(len(block)), lengths)
    count = len(words) - ngram + 1
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(words, ngram), axis=1)
    distinct = (windows[:, 1:] != windows[:, :-1]).sum(axis=1) + 1
    keep = (distinct >= min(_MIN_DISTINCT, ngram)) & (text[:count] == text[ngram - 1 :])
    return roll(words, ngram)[keep], owners[:count][keep]


def _beside_marks(words: np.ndarray, numbers: np.ndarray, ngram: int) -> list[np.ndarray]:
    """The runs of `ngram` words that are `ngram` + 1 chunks in a row, one of them of punctuation alone.

    Counted by white space, `x = add(one, two)` has four words, and a quotation of so many may be a word short here.
    """
    last = int(numbers[-1])
    if last == len(numbers) - 1:
        return []
    present = np.zeros(last + 2, bool)
    present[numbers] = True
    first, final = numbers[: len(numbers) - ngram + 1], numbers[ngram - 1 :]
    before, after = (first > 0) & ~present[first - 1], (final < last) & ~present[final + 1]
    chosen = (final - first == ngram) | (final - first == ngram - 1) & (before | after)
    return [words[at : at + ngram] for at in np.flatnonzero(chosen).tolist()]


def _table(found: list[tuple[np.ndarray, np.ndarray]]) -> Table:
    hashes = np.concatenate([grams for grams, _ in found])
    owners = np.concatenate([numbers for _, numbers in found])
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    fresh = np.ones(len(hashes), bool)  # both readings of one item often agree
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[fresh], owners[fresh]
    keys, first = np.unique(hashes, return_index=True)
    bits = max(_MIN_TABLE_BITS, int(len(keys) * 16).bit_length())
    seen = np.zeros(1 << bits, bool)
    seen[keys & np.uint64(len(seen) - 1)] = True
    return Table(keys, np.append(first, len(hashes)), owners, seen)
