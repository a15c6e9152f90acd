"""English words of a decoded text, as transforms.text.english cuts them.

Chunks (text between white space) of letters or of digits, with at most one mark behind them, are cut here. How the
others are cut is looked up by the chunk's hash in a table that the readable tokenizer fills: it sees each distinct
chunk once. The table is `keys` uint64 and `where` int64 [slots], and `pool` int32: where[slot] is the place in the pool
of a chunk's number of tokens and of their lengths, which add up to the chunk's.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import LOWER, PLAIN, SPACE, decode
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import as_key, hash_codes, slot_of
from transforms.kernels.words import add_pieces

#: no exception of the tokenizer is longer
_EXCEPTION_CHARS = 16


@kernel
def english_words(codes, properties, n, whole, keys, where, pool, starts, ends):
    """`split_english`; -1 where the table lacks a chunk. whole: the tokenizer's exceptions, uint64 [slots]."""
    count = 0
    at = 0
    while at < n:
        if properties[at] & SPACE:
            at += 1
            continue
        stop = _chunk_end(properties, at, n)
        cut = _plain_end(codes, properties, at, stop, whole)
        if cut > at:
            count = add_pieces(properties, at, cut, starts, ends, count)
            count = add_pieces(properties, cut, stop, starts, ends, count)
        else:
            key = as_key(hash_codes(codes, at, stop))
            slot = slot_of(keys, len(keys), key)
            if keys[slot] != key or where[slot] < 0:
                return -1
            entry = where[slot]
            for k in range(entry + 1, entry + 1 + pool[entry]):
                count = add_pieces(properties, at, at + pool[k], starts, ends, count)
                at += pool[k]
        at = stop
    return count


@kernel
def _chunk_end(properties, at, n):
    while at < n and not properties[at] & SPACE:
        at += 1
    return at


@kernel
def _plain_end(codes, properties, at, stop, whole):
    """The end of a plain chunk's first token (a mark after it is the second); `at` when the chunk is not plain."""
    end = at
    while end < stop and properties[end] & PLAIN:
        end += 1
    if end == at:
        while end < stop and 0x30 <= codes[end] <= 0x39:
            end += 1
    if end == at or end < stop - 1:
        return at
    if end < stop:
        mark = codes[end]
        if mark == 0x2E:
            if not (properties[end - 1] & LOWER or codes[end - 1] <= 0x39):
                return at
        elif not (mark == 0x2C or mark == 0x3A or mark == 0x3B or mark == 0x21 or mark == 0x3F or mark == 0x29):
            return at
        if _is_whole(codes, at, end, whole):
            return at
    return at if _is_whole(codes, at, stop, whole) else end


@kernel
def _is_whole(codes, at, stop, whole):
    if stop - at > _EXCEPTION_CHARS:
        return False
    key = as_key(hash_codes(codes, at, stop))
    return whole[slot_of(whole, len(whole), key)] == key


@entry_point
def unknown_chunks(data, offsets, index, flags, whole, keys, where, used):
    """Chunks that english_words would miss, each once, entered into the table without a place in the pool.

    (code points of all of them uint32, their bounds in these int64 [chunks + 1], keys, where: the table, which may
    have grown.)
    """
    codes = np.empty(1 << 12, np.uint32)
    properties = np.empty(1 << 12, np.uint32)
    found = np.empty(1 << 12, np.uint32)
    bounds = np.zeros(1 << 8, np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        if size > len(codes):
            codes = np.empty(size + size // 4, np.uint32)
            properties = np.empty(size + size // 4, np.uint32)
        n = decode(data, offsets[row], offsets[row + 1], index, flags, -1, codes, properties)
        at = 0
        while at < n:
            if properties[at] & SPACE:
                at += 1
                continue
            stop = _chunk_end(properties, at, n)
            if _plain_end(codes, properties, at, stop, whole) == at:
                key = as_key(hash_codes(codes, at, stop))
                slot = slot_of(keys, len(keys), key)
                if keys[slot] != key:
                    keys[slot] = key
                    where[slot] = -1
                    used += 1
                    last = bounds[count]
                    if last + stop - at > len(found):
                        found = _grown(found, 2 * (last + stop - at))
                    found[last : last + stop - at] = codes[at:stop]
                    count += 1
                    if count == len(bounds):
                        bounds = _grown(bounds, 2 * count)
                    bounds[count] = last + stop - at
                    if 2 * used > len(keys):
                        keys, where = _rehashed(keys, where)
            at = stop
    return found[: bounds[count]], bounds[: count + 1], keys, where


@entry_point
def place_chunks(found, bounds, places, keys, where):
    """Says where in the pool the chunks are."""
    for k in range(len(places)):
        key = as_key(hash_codes(found, bounds[k], bounds[k + 1]))
        where[slot_of(keys, len(keys), key)] = places[k]


@entry_point
def chunk_set(found, bounds, keys):
    """Enters chunks into a set."""
    for k in range(len(bounds) - 1):
        key = as_key(hash_codes(found, bounds[k], bounds[k + 1]))
        keys[slot_of(keys, len(keys), key)] = key


@kernel
def _grown(array, size):
    grown = np.empty(size, array.dtype)
    grown[: len(array)] = array
    return grown


@kernel
def _rehashed(keys, where):
    new_keys = np.zeros(2 * len(keys), np.uint64)
    new_where = np.empty(2 * len(keys), np.int64)
    for slot in range(len(keys)):
        if keys[slot] != np.uint64(0):
            to = slot_of(new_keys, len(new_keys), keys[slot])
            new_keys[to] = keys[slot]
            new_where[to] = where[slot]
    return new_keys, new_where
