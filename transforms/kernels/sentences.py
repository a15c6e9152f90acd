"""Sentences of a UTF-8 column, counted line by line as transforms.text.sentences counts them."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import (
    ANY_PUNCTUATION,
    CLOSER,
    LETTER_OR_NUMBER,
    LOWERCASE,
    MARKLESS,
    PLAIN,
    SPACE,
    SPACY_TERMINAL,
    TERMINAL,
    WORD,
    decode,
)
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.english import english_words

#: the count of a row that the readable reference has to do
UNDONE = -1

#: transforms.text.sentences._ABBREVIATION, each as one number of base 256
_ABBREVIATIONS = np.array(
    sorted(
        int.from_bytes(word, "big")
        for word in (
            b"mr mrs ms dr prof gen rep sen gov rev hon st jr sr vs cf al fig no inc ltd co corp approx ca".split()
        )
    ),
    np.int64,
)
_LONGEST_ABBREVIATION = 6
_FULL_STOP = 0x2E


@entry_point
def count_sentences(data, offsets, index, flags, exceptions, english, enough, counts):
    """Counts the sentences of each row's lines (by newline) into `counts`, int64 [rows], up to `enough` a row or more.

    data: uint8, offsets: int64 [rows + 1]; index and flags: kernels.codepoints; exceptions: kernels.english; english:
    count as spaCy's sentencizer.
    """
    codes = np.empty(1 << 10, np.uint32)
    properties = np.empty(1 << 10, np.int64)
    cuts = np.empty(1 << 10, np.int32)
    starts = np.empty(1 << 10, np.int32)
    ends = np.empty(1 << 10, np.int32)
    for row in range(len(offsets) - 1):
        count = 0
        at = offsets[row]
        while at < offsets[row + 1] and count < enough:
            first = at
            while at < offsets[row + 1] and data[at] != 0x0A:
                at += 1
            if at - first >= len(codes):
                room = at - first + (at - first) // 4 + 1
                codes = np.empty(room, np.uint32)
                properties = np.empty(room, np.int64)
                cuts = np.empty(room, np.int32)
                starts = np.empty(room, np.int32)
                ends = np.empty(room, np.int32)
            n = decode(data, first, at, index, flags, 0x20, codes, properties)
            at += 1
            if n < 0:
                count = UNDONE
                break
            if english:
                m = english_words(codes, properties, n, exceptions, False, cuts, starts, ends)
                count += _by_tokens(properties, starts, ends, m)
            else:
                found = _by_marks(codes, properties, n)
                if found < 0:
                    count = UNDONE
                    break
                count += found
        counts[row] = count


@kernel
def _by_tokens(properties, starts, ends, m):
    """`count_sentences_spacy` of a line's tokens."""
    count = 0
    seen_end = False
    for token in range(m):
        is_end = ends[token] - starts[token] == 1 and properties[starts[token]] & SPACY_TERMINAL != 0
        if seen_end and not is_end and not _all(properties, starts[token], ends[token], ANY_PUNCTUATION):
            count += 1
            seen_end = False
        seen_end = seen_end or is_end
    return count + (m > 0)


@kernel
def _all(properties, first, stop, bit):
    for k in range(first, stop):
        if not properties[k] & bit:
            return False
    return True


@kernel
def _by_marks(codes, properties, n):
    """`count_sentences` of a line; UNDONE where letters that fold to ASCII stand before a full stop."""
    count = 0
    at = start = 0
    has_text = False  # in the sentence so far
    while at < n:
        end = _end_at(codes, properties, at, n)
        if end == at:
            has_text = has_text or properties[at] & LETTER_OR_NUMBER != 0
            at += 1
            continue
        if codes[at] == _FULL_STOP:
            inside = _is_inside(codes, properties, at, end, start, n)
            if inside < 0:
                return UNDONE
            if inside:
                at = end
                continue
        count += has_text
        has_text = False
        at = start = end
    return count + has_text


@kernel
def _is_gap(code, property):
    """\\s: white space but for the separators that only str.isspace knows."""
    return property & SPACE != 0 and not 0x1C <= code <= 0x1F


@kernel
def _is_mark(code):
    """[.!?…]."""
    return code == _FULL_STOP or code == 0x21 or code == 0x3F or code == 0x2026


@kernel
def _end_at(codes, properties, at, n):
    """Where the end of a sentence that begins at `at` stops; `at` when none does."""
    code = codes[at]
    if _is_mark(code):
        if at and _is_mark(codes[at - 1]):
            return at
        stop = at + 1
        while stop < n and _is_mark(codes[stop]):
            stop += 1
        while stop < n and properties[stop] & CLOSER:
            stop += 1
        return stop if stop == n or _is_gap(codes[stop], properties[stop]) else at
    if properties[at] & TERMINAL:
        stop = at + 1
        while stop < n and properties[stop] & TERMINAL and not _is_mark(codes[stop]):
            stop += 1
        while stop < n and properties[stop] & CLOSER:
            stop += 1
        return stop
    if at and properties[at - 1] & MARKLESS and _is_gap(code, properties[at]):
        stop = at + 1
        while stop < n and _is_gap(codes[stop], properties[stop]):
            stop += 1
        if stop < n and properties[stop] & MARKLESS:
            return stop
    return at


@kernel
def _is_inside(codes, properties, stop, end, start, n):
    """Whether the full stop at `stop` lies inside a sentence that began at `start`; -1 where that is not for here."""
    while end < n and _is_gap(codes[end], properties[end]):
        end += 1
    if end == n:
        return 0
    if properties[end] & LOWERCASE:
        return 1
    first = stop
    word = 0
    while first > start and properties[first - 1] & WORD and stop - first <= _LONGEST_ABBREVIATION:
        first -= 1
        code = np.int64(codes[first])
        if code == 0x0130 or code == 0x017F or code == 0x212A:
            return -1
        if 0x41 <= code <= 0x5A:
            code += 0x20
        word |= min(code, 0xFF) << 8 * (stop - first - 1)
    length = stop - first
    if length == 0 or length > _LONGEST_ABBREVIATION:
        return 0
    if length == 1:
        return int(properties[first] & LETTER_OR_NUMBER != 0 and properties[first] & PLAIN != 0)  # a letter
    return int(_ABBREVIATIONS[np.searchsorted(_ABBREVIATIONS, word) % len(_ABBREVIATIONS)] == word)
