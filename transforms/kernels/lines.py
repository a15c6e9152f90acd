"""Lines and paragraphs of a decoded text, as the implementations cut them, and what is counted in them.

Each cut fills `starts` and `ends` (int32, room for one more than there are code points) and gives their number.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import DATATROVE_TERMINAL, ENDS_LINE, LINE_END, SPACE
from transforms.kernels.compiled import kernel
from transforms.kernels.counts import is_spaced_dots
from transforms.kernels.hashing import FACTOR, SEED, as_key, slot_of, step, table_size

#: the block of repeated segments: how many segments; those that occur more than once, all of them, and their
#: characters; those equal to an earlier one, and their characters; characters of all
SEGMENTS, REPEATED, REPEATED_CHARS, LATER, LATER_CHARS, SEGMENT_CHARS = range(6)
SEGMENT_BLOCK = 6

#: the block of lines: how many; those that begin with -, *, ●, ‣ and •; those that end in "..." or "…", in "…",
#: and in ". . ."; those FineWeb takes for short, and those short in the row's language; those it takes for punctuated,
#: as paper and as datatrove
LINES, DASHES, STARS, DISCS, TRIANGLES, DOTTED, END_DOTS, END_ELLIPSIS, END_SPACED, SHORT, SHORT_IN = range(11)
PUNCTUATED, PUNCTUATED_DATATROVE = 11, 12
LINE_BLOCK = 13
SHORT_LINE_CHARS = 30

_32 = np.uint64(32)


@kernel
def split_newlines(codes, n, starts, ends):
    """str.split("\\n")."""
    count = first = 0
    for at in range(n):
        if codes[at] == 0x0A:
            starts[count], ends[count] = first, at
            count += 1
            first = at + 1
    starts[count], ends[count] = first, n
    return count + 1


@kernel
def split_double_newlines(codes, n, starts, ends):
    """str.split("\\n\\n")."""
    count = first = at = 0
    while at + 1 < n:
        if codes[at] == 0x0A and codes[at + 1] == 0x0A:
            starts[count], ends[count] = first, at
            count += 1
            first = at = at + 2
        else:
            at += 1
    starts[count], ends[count] = first, n
    return count + 1


@kernel
def split_newline_runs(codes, at, n, shortest, starts, ends):
    """re.split of code points at..n by runs of at least `shortest` newlines."""
    count = 0
    first = at
    while at < n:
        if codes[at] != 0x0A:
            at += 1
            continue
        stop = at + 1
        while stop < n and codes[stop] == 0x0A:
            stop += 1
        if stop - at >= shortest:
            starts[count], ends[count] = first, at
            count += 1
            first = stop
        at = stop
    starts[count], ends[count] = first, n
    return count + 1


@kernel
def split_line_ends(codes, properties, n, starts, ends):
    """str.splitlines."""
    count = first = at = 0
    while at < n:
        if properties[at] & LINE_END:
            starts[count], ends[count] = first, at
            count += 1
            if codes[at] == 0x0D and at + 1 < n and codes[at + 1] == 0x0A:
                at += 1
            first = at + 1
        at += 1
    if first < n:
        starts[count], ends[count] = first, n
        count += 1
    return count


@kernel
def stripped(properties, first, stop):
    """first..stop without white space around it: str.strip."""
    while first < stop and properties[first] & SPACE:
        first += 1
    while stop > first and properties[stop - 1] & SPACE:
        stop -= 1
    return first, stop


@kernel
def drop_blank(properties, starts, ends, count, strip):
    """Removes segments of white space alone, and, with `strip`, white space around the others; gives the number."""
    kept = 0
    for k in range(count):
        first, stop = stripped(properties, starts[k], ends[k])
        if first < stop:
            starts[kept], ends[kept] = (first, stop) if strip else (starts[k], ends[k])
            kept += 1
    return kept


@kernel
def count_lines(codes, properties, starts, ends, count, strip, short, out, at):
    """Fills the block of lines; `strip`: looks for bullets and ellipses inside the white space around a line; `short`:
    the most characters of what is short in the row's language."""
    for k in range(LINE_BLOCK):
        out[at + k] = 0
    out[at + LINES] = count
    for k in range(count):
        first, stop = starts[k], ends[k]
        if first < stop:
            out[at + PUNCTUATED] += properties[stop - 1] & ENDS_LINE != 0
            out[at + PUNCTUATED_DATATROVE] += properties[stop - 1] & DATATROVE_TERMINAL != 0
        out[at + SHORT] += stop - first <= SHORT_LINE_CHARS
        out[at + SHORT_IN] += stop - first <= short
        if strip:
            first, stop = stripped(properties, first, stop)
        if first == stop:
            continue
        begin = codes[first]
        out[at + DASHES] += begin == 0x2D
        out[at + STARS] += begin == 0x2A
        out[at + DISCS] += begin == 0x25CF
        out[at + TRIANGLES] += begin == 0x2023
        out[at + DOTTED] += begin == 0x2022
        ellipsis = codes[stop - 1] == 0x2026
        out[at + END_ELLIPSIS] += ellipsis
        dots = stop - first >= 3 and codes[stop - 1] == 0x2E and codes[stop - 2] == 0x2E and codes[stop - 3] == 0x2E
        out[at + END_DOTS] += dots or ellipsis
        out[at + END_SPACED] += stop - first >= 5 and is_spaced_dots(codes, stop - 5, stop)


@kernel
def count_repeated(codes, starts, ends, count, keys, counts, out, at):
    """Fills the block of repeated segments; keys and counts have table_size(count) slots."""
    size = table_size(count)
    keys[:size] = 0
    repeated = repeated_chars = later = later_chars = total = 0
    for k in range(count):
        chars = ends[k] - starts[k]
        total += chars
        key = as_key(_hash_segment(codes, starts[k], ends[k]))
        slot = slot_of(keys, size, key)
        if keys[slot] != key:
            keys[slot] = key
            counts[slot] = 1
            continue
        later += 1
        later_chars += chars
        newly = 2 if counts[slot] == 1 else 1
        counts[slot] = 2
        repeated += newly
        repeated_chars += newly * chars
    out[at + SEGMENTS] = count
    out[at + REPEATED] = repeated
    out[at + REPEATED_CHARS] = repeated_chars
    out[at + LATER] = later
    out[at + LATER_CHARS] = later_chars
    out[at + SEGMENT_CHARS] = total


@kernel
def _hash_segment(codes, start, stop):
    """Hash of codes[start:stop]: two sequences of two code points a step, which a processor works on side by side."""
    one = step(SEED, np.uint64(stop - start))
    two = step(one, FACTOR)
    at = start
    while at + 4 <= stop:
        one = step(one, np.uint64(codes[at]) << _32 | np.uint64(codes[at + 1]))
        two = step(two, np.uint64(codes[at + 2]) << _32 | np.uint64(codes[at + 3]))
        at += 4
    while at < stop:
        one = step(one, np.uint64(codes[at]))
        at += 1
    return step(step(one, FACTOR), two)
