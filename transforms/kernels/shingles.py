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
from transforms.kernels.minhash import signature

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
    count = 0
    for row in range(len(offsets) - 1):
        bounds[row + 1] = count
        size = offsets[row + 1] - offsets[row]
        if size > _MAX_BYTES:
            states[row] = LEFT
            continue
        # A code point folds to at most three.
        if 3 * size > len(codes):
            codes = np.empty(4 * size, np.uint32)
            found = np.empty(4 * size, np.uint32)
            words = np.empty(4 * size, np.uint64)
        n = decode(data, offsets[row], offsets[row + 1], index, kinds, 0x20, found, codes)
        if n < 0:
            states[row] = LEFT
            continue
        if not is_nfc and not _is_normal(codes, n):
            states[row] = NOT_NORMAL
            continue
        n = _fold(found, n, fold_index, folds, pool, codes)
        # Now `codes` are folded, and `found` is free for their kinds.
        if not _kinds(codes, n, index, kinds, found):
            states[row] = LEFT
            continue
        m = _words(codes, found, n, bare_index, bares, pool, words)
        if m == 0:
            continue
        width = min(ngram, m)
        if count + m > len(made):
            grown = np.empty(2 * (count + m), np.uint64)
            grown[:count] = made[:count]
            made = grown
        for first in range(m - width + 1):
            value = np.uint64(0)
            for k in range(first, first + width):
                value = mixed(value + words[k])
            made[count] = value
            count += 1
        bounds[row + 1] = count
    return made[:count], bounds


@entry_point
def signatures(hashed, bounds, multipliers, offsets, out):
    """MinHash signatures of rows of shingles into `out`, uint64 [rows, permutations]; rows without any are left."""
    for row in range(len(bounds) - 1):
        if bounds[row + 1] > bounds[row]:
            out[row] = signature(hashed[bounds[row] : bounds[row + 1]], multipliers, offsets)


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
def _words(codes, kinds, n, bare_index, bares, pool, words):
    """Hashes of the words in their normal form; gives their number."""
    count = at = 0
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
            words[count] = step(SEED, np.uint64(0x30))
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
