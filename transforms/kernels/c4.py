"""C4's line rules over a UTF-8 column: transforms.text.c4_lines.clean_page, but for the count of sentences."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.c4_phrases import (
    CITATION_NEEDED,
    EDIT,
    HAS_CURLY,
    HAS_LOREM,
    HAS_POLICY,
    HAS_SCRIPT,
    HAS_STRANGE,
    is_at,
    scan,
)
from transforms.kernels.codepoints import DECIMAL, LINE_END, MARK, MARKLESS, SPACE, TERMINAL, UNSPACED, decode, encode
from transforms.kernels.compiled import entry_point, kernel

#: the rules that are on, as bits
TERMINAL_PUNCT, QUOTE_ENDS, ANY_SCRIPT, DOTS_ARE_ELLIPSES, SIGNS_ARE_ELLIPSES = 1, 2, 4, 8, 16
CITATIONS, JAVASCRIPT, POLICY, LOREM_IPSUM, CURLY_BRACKET = 32, 64, 128, 256, 512
WORDS_BEFORE_CITATIONS, WHOLE_PAGE, BLANK_LINES, BY_LETTER = 1024, 2048, 4096, 8192

#: why a line goes
KEPT, LONG_WORD, UNPUNCTUATED, FEW_WORDS, JAVASCRIPT_LINE, POLICY_LINE = range(6)
NUM_LINE_FAULTS = 6
#: why a page goes; UNDONE: the readable reference has to do the row
CLEAN, LOREM_PAGE, CURLY_PAGE, JAVASCRIPT_PAGE, UNDONE = range(5)

_SENTINEL = 0xFFFC
_NEWLINE = 0x0A
_MAX_BYTES = 1 << 30


@entry_point
def clean_pages(data, offsets, index, flags, rules, min_words, max_word_chars, cleaned, stops, faults, removed):
    """Cleans the rows of a UTF-8 column.

    data: uint8, offsets: int64 [rows + 1]; index and flags: kernels.codepoints; min_words: -1 for no rule;
    max_word_chars: 0 for none. `cleaned`, uint8 with room for all the input's bytes, takes what is left of the rows one
    after the other, `stops`, int64 [rows + 1], where they end (a faulty page leaves nothing); faults: uint8 [rows];
    removed: int32 [rows, NUM_LINE_FAULTS], lines by why they went.
    """
    codes = np.empty(1 << 12, np.uint32)
    properties = np.empty(1 << 12, np.int64)
    used = 0
    stops[0] = 0
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        faults[row] = UNDONE
        if size <= _MAX_BYTES:
            if size >= len(codes):
                codes = np.empty(size + size // 4 + 1, np.uint32)
                properties = np.empty(size + size // 4 + 1, np.int64)
            n = decode(data, offsets[row], offsets[row + 1], index, flags, _SENTINEL, codes, properties)
            if n >= 0:
                faults[row], kept, same = _clean_page(
                    codes, properties, n, rules, min_words, max_word_chars, removed[row]
                )
                if faults[row] == CLEAN:
                    first, last = _stripped(codes, properties, 0, kept)
                    if same and last - first == n:
                        cleaned[used : used + size] = data[offsets[row] : offsets[row + 1]]
                        used += size
                    else:
                        used = encode(codes, first, last, cleaned, used)
        stops[row + 1] = used


@kernel
def _clean_page(codes, properties, n, rules, min_words, max_word_chars, removed):
    """(fault, how many code points are left, whether these are the first ones as they were).

    What is left is moved to the front of `codes` and `properties`.
    """
    if rules & WHOLE_PAGE:
        found = scan(codes, 0, n, False)
        if found & HAS_STRANGE:
            return UNDONE, 0, False
        if found & HAS_CURLY and rules & CURLY_BRACKET:
            return CURLY_PAGE, 0, False
        if found & HAS_LOREM and rules & LOREM_IPSUM:
            return LOREM_PAGE, 0, False
        if found & HAS_SCRIPT and rules & JAVASCRIPT:
            return JAVASCRIPT_PAGE, 0, False
    kept = 0
    any_kept = False
    same = True
    at = 0
    while at < n:
        first = at
        while at < n and not _ends_line(codes[at], properties[at], rules):
            at += 1
        stop = at
        at += 1
        if not rules & BLANK_LINES:
            if at < n and codes[stop] == 0x0D and codes[at] == _NEWLINE:
                at += 1
            first, stop = _stripped(codes, properties, first, stop)
        fault, page_fault, stop, has_media = _judge(codes, properties, first, stop, rules, min_words, max_word_chars)
        if page_fault:
            return page_fault, 0, False
        if fault and not has_media:
            removed[fault] += 1
            continue
        if any_kept:
            same = same and codes[kept] == _NEWLINE
            codes[kept] = _NEWLINE
            properties[kept] = SPACE | LINE_END
            kept += 1
        any_kept = True
        if kept == first:
            kept = stop
            continue
        same = False
        for k in range(first, stop):
            codes[kept] = codes[k]
            properties[kept] = properties[k]
            kept += 1
    return CLEAN, kept, same


@kernel
def _ends_line(code, property, rules):
    """str.split("\\n") where blank lines stay, else str.splitlines."""
    return code == _NEWLINE if rules & BLANK_LINES else property & LINE_END != 0


@kernel
def _judge(codes, properties, first, stop, rules, min_words, max_word_chars):
    """(why the line goes, why the page goes, where the line now ends, whether it holds media).

    Media sentinels are white space to every rule from here on; citations are taken out of the line in place.
    """
    has_media = has_bracket = False
    for k in range(first, stop):
        if codes[k] == _SENTINEL:
            has_media = True
            properties[k] |= SPACE
        elif codes[k] == 0x5B:
            has_bracket = True
    apart = UNSPACED if rules & BY_LETTER else 0
    words, longest = _words(properties, first, stop, apart)
    if max_word_chars and longest > max_word_chars:
        return LONG_WORD, CLEAN, stop, has_media
    if rules & CITATIONS and has_bracket:
        if has_media:
            return KEPT, UNDONE, stop, True
        shorter = _without_citations(codes, properties, first, stop)
        if shorter < stop and not rules & WORDS_BEFORE_CITATIONS:
            words, longest = _words(properties, first, shorter, apart)
        stop = shorter
    if rules & BLANK_LINES and first == stop:
        return KEPT, CLEAN, stop, has_media
    fault = KEPT
    if rules & TERMINAL_PUNCT and not _is_punctuated(codes, properties, first, stop, rules):
        fault = UNPUNCTUATED
    elif words < min_words:
        fault = FEW_WORDS
    if fault and not has_media:
        return fault, CLEAN, stop, False
    found = scan(codes, first, stop, True)
    if found & HAS_STRANGE:
        return KEPT, UNDONE, stop, has_media
    if found & HAS_LOREM and rules & LOREM_IPSUM:
        return KEPT, LOREM_PAGE, stop, has_media
    if found & HAS_SCRIPT and rules & JAVASCRIPT:
        return JAVASCRIPT_LINE, CLEAN, stop, has_media
    if found & HAS_CURLY and rules & CURLY_BRACKET:
        return KEPT, CURLY_PAGE, stop, has_media
    if found & HAS_POLICY and rules & POLICY:
        return POLICY_LINE, CLEAN, stop, has_media
    return fault, CLEAN, stop, has_media


@kernel
def _stripped(codes, properties, first, stop):
    """Without the white space around; a media sentinel is none here."""
    while first < stop and properties[first] & SPACE and codes[first] != _SENTINEL:
        first += 1
    while first < stop and properties[stop - 1] & SPACE and codes[stop - 1] != _SENTINEL:
        stop -= 1
    return first, stop


@kernel
def _words(properties, first, stop, apart):
    """(how many words there are between white space, code points of the longest); `apart`: properties of letters that,
    with their marks, are words of their own."""
    count = longest = 0
    at = first
    while at < stop:
        if properties[at] & SPACE:
            at += 1
            continue
        begin = at
        if properties[at] & apart:
            at += 1
            while at < stop and properties[at] & MARK:
                at += 1
        else:
            while at < stop and not properties[at] & (SPACE | apart):
                at += 1
        count += 1
        longest = max(longest, at - begin)
    return count, longest


@kernel
def _without_citations(codes, properties, first, stop):
    """Takes out [1], [edit] and [citation needed] from the left; gives where the line then ends."""
    to = at = first
    while at < stop:
        if codes[at] == 0x5B:
            end = at + 1
            while end < stop and properties[end] & DECIMAL:
                end += 1
            if end < stop and codes[end] == 0x5D:
                at = end + 1
                continue
            if is_at(codes, at, stop, EDIT):
                at += len(EDIT)
                continue
            if is_at(codes, at, stop, CITATION_NEEDED):
                at += len(CITATION_NEEDED)
                continue
        codes[to] = codes[at]
        properties[to] = properties[at]
        to += 1
        at += 1
    return to


@kernel
def _is_punctuated(codes, properties, first, stop, rules):
    while first < stop and properties[stop - 1] & SPACE and not rules & WORDS_BEFORE_CITATIONS:
        stop -= 1
    if first == stop:
        return False
    last = codes[stop - 1]
    dots = stop - first > 2 and last == 0x2E and codes[stop - 2] == 0x2E and codes[stop - 3] == 0x2E
    if dots and rules & DOTS_ARE_ELLIPSES:
        return False
    if rules & SIGNS_ARE_ELLIPSES and last == 0x2026:
        return False
    if last == 0x2E or last == 0x3F or last == 0x21 or last == 0x22 or (last == 0x27 and rules & QUOTE_ENDS):
        return True
    return rules & ANY_SCRIPT != 0 and properties[stop - 1] & (TERMINAL | MARKLESS) != 0
