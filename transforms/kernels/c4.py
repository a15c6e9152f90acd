"""C4's line rules over a UTF-8 column: transforms.text.c4_lines.clean_page, but for the count of sentences."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import DECIMAL, LINE_END, MARK, MARKLESS, SPACE, TERMINAL, UNSPACED, decode, encode
from transforms.kernels.compiled import entry_point, kernel

#: the rules that are on, as bits
TERMINAL_PUNCT, QUOTE_ENDS, ANY_SCRIPT, DOTS_ARE_ELLIPSES, SIGNS_ARE_ELLIPSES = 1, 2, 4, 8, 16
CITATIONS, JAVASCRIPT, POLICY, LOREM_IPSUM, CURLY_BRACKET = 32, 64, 128, 256, 512
WORDS_BEFORE_CITATIONS, WHOLE_PAGE, BLANK_LINES = 1024, 2048, 4096

#: why a line goes
KEPT, LONG_WORD, UNPUNCTUATED, FEW_WORDS, JAVASCRIPT_LINE, POLICY_LINE = range(6)
NUM_LINE_FAULTS = 6
#: why a page goes; UNDONE: the readable reference has to do the row
CLEAN, LOREM_PAGE, CURLY_PAGE, JAVASCRIPT_PAGE, UNDONE = range(5)

_SENTINEL = 0xFFFC
_NEWLINE = 0x0A
_MAX_BYTES = 1 << 30
#: what a scan of a line finds
_LOREM, _SCRIPT, _CURLY, _POLICY, _STRANGE = 1, 2, 4, 8, 16

_LOREM_IPSUM = np.frombuffer(b"lorem ipsum", np.uint8)
_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8)
_TERMS_OF_USE = np.frombuffer(b"terms of use", np.uint8)
_PRIVACY_POLICY = np.frombuffer(b"privacy policy", np.uint8)
_COOKIE_POLICY = np.frombuffer(b"cookie policy", np.uint8)
_USES_COOKIES = np.frombuffer(b"uses cookies", np.uint8)
_USE_OF_COOKIES = np.frombuffer(b"use of cookies", np.uint8)
_USE_COOKIES = np.frombuffer(b"use cookies", np.uint8)
_EDIT = np.frombuffer(b"[edit]", np.uint8)
_CITATION_NEEDED = np.frombuffer(b"[citation needed]", np.uint8)


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
            if size > len(codes):
                codes = np.empty(size + size // 4, np.uint32)
                properties = np.empty(size + size // 4, np.int64)
            n = decode(data, offsets[row], offsets[row + 1], index, flags, _SENTINEL, codes, properties)
            if n >= 0:
                faults[row], kept = _clean_page(codes, properties, n, rules, min_words, max_word_chars, removed[row])
                if faults[row] == CLEAN:
                    first, last = _stripped(codes, properties, 0, kept)
                    used = encode(codes, first, last, cleaned, used)
        stops[row + 1] = used


@kernel
def _clean_page(codes, properties, n, rules, min_words, max_word_chars, removed):
    """(fault, how many code points are left); what is left is moved to the front of `codes` and `properties`."""
    if rules & WHOLE_PAGE:
        found = _scan(codes, 0, n, False)
        if found & _STRANGE:
            return UNDONE, 0
        if found & _CURLY and rules & CURLY_BRACKET:
            return CURLY_PAGE, 0
        if found & _LOREM and rules & LOREM_IPSUM:
            return LOREM_PAGE, 0
        if found & _SCRIPT and rules & JAVASCRIPT:
            return JAVASCRIPT_PAGE, 0
    kept = 0
    any_kept = False
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
            return page_fault, 0
        if fault and not has_media:
            removed[fault] += 1
            continue
        if any_kept:
            codes[kept] = _NEWLINE
            properties[kept] = SPACE | LINE_END
            kept += 1
        any_kept = True
        for k in range(first, stop):
            codes[kept] = codes[k]
            properties[kept] = properties[k]
            kept += 1
    return CLEAN, kept


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
    words, longest = _words(properties, first, stop)
    if max_word_chars and longest > max_word_chars:
        return LONG_WORD, CLEAN, stop, has_media
    if rules & CITATIONS and has_bracket:
        if has_media:
            return KEPT, UNDONE, stop, True
        shorter = _without_citations(codes, properties, first, stop)
        if shorter < stop and not rules & WORDS_BEFORE_CITATIONS:
            words, longest = _words(properties, first, shorter)
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
    found = _scan(codes, first, stop, True)
    if found & _STRANGE:
        return KEPT, UNDONE, stop, has_media
    if found & _LOREM and rules & LOREM_IPSUM:
        return KEPT, LOREM_PAGE, stop, has_media
    if found & _SCRIPT and rules & JAVASCRIPT:
        return JAVASCRIPT_LINE, CLEAN, stop, has_media
    if found & _CURLY and rules & CURLY_BRACKET:
        return KEPT, CURLY_PAGE, stop, has_media
    if found & _POLICY and rules & POLICY:
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
def _words(properties, first, stop):
    """(how many words split_whitespace gives, code points of the longest)."""
    count = longest = 0
    at = first
    while at < stop:
        if properties[at] & SPACE:
            at += 1
            continue
        begin = at
        if properties[at] & UNSPACED:
            at += 1
            while at < stop and properties[at] & MARK:
                at += 1
        else:
            while at < stop and not properties[at] & (SPACE | UNSPACED):
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
            if _is_at(codes, at, stop, _EDIT):
                at += len(_EDIT)
                continue
            if _is_at(codes, at, stop, _CITATION_NEEDED):
                at += len(_CITATION_NEEDED)
                continue
        codes[to] = codes[at]
        properties[to] = properties[at]
        to += 1
        at += 1
    return to


@kernel
def _is_punctuated(codes, properties, first, stop, rules):
    while first < stop and properties[stop - 1] & SPACE:
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


@kernel
def _scan(codes, first, stop, visible):
    """The faults of codes[first:stop], whatever rules are on. `visible`: media sentinels are spaces. _STRANGE: it holds
    one of the two characters that lower to ASCII letters (K, İ)."""
    found = 0
    for k in range(first, stop):
        code = codes[k]
        if code > 0x7B:
            if code == 0x212A or code == 0x0130:
                found |= _STRANGE
            continue
        if code == 0x7B:
            found |= _CURLY
            continue
        letter = code | 0x20
        if letter == 0x6A:
            if _is_phrase(codes, k, stop, _JAVASCRIPT, visible):
                found |= _SCRIPT
        elif letter == 0x6C:
            if _is_phrase(codes, k, stop, _LOREM_IPSUM, visible):
                found |= _LOREM
        elif letter == 0x74:
            if _is_phrase(codes, k, stop, _TERMS_OF_USE, visible):
                found |= _POLICY
        elif letter == 0x70:
            if _is_phrase(codes, k, stop, _PRIVACY_POLICY, visible):
                found |= _POLICY
        elif letter == 0x63:
            if _is_phrase(codes, k, stop, _COOKIE_POLICY, visible):
                found |= _POLICY
        elif letter == 0x75 and (
            _is_phrase(codes, k, stop, _USES_COOKIES, visible)
            or _is_phrase(codes, k, stop, _USE_OF_COOKIES, visible)
            or _is_phrase(codes, k, stop, _USE_COOKIES, visible)
        ):
            found |= _POLICY
    return found


@kernel
def _is_at(codes, at, stop, phrase):
    """Whether codes[at:stop] begins with an ASCII phrase."""
    if at + len(phrase) > stop:
        return False
    for k in range(len(phrase)):
        if codes[at + k] != phrase[k]:
            return False
    return True


@kernel
def _is_phrase(codes, at, stop, phrase, visible):
    """As `_is_at`, in any case."""
    if at + len(phrase) > stop:
        return False
    for k in range(len(phrase)):
        code = np.int64(codes[at + k])
        if visible and code == _SENTINEL:
            code = 0x20
        elif 0x41 <= code <= 0x5A:
            code += 0x20
        if code != phrase[k]:
            return False
    return True
