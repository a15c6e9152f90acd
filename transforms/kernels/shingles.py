"""Shingles of texts, as transforms.dedup.shingles makes them, from tables of transforms.dedup.shingle_tables.

A mapping of code points is a two-level table like the properties' (kernels.codepoints): 0 where a code point stays,
else the place in `pool` (int32) of how many it becomes and of these.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import decode
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import SEED, mixed, step

COMBINING_CLASS = 0xFF  # canonical, the low eight bits
UNSPACED = 1 << 8  # of a script without spaces
LETTER_OR_MARK = 1 << 9
MARK = 1 << 10
NUMBER = 1 << 11
NUMERIC = 1 << 12  # str.isnumeric
NOT_NFC = 1 << 13  # may change in NFC, or compose with what stands before it
REORDERED = 1 << 14  # its decomposition holds what canonical order may move and what is no accent

#: what became of a row
DONE, NOT_NORMAL, LEFT = range(3)

_MAX_BYTES = 1 << 30
_ZERO = np.uint64(0x30)  # which every number becomes


@entry_point
def shingles(data, offsets, ngram, is_nfc, index, kinds, fold_index, folds, bare_index, bares, pool, states):
    """(hashes of the word n-grams of all rows uint64, in order and with repeats; their bounds int64 [rows + 1]).

    data: uint8, offsets: int64 [rows + 1]. A row in states, uint8 [rows], that is NOT_NORMAL has to be brought into
    NFC first (and `is_nfc` said); one that is LEFT is for the readable reference. Both have no shingles here.
    """
    codes = np.empty(1 << 12, np.uint32)
    found = np.empty(1 << 12, np.uint32)
    words = np.empty(1 << 12, np.uint64)
    made = np.empty(1 << 12, np.uint64)
    bounds = np.zeros(len(offsets), np.int64)
    mappings = (fold_index, folds, bare_index, bares, pool)
    count = 0
    for row in range(len(offsets) - 1):
        bounds[row + 1] = count
        start, stop = offsets[row], offsets[row + 1]
        if stop - start > _MAX_BYTES:
            states[row] = LEFT
            continue
        # A code point folds to at most three.
        if 3 * (stop - start) > len(codes):
            codes = np.empty(4 * (stop - start), np.uint32)
            found = np.empty(4 * (stop - start), np.uint32)
            words = np.empty(4 * (stop - start), np.uint64)
        m, states[row] = _row_words(data, start, stop, is_nfc, index, kinds, mappings, codes, found, words)
        if m == 0:
            continue
        width = min(ngram, m)
        num = m - width + 1
        if count + num > len(made):
            grown = np.empty(2 * (count + num), np.uint64)
            grown[:count] = made[:count]
            made = grown
        _roll(words, width, made[count : count + num])
        count += num
        bounds[row + 1] = count
    return made[:count], bounds


@kernel
def _roll(words, width, rolled):
    """Hashes of all windows of `width` words; windows are the inner loop, which vectorises."""
    rolled[:] = np.uint64(0)
    for k in range(width):
        for first in range(len(rolled)):
            rolled[first] = mixed(rolled[first] + words[first + k])


@kernel
def _row_words(data, start, stop, is_nfc, index, kinds, mappings, codes, found, words):
    """(number of words of data[start:stop], whose hashes are in `words`; what became of the row).

    Words of ASCII are hashed as they are read. A stretch with other characters in it, up to an ASCII character that
    belongs to no word, is decoded and folded by itself: none of the rules looks beyond such a character.
    """
    count = 0
    at = start
    while at < stop:
        first = at
        byte = data[at]
        if _is_letter(byte):
            state = SEED
            while at < stop and _is_letter(data[at]):
                state = step(state, np.uint64(data[at] | np.uint8(0x20)))
                at += 1
        elif _is_digit(byte):
            state = step(SEED, _ZERO)
            while at < stop and _is_digit(data[at]):
                at += 1
        elif byte < 0x80:
            at += 1
            continue
        if at > first and (at == stop or data[at] < 0x80):
            words[count] = state
            count += 1
            continue
        while at < stop and not _ends_stretch(data, at, stop):
            at += 1
        count = _other_words(data, first, at, is_nfc, index, kinds, mappings, codes, found, words, count)
        if count < 0:
            return 0, np.uint8(-count)
    return count, np.uint8(DONE)


@kernel
def _is_letter(byte):
    low = byte | np.uint8(0x20)
    return np.uint8(0x61) <= low <= np.uint8(0x7A)


@kernel
def _is_digit(byte):
    return np.uint8(0x30) <= byte <= np.uint8(0x39)


@kernel
def _ends_stretch(data, at, stop):
    """Whether data[at] belongs to no word and the quick way goes on after it."""
    byte = data[at]
    if byte >= 0x80 or _is_letter(byte) or _is_digit(byte):
        return False
    return at + 1 < stop and (_is_letter(data[at + 1]) or _is_digit(data[at + 1]))


@kernel
def _other_words(data, start, stop, is_nfc, index, kinds, mappings, codes, found, words, count):
    """Adds the words of data[start:stop] to the `count` there are; gives their new number, or -NOT_NORMAL or -LEFT."""
    fold_index, folds, bare_index, bares, pool = mappings
    n = decode(data, start, stop, index, kinds, 0x20, found, codes)
    if n < 0:
        return -LEFT
    if not is_nfc and not _is_normal(codes, n):
        return -NOT_NORMAL
    n = _fold(found, n, fold_index, folds, pool, codes)
    # Now `codes` are folded, and `found` is free for their kinds.
    if not _kinds(codes, n, index, kinds, found):
        return -LEFT
    return _words(codes, found, n, bare_index, bares, pool, words, count)


@kernel
def _is_normal(kinds, n):
    """Unicode's quick check of NFC: false also where only a full one would tell."""
    last = 0
    for at in range(n):
        if kinds[at] & NOT_NFC:
            return False
        order = kinds[at] & COMBINING_CLASS
        if order and order < last:
            return False
        last = order
    return True


@kernel
def _fold(codes, n, index, folds, pool, folded):
    """str.casefold; gives the number of code points in `folded`."""
    count = 0
    for at in range(n):
        code = np.int64(codes[at])
        entry = np.int64(folds[np.int64(index[code >> 8]) << 8 | (code & 255)])
        if entry == 0:
            folded[count] = code
            count += 1
        else:
            for k in range(entry + 1, entry + 1 + pool[entry]):
                folded[count] = pool[k]
                count += 1
    return count


@kernel
def _kinds(codes, n, index, kinds, into):
    """Looks up the kinds of code points; false when one may be REORDERED."""
    every = 0
    for at in range(n):
        code = np.int64(codes[at])
        kind = np.int64(kinds[np.int64(index[code >> 8]) << 8 | (code & 255)])
        into[at] = kind
        every |= kind
    return every & REORDERED == 0


@kernel
def _words(codes, kinds, n, bare_index, bares, pool, words, count):
    """Adds hashes of the words in their normal form to `words`, of which there are `count`; gives their number."""
    at = 0
    while at < n:
        kind = kinds[at]
        stop = at + 1
        if kind & UNSPACED:
            while stop < n and kinds[stop] & MARK:
                stop += 1
        elif kind & LETTER_OR_MARK:
            while stop < n and kinds[stop] & LETTER_OR_MARK:
                stop += 1
        elif kind & NUMBER:
            while stop < n and kinds[stop] & NUMBER:
                stop += 1
        else:
            at = stop
            continue
        if kind & NUMERIC:
            words[count] = step(SEED, _ZERO)
        elif kind & UNSPACED:
            words[count] = _hash(codes, at, stop)
        else:
            words[count] = _bare_hash(codes, at, stop, bare_index, bares, pool)
        count += 1
        at = stop
    return count


@kernel
def _hash(codes, at, stop):
    state = SEED
    for k in range(at, stop):
        state = step(state, np.uint64(codes[k]))
    return state


@kernel
def _bare_hash(codes, at, stop, index, bares, pool):
    """Hash of a word without its accents, or with them when it is nothing else."""
    state = SEED
    left = 0
    for k in range(at, stop):
        code = np.int64(codes[k])
        entry = np.int64(bares[np.int64(index[code >> 8]) << 8 | (code & 255)])
        if entry == 0:
            state = step(state, np.uint64(code))
            left += 1
        else:
            for part in range(entry + 1, entry + 1 + pool[entry]):
                state = step(state, np.uint64(pool[part]))
                left += 1
    return state if left else _hash(codes, at, stop)
