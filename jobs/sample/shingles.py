"""Word 5-grams and their Jaccard similarity, written out plainly: what the truth file's similarities mean."""

from __future__ import annotations

import re
import unicodedata

#: Han, kana and Thai are written without spaces; each of their letters counts as a word
_WORD = re.compile(
    r"[\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u3041-\u30ff\u3400-\u9fff][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]*"
    r"|(?:(?![\u0e00-\u0e7f\u3041-\u30ff\u3400-\u9fff])[^\W\d_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0900-\u0dff])+"
    r"|\d+"
)
NGRAM = 5

Shingles = frozenset[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Case-folded words; every number is "0", as a changed number does not make another document."""
    folded = unicodedata.normalize("NFC", text).casefold()
    return ["0" if word[0].isdigit() else word for word in _WORD.findall(folded)]


def shingles(text: str) -> Shingles:
    """The text's distinct word 5-grams; one shorter n-gram when it has fewer words."""
    return shingles_of(words(text))


def shingles_of(found: list[str]) -> Shingles:
    """The same of words."""
    size = min(NGRAM, len(found))
    return frozenset(zip(*(found[at:] for at in range(size)), strict=False))


def jaccard(a: Shingles, b: Shingles) -> float:
    """|a and b| / |a or b|; 0 when both are empty."""
    shared = len(a & b)
    union = len(a) + len(b) - shared
    return shared / union if union else 0.0
