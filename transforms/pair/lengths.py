"""How long a side is, so that languages compare: words as a spaced script would have them, and letters of Latin."""

from __future__ import annotations

import math

import regex

from transforms.text.words import letters_per_word, split_whitespace

#: Letters of Latin script that one letter of these stands for, by least squares over translations from English (docs,
#: encyclopedic text): Chinese 3.1, Japanese 3.2 and 1.3, Korean 2.2, Hebrew 1.35, Arabic, Persian and Urdu 1.1. Letters
#: of all other scripts, Thai, Devanagari and Cyrillic among them, came to between 0.9 and 1.2 and count as one.
_EXPANSIONS = (
    (r"\p{Han}", 3.0),
    (r"[\p{Hiragana}\p{Katakana}ー]", 1.3),
    (r"\p{Hangul}", 2.2),
    (r"\p{Hebrew}", 1.35),
    (r"\p{Arabic}", 1.1),
)
_RUNS = regex.compile("|".join(f"({pattern}+)" for pattern, _ in _EXPANSIONS), regex.V1)
_SPACE = regex.compile(r"\s+")
#: variance of the length difference, per letter, of Gale and Church 1993 (section 3.1)
VARIANCE = 6.8


def num_words(text: str) -> float:
    """Words by white space; in unspaced scripts two letters of Han and kana, or four of Thai and its like, are one."""
    pieces = split_whitespace(text)
    return len(pieces) / letters_per_word(pieces)


def num_letters(text: str) -> float:
    """Characters but white space, each weighed by how much Latin text its script packs into one."""
    count: float = len(text) - sum(len(run) for run in _SPACE.findall(text))
    if not text.isascii():
        for found in _RUNS.finditer(text):
            which = found.lastindex or 1
            count += (_EXPANSIONS[which - 1][1] - 1) * (found.end() - found.start())
    return count


def ratio(a: float, b: float) -> float:
    """The larger over the smaller; infinite when one of them is 0, and 1 when both are."""
    low, high = min(a, b), max(a, b)
    return 1.0 if not high else math.inf if not low else high / low


def deviation(source: float, target: float) -> float:
    """Gale and Church's delta of two lengths in letters: standard deviations by which the target is longer."""
    mean = (source + target) / 2
    return 0.0 if not mean else (target - source) / math.sqrt(mean * VARIANCE)
