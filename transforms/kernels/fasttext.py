"""fastText's inference, to the last bit: the words of a text, the rows of the input matrix they stand for, their mean.

The reference is the C++ library (Joulin et al. 2016, arXiv 1607.01759; `Dictionary::getLine`, `Model::predict`).
Float32 sums depend on their order, so rows are added one by one in the library's; only what cannot change a bit is done
otherwise: a word's rows are kept in a cache, words are looked up in blocks, several dimensions are added at once.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.fasttext_ngrams import add_ngrams, add_rows, add_word_ngrams
from transforms.kernels.fasttext_output import best
from transforms.kernels.fasttext_words import END_HASH, FNV, equal, place, split, step

#: words that are found before their rows are looked up
_BLOCK = 1 << 8
#: rows that are gathered before they are added up
_CHUNK = 1 << 14

_LABEL_PREFIX = np.frombuffer(b"__label__", np.uint8)


class Model(NamedTuple):
    """What a model file holds, as kernels see it (transforms.text.fasttext_model makes it). All arrays are read-only.

    The words of the vocabulary come before the labels, both as in the file.
    """

    #: their bytes, uint8, and where each ends, int64 [entries + 1]
    entry_bytes: np.ndarray
    entry_bounds: np.ndarray
    #: a hash table of them, int32 [a power of two]: place in the file, -1 where empty
    entry_slots: np.ndarray
    num_words: int
    #: that of the end of line, -1 when it is no word of the vocabulary
    end_row: int
    #: n-grams are numbered by hash modulo this
    num_buckets: int
    #: of a pruned model, which n-grams are left: for every 64 numbers, uint64 [buckets / 64, 2], a bit each and how
    #: many are left before; empty when none is pruned
    left: np.ndarray
    #: their rows after the words', in the order of the numbers, int32
    left_rows: np.ndarray
    min_chars: int
    max_chars: int
    max_words: int
    #: the input matrix, float32 [words and n-grams, dimensions]
    rows: np.ndarray
    #: of the output matrix: float32 [labels, dimensions] for hierarchical softmax, else [dimensions, labels], and the
    #: factor, float32 [labels], that a quantized matrix keeps apart
    weights: np.ndarray
    norms: np.ndarray
    #: one of fasttext_output's
    loss: int
    #: int32 [2 * labels - 1, 2], the children of each node of the Huffman tree, -1 at leaves
    tree: np.ndarray
    #: float32 [513]
    sigmoids: np.ndarray


class _Scratch(NamedTuple):
    """A block of words: where each begins, its bytes (-1: a label), hash, cache slot; n-grams of one word; a chunk of
    rows and the sum of those before it."""

    begins: np.ndarray
    sizes: np.ndarray
    codes: np.ndarray
    slots: np.ndarray
    touched: np.ndarray
    numbers: np.ndarray
    chunk: np.ndarray
    hidden: np.ndarray


@entry_point
def predict(data, starts, stops, unicode_spaces, model, cache, cache_bytes, labels, scores, num_words):
    """The best labels of data[starts:stops], row by row.

    data: uint8 (UTF-8); starts, stops: int64 [rows]. cache: int32 [a power of two, n], zeros at first, and the same
    memory as uint8; a slot is (number of rows or -1 for a label, bytes of the word, the word, its rows). Out: labels
    int32 and scores float32 [rows, k], -1 and NaN where there are fewer than k; num_words int64 [rows].
    """
    scratch = _Scratch(
        np.empty(_BLOCK, np.int64),
        np.empty(_BLOCK, np.int64),
        np.empty(_BLOCK, np.uint64),
        np.empty(_BLOCK, np.int64),
        np.empty(_BLOCK, np.int32),
        np.empty(_BLOCK, np.int32),
        np.empty(_CHUNK, np.int32),
        np.empty(model.rows.shape[1], np.float32),
    )
    hidden = scratch.hidden
    hashes = np.empty(2 * _BLOCK, np.int32)
    for row in range(len(starts)):
        hidden[:] = 0
        labels[row] = -1
        scores[row] = np.nan
        count, num_words[row], hashes = _sum_text(
            data, starts[row], stops[row], unicode_spaces, model, cache, cache_bytes, scratch, hashes
        )
        if count:
            scale = np.float32(1.0 / count)
            for at in range(len(hidden)):
                hidden[at] *= scale
            best(hidden, model.weights, model.norms, model.loss, model.tree, model.sigmoids, labels[row], scores[row])


@entry_point
def index_entries(entry_bytes, bounds, slots):
    """Fills `Model.entry_slots`, -1 everywhere at first. Of two equal entries the later is found, as in the library."""
    for entry in range(len(bounds) - 1):
        code = FNV
        for at in range(bounds[entry], bounds[entry + 1]):
            code = step(code, entry_bytes[at])
        size = bounds[entry + 1] - bounds[entry]
        slot = _entry_slot(entry_bytes, bounds[entry], size, code, entry_bytes, bounds, slots)
        slots[slot] = entry


@kernel
def _sum_text(data, start, stop, unicode_spaces, model, cache, cache_bytes, scratch, hashes):
    """Adds up the rows of a text; gives (their number, words before the end of line, `hashes` or a longer one)."""
    # Taken out once: each use of a tuple's array in a loop would count a reference.
    chunk, hidden, sizes, codes = scratch.chunk, scratch.hidden, scratch.sizes, scratch.codes
    rows, max_words = model.rows, model.max_words
    n = added = words = num_hashes = 0
    at = start
    ended = False
    while not ended:
        num, at, ended = split(data, at, stop, unicode_spaces, scratch.begins, sizes, codes)
        n, more = _gather(data, num, model, cache, cache_bytes, scratch, n)
        added += more
        words += num
        if max_words > 1:
            if num_hashes + num >= len(hashes):
                longer = np.empty(2 * (num_hashes + num), np.int32)
                longer[:num_hashes] = hashes[:num_hashes]
                hashes = longer
            for word in range(num):
                if sizes[word] >= 0:
                    hashes[num_hashes] = np.int32(codes[word])
                    num_hashes += 1
    if model.end_row >= 0:
        if n == _CHUNK:
            add_rows(rows, chunk, n, hidden)
            added += n
            n = 0
        chunk[n] = model.end_row
        n += 1
    if max_words > 1:
        hashes[num_hashes] = np.int32(END_HASH)
        num_hashes += 1
    n, more = add_word_ngrams(
        hashes,
        num_hashes,
        max_words,
        model.num_buckets,
        model.num_words,
        model.left,
        model.left_rows,
        scratch.numbers,
        rows,
        chunk,
        n,
        hidden,
    )
    added += more
    add_rows(rows, chunk, n, hidden)
    return added + n, words, hashes


@kernel
def _gather(data, num, model, cache, cache_bytes, scratch, n):
    """Puts the rows of a block's `num` words into its chunk, which holds n; gives (rows in it now, rows added up)."""
    begins, sizes, codes, slots, touched = scratch.begins, scratch.sizes, scratch.codes, scratch.slots, scratch.touched
    numbers, chunk, hidden = scratch.numbers, scratch.chunk, scratch.hidden
    entry_bytes, bounds, entries, num_words = model.entry_bytes, model.entry_bounds, model.entry_slots, model.num_words
    left, left_rows, rows = model.left, model.left_rows, model.rows
    width = cache.shape[1]
    for word in range(num):
        # All slots are asked for before the first is read: memory answers such questions side by side.
        slots[word] = place(codes[word], len(cache))
        touched[word] = cache[slots[word], 0]
    added = 0
    for word in range(num):
        begin, size, slot = begins[word], sizes[word], slots[word]
        if n > _CHUNK - width:
            add_rows(rows, chunk, n, hidden)
            added += n
            n = 0
        byte_at = 4 * (slot * width + 2)
        rows_at = 2 + (size + 3) // 4
        num_rows = cache[slot, 0]
        if equal(data, begin, size, cache_bytes, byte_at, cache[slot, 1]):
            for k in range(num_rows):
                chunk[n + k] = cache[slot, rows_at + k]
            n += max(0, num_rows)
        else:
            entry = entries[_entry_slot(data, begin, size, codes[word], entry_bytes, bounds, entries)]
            if entry >= num_words or (entry < 0 and _is_label(data, begin, size)):
                num_rows = -1
            else:
                before = added + n
                if entry >= 0:
                    chunk[n] = entry
                    n += 1
                n, more = add_ngrams(
                    data,
                    begin,
                    begin + size,
                    model.min_chars,
                    model.max_chars,
                    model.num_buckets,
                    num_words,
                    left,
                    left_rows,
                    numbers,
                    rows,
                    chunk,
                    n,
                    hidden,
                )
                added += more
                num_rows = added + n - before
            if rows_at + num_rows <= width:
                cache[slot, 0] = num_rows
                cache[slot, 1] = size
                for k in range(size):
                    cache_bytes[byte_at + k] = data[begin + k]
                for k in range(num_rows):
                    cache[slot, rows_at + k] = chunk[n - num_rows + k]
        if num_rows < 0:
            sizes[word] = -1
    return n, added


@kernel
def _is_label(data, begin, size):
    length = len(_LABEL_PREFIX)
    return size >= length and equal(data, begin, length, _LABEL_PREFIX, 0, length)


@kernel
def _entry_slot(data, begin, size, code, entry_bytes, bounds, slots):
    """Where a word is in the table of entries, or where it would go."""
    slot = place(code, len(slots))
    while True:
        entry = slots[slot]
        if entry < 0:
            return slot
        if equal(data, begin, size, entry_bytes, bounds[entry], bounds[entry + 1] - bounds[entry]):
            return slot
        slot = (slot + 1) & (len(slots) - 1)
