"""fastText's character n-grams: hashed, numbered, found among those that pruning left, their rows added up.

The reference is the C++ library's `Dictionary::computeSubwords` and `pushHash` (Bojanowski et al. 2017, arXiv
1607.04606, section 3.2).
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.fasttext_words import FNV, step

_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_BITS_1, _BITS_2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BITS_4, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_WORD_FACTOR = np.uint64(116049371)
_BEGIN, _END = np.uint8(0x3C), np.uint8(0x3E)  # < and >


@kernel
def add_ngrams(
    text, first, last, min_chars, max_chars, num_buckets, num_words, left, left_rows, numbers, rows, chunk, n, hidden
):
    """Puts the rows of the n-grams of "<word>" into `chunk`, which holds n; gives (rows in it now, rows added up).

    The word is text[first:last]. A full chunk is added to `hidden`.
    """
    added = 0
    at = first - 1
    while at < last and max_chars > 0:
        count, at = _number_ngrams(text, first, last, at, min_chars, max_chars, num_buckets, numbers)
        if len(left):
            count = _find_left(numbers, count, left, left_rows)
        if n + count > len(chunk):
            add_rows(rows, chunk, n, hidden)
            added += n
            n = 0
        for k in range(count):
            chunk[n + k] = num_words + numbers[k]
        n += count
    return n, added


@kernel
def _number_ngrams(text, first, last, begin, min_chars, max_chars, num_buckets, numbers):
    """Numbers the n-grams that begin from `begin` on, as many as there is room for; gives (how many, where to go on).

    "<" is at first - 1 and ">" at last; neither is an n-gram alone.
    """
    # A quotient of float64, right but for one, is faster than a division.
    buckets, inverse = np.int64(num_buckets), 1.0 / num_buckets
    n = 0
    while begin < last and n + max_chars <= len(numbers):
        code = FNV
        at = begin
        chars = 1
        while at <= last and chars <= max_chars:
            code = step(code, _BEGIN if at < first else (_END if at == last else text[at]))
            at += 1
            while at < last and text[at] & 0xC0 == 0x80:
                code = step(code, text[at])
                at += 1
            if chars >= min_chars and not (chars == 1 and (begin < first or at > last)):
                number = np.int64(code) - np.int64(np.int64(code) * inverse) * buckets
                number += buckets if number < 0 else 0
                numbers[n] = number - (buckets if number >= buckets else 0)
                n += 1
            chars += 1
        begin += 1
        while begin < last and text[begin] & 0xC0 == 0x80:
            begin += 1
    return n, begin


@kernel
def _find_left(numbers, n, left, left_rows):
    """Replaces n numbers by the rows of those that pruning left; gives how many. Which are left nobody could predict,
    so that they are sifted without a branch first."""
    kept = 0
    for k in range(n):
        number = np.int64(numbers[k])
        numbers[kept] = number
        kept += np.int64(left[number >> 6, 0] >> np.uint64(number & 63) & _1)
    for k in range(kept):
        number = np.int64(numbers[k])
        below = left[number >> 6, 0] & ((_1 << np.uint64(number & 63)) - _1)
        numbers[k] = left_rows[np.int64(left[number >> 6, 1] + _count_bits(below))]
    return kept


@kernel
def _count_bits(bits):
    bits -= bits >> _1 & _BITS_1
    bits = (bits & _BITS_2) + (bits >> _2 & _BITS_2)
    bits = (bits + (bits >> _4)) & _BITS_4
    return (bits * _BYTES) >> _56


@kernel
def add_word_ngrams(
    hashes, num_hashes, max_words, num_buckets, num_words, left, left_rows, numbers, rows, chunk, n, hidden
):
    """The same of runs of 2 to `max_words` words, given their hashes, int32."""
    added = 0
    for first in range(num_hashes):
        code = np.uint64(np.int64(hashes[first]))
        count = 0
        for other in range(first + 1, min(first + max_words, num_hashes)):
            code = code * _WORD_FACTOR + np.uint64(np.int64(hashes[other]))
            numbers[count] = code % np.uint64(num_buckets)
            count += 1
        if len(left):
            count = _find_left(numbers, count, left, left_rows)
        if n + count > len(chunk):
            add_rows(rows, chunk, n, hidden)
            added += n
            n = 0
        for k in range(count):
            chunk[n + k] = num_words + numbers[k]
        n += count
    return n, added


@kernel
def add_rows(rows, chunk, n, hidden):
    """Adds rows[chunk[:n]] to `hidden` in that order; eight at a time, so that sums stay in registers."""
    at = 0
    while at + 8 <= n:
        a, b, c, d = rows[chunk[at]], rows[chunk[at + 1]], rows[chunk[at + 2]], rows[chunk[at + 3]]
        e, f, g, h = rows[chunk[at + 4]], rows[chunk[at + 5]], rows[chunk[at + 6]], rows[chunk[at + 7]]
        for k in range(len(hidden)):
            hidden[k] = (((((((hidden[k] + a[k]) + b[k]) + c[k]) + d[k]) + e[k]) + f[k]) + g[k]) + h[k]
        at += 8
    while at < n:
        row = rows[chunk[at]]
        for k in range(len(hidden)):
            hidden[k] += row[k]
        at += 1
