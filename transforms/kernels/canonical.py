"""Texts in the form in which text.exact_dedup compares them: case folded, in NFC, white space collapsed.

Tables: transforms.dedup.shingle_tables, as kernels.shingles takes them.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import decode, put
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.shingles import COMBINING_CLASS, NOT_NFC

#: a code point's UTF-8 bytes, folded, are at most so many times as many
GROWTH = 3
_MAX_BYTES = 1 << 29
_SENTINEL = 0xFFFC


@entry_point
def canonical_texts(data, offsets, fold, index, kinds, fold_index, folds, pool, out, stops, left):
    """Writes the rows of a UTF-8 column one after the other into `out`, uint8 with GROWTH times their bytes.

    data: uint8, offsets: int64 [rows + 1]; `fold`: case is no difference; stops: int64 [rows + 1], where rows end. A
    row in `left`, bool [rows], may not be in NFC: it is for the readable function, and has no bytes here.
    """
    codes = np.empty(1 << 12, np.uint32)
    found = np.empty(1 << 12, np.uint32)
    used = 0
    stops[0] = 0
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        n = -1
        if size <= _MAX_BYTES:
            if size > len(codes):
                codes = np.empty(size + size // 4, np.uint32)
                found = np.empty(size + size // 4, np.uint32)
            n = decode(data, offsets[row], offsets[row + 1], index, kinds, _SENTINEL, codes, found)
        end = -1
        if n >= 0:
            end = _canonical(codes, found, n, fold, index, kinds, fold_index, folds, pool, out, used)
        left[row] = end < 0
        used = max(end, used)
        stops[row + 1] = used


@kernel
def _canonical(codes, found, n, fold, index, kinds, fold_index, folds, pool, out, used):
    """Where the text ends in `out`; -1 when it may not be in NFC. found: the kinds of its code points."""
    at = used
    space = False  # to be put before the next character
    last = 0
    for k in range(n):
        code = np.int64(codes[k])
        if code < 0x80:
            last = 0
            if is_space(code):
                space = at > used
                continue
            if fold and 0x41 <= code <= 0x5A:
                code += 0x20
            if space:
                out[at] = 0x20
                at += 1
                space = False
            out[at] = code
            at += 1
            continue
        if is_space(code):
            space = at > used
            last = 0
            continue
        entry = np.int64(folds[np.int64(fold_index[code >> 8]) << 8 | (code & 255)]) if fold else 0
        count = np.int64(pool[entry]) if entry else 1
        if space:
            out[at] = 0x20
            at += 1
            space = False
        for which in range(1, count + 1):
            kind = np.int64(found[k])
            if entry:
                code = np.int64(pool[entry + which])
                kind = np.int64(kinds[np.int64(index[code >> 8]) << 8 | (code & 255)])
            order = kind & COMBINING_CLASS
            if kind & NOT_NFC or (order and order < last):
                return -1
            last = order
            at = put(code, out, at)
    return at


@kernel
def is_space(code):
    """str.isspace of one code point."""
    if code < 0x80:
        return code == 0x20 or 0x09 <= code <= 0x0D or 0x1C <= code <= 0x1F
    return (
        code == 0x85
        or code == 0xA0
        or code == 0x1680
        or 0x2000 <= code <= 0x200A
        or code == 0x2028
        or code == 0x2029
        or code == 0x202F
        or code == 0x205F
        or code == 0x3000
    )
