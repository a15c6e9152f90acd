"""n-gram models: tokens of texts as hashes, and the probability of a text.

A model is a trie. Nodes are n-grams, numbered level by level; a word's number is its unigram's. `children`, uint64
slots of a power of two, finds a longer one by (node + 1) << 32 | word, and `child`, int32, is its number; `suffix`,
int32 [nodes], is the n-gram without its first word, -1 for a unigram. `log_prob` and `back_off`, float32 [nodes], are
natural logarithms.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import decode
from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import SEED, slot_of, step

LETTER, SYMBOL, UNSPACED, MARK, LINE_END = (1 << bit for bit in range(5))
#: numbers of what is no word, and their keys too
UNKNOWN, BEGIN, END = range(3)

_SENTINEL = 0x20  # what stands for one: white space
_TOKEN, _LINE = range(2)
_32 = np.uint64(32)
_KEYS = np.uint64(3)


@kernel
def _next(kinds, at, n):
    """(_TOKEN or _LINE, its start, its stop): the next token, or end of a line or of the text."""
    while at < n:
        kind = kinds[at]
        if kind & LINE_END:
            return _LINE, at, at + 1
        if kind == 0:
            at += 1
            continue
        stop = at + 1
        if kind & UNSPACED:
            while stop < n and kinds[stop] & MARK:
                stop += 1
        elif kind & LETTER:
            while stop < n and kinds[stop] & LETTER and not kinds[stop] & UNSPACED:
                stop += 1
        return _TOKEN, at, stop
    return _LINE, n, n


@kernel
def _key(codes, start, stop, fold_index, folds):
    """What stands for a token: a hash of its normal form."""
    state = SEED
    for at in range(start, stop):
        code = np.int64(codes[at])
        normal = folds[np.int64(fold_index[code >> 8]) << 8 | (code & 255)]
        state = step(state, np.uint64(normal if normal else code))
    return state if state >= _KEYS else state + _KEYS


@kernel
def word_keys(data, offsets, index, kinds, fold_index, folds):
    """Keys of rows that are one token each, in its normal form; uint64."""
    keys = np.zeros(len(offsets) - 1, np.uint64)
    for row in range(len(keys)):
        room = offsets[row + 1] - offsets[row]
        codes, found = np.empty(room, np.uint32), np.empty(room, np.uint32)
        n = decode(data, offsets[row], offsets[row + 1], index, kinds, _SENTINEL, codes, found)
        keys[row] = _key(codes, 0, max(n, 0), fold_index, folds)
    return keys


@kernel
def tokens(data, offsets, index, kinds, fold_index, folds):
    """(keys uint64, row, start and stop int32 in code points) of all tokens, BEGIN and END around each line.

    data: uint8, offsets: int64 [rows + 1]; the tables are those of transforms.text.ngram_words.
    """
    size = 1 << 12
    keys, row_of = np.empty(size, np.uint64), np.empty(size, np.int32)
    starts, stops = np.empty(size, np.int32), np.empty(size, np.int32)
    codes, found = np.empty(1 << 12, np.uint32), np.empty(1 << 12, np.uint32)
    count = 0
    for row in range(len(offsets) - 1):
        room = offsets[row + 1] - offsets[row]
        if room > len(codes):
            codes, found = np.empty(2 * room, np.uint32), np.empty(2 * room, np.uint32)
        n = decode(data, offsets[row], offsets[row + 1], index, kinds, _SENTINEL, codes, found)
        at = 0
        in_line = False
        while at < n or in_line:
            what, start, at = _next(found, at, n)
            if what == _LINE and not in_line:
                continue
            if count + 2 > len(keys):
                size = 2 * len(keys)
                keys, row_of = _grown(keys, size), _grown(row_of, size)
                starts, stops = _grown(starts, size), _grown(stops, size)
            if what == _TOKEN and not in_line:
                keys[count], row_of[count], starts[count], stops[count] = BEGIN, row, start, start
                count += 1
            in_line = what == _TOKEN
            keys[count] = _key(codes, start, at, fold_index, folds) if in_line else np.uint64(END)
            row_of[count], starts[count], stops[count] = row, start, at
            count += 1
    return keys[:count], row_of[:count], starts[:count], stops[:count]


@kernel
def _grown(array, size):
    grown = np.empty(size, array.dtype)
    grown[: len(array)] = array
    return grown


@kernel
def file_keys(wanted, numbers, keys, values):
    """Files numbers[k] under wanted[k] in a table of empty slots: `keys` uint64 of 0, `values` int32."""
    for at in range(len(wanted)):
        slot = slot_of(keys, len(keys), wanted[at])
        keys[slot], values[slot] = wanted[at], numbers[at]


@kernel
def _child(node, word, children, child):
    """The n-gram `node` with a word behind it, -1 when the model has none."""
    slot = slot_of(children, len(children), np.uint64(node + 1) << _32 | np.uint64(word))
    return child[slot] if children[slot] != 0 else -1


@kernel
def score(
    data, offsets, index, kinds, fold_index, folds, vocabulary, number,
    children, child, suffix, log_prob, back_off, sums, counts,
):  # fmt: skip
    """Fills `sums`, float64 [rows], with log probabilities of texts, and `counts`, int64, with their tokens and lines.

    vocabulary, number: key of a word -> its number. Nothing goes on behind the longest n-grams; their back-off is 0.
    """
    codes, found = np.empty(1 << 12, np.uint32), np.empty(1 << 12, np.uint32)
    for row in range(len(offsets) - 1):
        room = offsets[row + 1] - offsets[row]
        if room > len(codes):
            codes, found = np.empty(2 * room, np.uint32), np.empty(2 * room, np.uint32)
        n = decode(data, offsets[row], offsets[row + 1], index, kinds, _SENTINEL, codes, found)
        at = count = 0
        total = 0.0
        state = BEGIN
        in_line = False
        while at < n or in_line:
            what, start, at = _next(found, at, n)
            if what == _LINE and not in_line:
                continue
            in_line = what == _TOKEN
            word = END
            if in_line:
                key = _key(codes, start, at, fold_index, folds)
                slot = slot_of(vocabulary, len(vocabulary), key)
                word = np.int64(number[slot]) if vocabulary[slot] != 0 else UNKNOWN
            node = word if state < 0 else _child(state, word, children, child)
            while node < 0:
                total += back_off[state]
                state = suffix[state]
                node = word if state < 0 else _child(state, word, children, child)
            total += log_prob[node]
            count += 1
            state = np.int64(node) if in_line else BEGIN
        sums[row], counts[row] = total, count
