"""Lines and paragraphs straight from UTF-8: where they are, what is in them, and keys by which equal ones are found.

The readable reference is transforms.text.segments.reference_segments.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import ANY_DIGIT, LETTER_OR_NUMBER, MARK, PLAIN, SPACE, UNSPACED, UPPERCASE
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import FACTOR, SEED, step

#: the rows of `counts`: code points without white space around them, words, upper-case letters, digits, and all
#: code points of the lines, white space included, line ends aside
CHARS, WORDS, UPPERS, DIGITS, LENGTH = range(5)
NUM_COUNTS = 5

SEED_2 = np.uint64(0x452821E638D01377)
_FACTOR_2 = np.uint64(0xD1342543DE82EF95)
_HALF = np.uint64(32)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_BLANK = np.uint64(0x20)
_ZERO = np.uint64(0x30)
_SENTINEL = 0xFFFC
_NO_WORD, _LETTER, _WORD = range(3)


@entry_point
def segments(data, offsets, paragraphs, one_number, index, flags, fold_index, folds, pool):
    """(row int64 [n], spans int64 [n, 2], counts int32 [NUM_COUNTS, n], keys uint64 [n, 2], holds media bool [n]) of
    all lines, or `paragraphs`, that are not blank.

    data: uint8, offsets: int64 [rows + 1]. Spans are bytes of the row, from the segment's first line's beginning to
    its last line's end, the newline included. A key is of the segment in its normal form; with `one_number` every
    number in it is 0.
    """
    room = len(offsets) - 1
    for at in range(offsets[0] + 1, offsets[-1]):
        room += data[at] == 0x0A and data[at - 1] != 0x0A
    row = np.empty(room, np.int64)
    spans = np.empty((room, 2), np.int64)
    counts = np.empty((NUM_COUNTS, room), np.int32)
    keys = np.empty((room, 2), np.uint64)
    media = np.empty(room, np.bool_)
    n = 0
    for r in range(len(offsets) - 1):
        begin, end = offsets[r], offsets[r + 1]
        at = line = begin
        is_open = False  # a segment has begun
        blank = True  # the line, so far
        spaces = 0  # after the last character that is none
        length = 0  # of the line, so far
        inside = _NO_WORD
        number = False
        first, second = SEED, SEED_2
        while at <= end:
            if at == end or data[at] == 0x0A:
                at += 1
                if is_open:
                    if not blank:
                        spans[n, 1] = min(at, end) - begin
                        counts[LENGTH, n] += length
                    if at > end or blank or not paragraphs:
                        keys[n, 0], keys[n, 1] = _finished(first), _finished(second)
                        n += 1
                        is_open = False
                        first, second = SEED, SEED_2
                    else:
                        spaces += 1
                line, length, blank, inside, number = at, 0, True, _NO_WORD, False
                continue
            code, size = decoded(data, at, end)
            at += size
            length += 1
            kind = flags[np.int64(index[code >> 8]) << 8 | (code & 255)]
            if kind & SPACE:
                spaces += 1
                inside, number = _NO_WORD, False
                continue
            if not is_open:
                is_open = True
                row[n] = r
                spans[n, 0] = line - begin
                counts[:, n] = 0
                media[n] = False
            elif spaces:
                first, second = step(first, _BLANK), step_2(second, _BLANK)
                counts[CHARS, n] += spaces
            spaces = 0
            blank = False
            counts[CHARS, n] += 1
            counts[UPPERS, n] += kind & UPPERCASE != 0
            counts[DIGITS, n] += kind & ANY_DIGIT != 0
            if code == _SENTINEL:
                media[n] = True
                inside = _NO_WORD
            elif kind & UNSPACED:
                counts[WORDS, n] += 1
                inside = _LETTER
            elif inside == _NO_WORD or (inside == _LETTER and not kind & MARK):
                counts[WORDS, n] += 1
                inside = _WORD
            if one_number and kind & LETTER_OR_NUMBER and not kind & PLAIN:
                if not number:
                    first, second = step(first, _ZERO), step_2(second, _ZERO)
                number = True
                continue
            number = False
            entry = np.int64(folds[np.int64(fold_index[code >> 8]) << 8 | (code & 255)])
            if entry == 0:
                first, second = step(first, np.uint64(code)), step_2(second, np.uint64(code))
            else:
                for k in range(entry + 1, entry + 1 + pool[entry]):
                    first, second = step(first, np.uint64(pool[k])), step_2(second, np.uint64(pool[k]))
    return row[:n], spans[:n], counts[:, :n], keys[:n], media[:n]


@kernel
def decoded(data, at, end):
    """(code point, bytes) at `at`; a byte that is no UTF-8 counts as U+FFFD."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if 0xC2 <= lead <= 0xDF:
        more = 1
        code = lead & 0x1F
    elif 0xE0 <= lead <= 0xEF:
        more = 2
        code = lead & 0x0F
    elif 0xF0 <= lead <= 0xF4:
        more = 3
        code = lead & 0x07
    else:
        return np.int64(0xFFFD), 1
    if at + more >= end:
        return np.int64(0xFFFD), 1
    for k in range(1, more + 1):
        byte = np.int64(data[at + k])
        if byte & 0xC0 != 0x80:
            return np.int64(0xFFFD), 1
        code = code << 6 | (byte & 0x3F)
    if code > 0x10FFFF:
        return np.int64(0xFFFD), 1
    return code, more + 1


@kernel
def step_2(state, value):
    """As hashing.step, another hash."""
    state = (state ^ value) * _FACTOR_2
    return state ^ (state >> _HALF)


@kernel
def _finished(x):
    """splitmix64's finaliser: partitions go by the low bits."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@entry_point
def first_of_equal(hi, lo, group):
    """Numbers equal keys, uint64 [n] halves, alike in `group`, int64 [n], from 0 in the order in which they first come;
    gives the places of the first ones, int64 [groups]. Linear, however often a key comes; fewer than 2^31 keys."""
    size = 16
    while size < 2 * len(hi):
        size *= 2
    mask = size - 1
    slots = np.full(size, -1, np.int32)
    firsts = np.empty(len(hi), np.int64)
    count = 0
    for at in range(len(hi)):
        slot = np.int64(((lo[at] ^ hi[at]) * FACTOR) >> np.uint64(20)) & mask
        while slots[slot] >= 0:
            earlier = firsts[slots[slot]]
            if hi[earlier] == hi[at] and lo[earlier] == lo[at]:
                break
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = count
            firsts[count] = at
            count += 1
        group[at] = slots[slot]
    return firsts[:count]


@kernel
def count_rows(group, row, counts):
    """Adds to `counts`, int64 [groups], in how many different rows each group is; `row`, of each member, ascends."""
    last = np.full(len(counts), -1, np.int64)
    for at in range(len(group)):
        if last[group[at]] != row[at]:
            last[group[at]] = row[at]
            counts[group[at]] += 1


@entry_point
def gather(data, begins, ends):
    """(data uint8, offsets int64 [n + 1]) of the bytes begins[k]:ends[k], int64 [n], one after the other."""
    offsets = np.zeros(len(begins) + 1, np.int64)
    for k in range(len(begins)):
        offsets[k + 1] = offsets[k] + ends[k] - begins[k]
    out = np.empty(offsets[-1], np.uint8)
    for k in range(len(begins)):
        out[offsets[k] : offsets[k + 1]] = data[begins[k] : ends[k]]
    return out, offsets


@entry_point
def cut(data, offsets, bounds, spans):
    """(data uint8, offsets int64 [rows + 1]) of the rows without some spans of their bytes.

    spans: int64 [n, 2] by start, those of row r from bounds[r], int64 [rows + 1], on; they may overlap. Where a span
    goes no blank lines pile up: newlines after it go too while there is a blank line, or nothing, before it, and at
    the end of a row those before it.
    """
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    ends = np.zeros(len(offsets), np.int64)
    size = 0
    for r in range(len(offsets) - 1):
        begin, end = offsets[r], offsets[r + 1]
        at, empty = begin, size
        for k in range(bounds[r], bounds[r + 1]):
            for place in range(at, min(end, begin + spans[k, 0])):
                out[size] = data[place]
                size += 1
            at = max(at, min(end, begin + spans[k, 1]))
            while at < end and data[at] == 0x0A and (size == empty or _ends_blank(out, empty, size)):
                at += 1
            if at == end:
                while size > empty and out[size - 1] == 0x0A:
                    size -= 1
        for place in range(at, end):
            out[size] = data[place]
            size += 1
        ends[r + 1] = size
    return out[:size], ends


@kernel
def _ends_blank(out, empty, size):
    """Whether out[empty:size] ends in a blank line."""
    return out[size - 1] == 0x0A and (size - empty == 1 or out[size - 2] == 0x0A)
