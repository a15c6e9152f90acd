"""What HTML markup will cost to parse and extract, from one pass over its tags.

The readable oracle, a real parser's tree, is in tests/unit/test_text_extract.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Enough to tell "too deep" from "deep": the pass ends there.
STACK = 4096

_LT, _GT, _SLASH, _BANG, _QUESTION, _DASH, _EQUALS = 60, 62, 47, 33, 63, 45, 61


def _name(tag: str) -> int:
    """A tag name as the pass sees it: its first eight bytes in one number."""
    return int.from_bytes(tag[:8].encode(), "big")


def _names(tags: str) -> np.ndarray:
    return np.array(sorted(_name(tag) for tag in tags.split()), np.int64)


#: Elements without content, and so without a closing tag (HTML 13.1.2).
VOID = _names("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
#: Elements whose content is no markup.
RAW = _names("script style textarea title xmp iframe noembed noframes")
#: Formatting elements (HTML 13.2.4.3): what leaves one open is opened again in every block that follows.
FORMATTING = _names("b big code em font i nobr s small strike strong tt u")
#: Elements that the next of their kind closes, and the ones such a search does not leave.
SIBLINGS = _names("p li dt dd option optgroup tr td th thead tbody tfoot colgroup a button")
BARRIERS = _names(
    "ul ol dl table div section article main select body aside nav header footer form blockquote template"
)
FOREIGN = _names("svg math")
_TABLE, _TD, _TH = _name("table"), _name("td"), _name("th")
_OPTION = _name("option")


@njit(cache=True, nogil=True)
def measure(data: np.ndarray) -> tuple[int, int, int, int]:
    """(depth, work, attributes, options) of markup, uint8 [n] in UTF-8.

    `depth`: elements open at once, at most STACK; `work`: the depths of all tags added up; `attributes`: the most in
    one tag; `options`: how many <option>. An estimate from above: unclosed formatting counts wherever it is, as a
    parser opens it again and again, and implied ends are guessed.
    """
    n = len(data)
    stack = np.empty(STACK, np.int64)
    size = formatting = foreign = tables = 0
    depth = work = attributes = options = 0
    at = 0
    while at < n and size < STACK:
        if data[at] != _LT or at + 1 >= n:
            at += 1
            continue
        first = data[at + 1]
        if first == _BANG:
            if at + 3 < n and data[at + 2] == _DASH and data[at + 3] == _DASH:
                at = _comment_end(data, at + 4)
            else:
                at = _find(data, at, _GT)
            continue
        if first == _QUESTION:
            at = _find(data, at, _GT)
            continue
        closes = first == _SLASH
        begin = at + 2 if closes else at + 1
        if begin >= n or not _is_letter(data[begin]):
            at += 1
            continue
        name = 0
        place = begin
        while place < n and not _ends_name(data[place]):
            if place < begin + 8:
                name = (name << 8) | _lower(data[place])  # ASCII: eight of them stay below 2**63
            place += 1
        num_attributes, end, self_closing = _attributes(data, place)
        attributes = max(attributes, num_attributes)
        at = end
        if closes:
            if _is_in(FORMATTING, name):
                formatting = max(0, formatting - 1)
                continue
            if tables and name in (_TD, _TH):
                formatting = 0
            for k in range(size - 1, -1, -1):
                if stack[k] == name:
                    for gone in range(k, size):
                        tables -= stack[gone] == _TABLE
                        foreign -= _is_in(FOREIGN, stack[gone])
                    size = k
                    break
            continue
        if _is_in(VOID, name) or (self_closing and foreign):
            work += size + formatting
            continue
        if _is_in(FORMATTING, name):
            formatting += 1
        else:
            options += name == _OPTION
            if tables and name in (_TD, _TH):
                formatting = 0
            if _is_in(SIBLINGS, name):
                for k in range(size - 1, -1, -1):
                    if stack[k] == name:
                        size = k
                        break
                    if _is_in(BARRIERS, stack[k]):
                        break
            stack[size] = name
            size += 1
            tables += name == _TABLE
            foreign += _is_in(FOREIGN, name)
        depth = max(depth, size + formatting)
        work += size + formatting
        if _is_in(RAW, name) and not foreign:
            at = _raw_end(data, at, begin, place)
    return min(depth, STACK), work, attributes, options


@njit(cache=True, nogil=True)
def _attributes(data: np.ndarray, at: int) -> tuple[int, int, bool]:
    """(attributes of a tag, where it ends, whether it closes itself), from behind its name."""
    n = len(data)
    count, quote, inside, after_equals = 0, 0, False, False
    while at < n:
        code = data[at]
        if quote:
            if code == quote:
                quote = 0
                inside = False
        elif code == _GT:
            return count, at + 1, data[at - 1] == _SLASH
        elif code <= 32 or code == _SLASH:
            inside = False
        elif after_equals and (code == 34 or code == 39):
            quote = code
        elif not inside and code != _EQUALS and not after_equals:
            inside = True
            count += 1
        if not quote and code > 32:
            after_equals = code == _EQUALS
        at += 1
    return count, n, False


@njit(cache=True, nogil=True)
def _raw_end(data: np.ndarray, at: int, begin: int, end: int) -> int:
    """Where the closing tag of a raw text element starts, or the end."""
    n, length = len(data), end - begin
    while at + length + 2 <= n:
        if data[at] == _LT and data[at + 1] == _SLASH:
            same = True
            for k in range(length):
                if _lower(data[at + 2 + k]) != _lower(data[begin + k]):
                    same = False
                    break
            if same and (at + 2 + length == n or _ends_name(data[at + 2 + length])):
                return at
        at += 1
    return n


@njit(cache=True, nogil=True)
def _comment_end(data: np.ndarray, at: int) -> int:
    # "<!-->" and "<!--->" are whole comments (HTML 13.2.5.44)
    at -= 2
    while at + 2 < len(data):
        if data[at] == _DASH and data[at + 1] == _DASH and data[at + 2] == _GT:
            return at + 3
        at += 1
    return len(data)


@njit(cache=True, nogil=True)
def _find(data: np.ndarray, at: int, code: int) -> int:
    while at < len(data) and data[at] != code:
        at += 1
    return at + 1


@njit(cache=True, nogil=True)
def _is_in(names: np.ndarray, name: int) -> bool:
    for other in names:
        if other == name:
            return True
    return False


@njit(cache=True, nogil=True)
def _is_letter(code: int) -> bool:
    return 65 <= code <= 90 or 97 <= code <= 122


@njit(cache=True, nogil=True)
def _ends_name(code: int) -> bool:
    return code <= 32 or code in (_GT, _SLASH)


@njit(cache=True, nogil=True)
def _lower(code: int) -> int:
    return int(code) + 32 if 65 <= code <= 90 else int(code)
