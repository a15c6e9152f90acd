"""Signals of the Gopher repetition rules (Rae et al. 2021, arXiv 2112.11446, table A1), by implementation.

They agree on the thresholds and on little else:

- datatrove: a repeat is every occurrence after the first; shares are of all characters, spaces included, though an
  n-gram's own spaces are counted in it (so a share can pass 1, and a short text of distinct words has a top n-gram);
  duplicate n-grams are found left to right and do not overlap.
- dclm: every occurrence of what occurs twice counts; shares are of the characters of words (lines, paragraphs);
  an n-gram that occurs once is no repetition; of equally frequent top n-grams the longest; a word that lies in two
  duplicate n-grams is counted once.
- dolma: as dclm, but of equally frequent top n-grams the first, even one that occurs once; duplicate n-grams are
  weighed against the characters of all n-grams, overlaps and all; empty lines are lines; paragraphs are not looked at.
- paper: read as dclm does; it says "taking care not to count characters that occur in overlapping n-grams more than
  once", and leaves the rest open.

In unspaced scripts, whose words are single letters here, an n-gram of n words is one of n * 2 or n * 4 letters
(transforms.text.words.letters_per_word); but not in datatrove, whose words are runs of such letters.

Shares lie in [0, 1] except for top n-grams, which overlap themselves ("a b a b a" holds "a b a" twice). Null: the
implementation does not measure it. Sources: datatrove 0.10.1 GopherRepetitionFilter; DCLM repetition_filter
(content_filters.py); Dolma taggers/gopher.py (gopher_v1).
"""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa

from transforms.signals import Document, signal
from transforms.text.english import english_words
from transforms.text.words import letters_per_word, unicode_words, whitespace_words

PRESETS = ("paper", "datatrove", "dclm", "dolma")
TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)

_WORDS = {"datatrove": english_words, "dclm": unicode_words, "dolma": whitespace_words}


def _reading(preset: str) -> str:
    return "dclm" if preset == "paper" else preset


def segment_shares(document: Document, unit: str, reading: str) -> tuple[float | None, float | None]:
    """View: (share of duplicate segments, share of characters in them); `unit` is "line" or "paragraph"."""
    text = document.text
    if reading == "datatrove":
        segments = re.split(r"\n+", text) if unit == "line" else re.split(r"\n{2,}", text.strip())
        repeats, chars = repeated_after_first(segments)
        return _share(repeats, len(segments)), _share(chars, len(text))
    if reading == "dolma":
        if unit == "paragraph":
            return None, None
        segments, total_chars = text.split("\n"), sum(map(len, text.split()))
    else:
        pieces = text.split("\n" if unit == "line" else "\n\n")
        segments = [stripped for piece in pieces if (stripped := piece.strip())]
        if len(segments) < 2:
            return 0.0, 0.0
        total_chars = sum(map(len, segments))
    repeated = [(segment, count) for segment, count in Counter(segments).items() if count > 1]
    repeats = sum(count for _, count in repeated)
    chars = sum(len(segment) * count for segment, count in repeated)
    return _share(repeats, len(segments)), chars / max(total_chars, 1)


def repeated_after_first(segments: list[str]) -> tuple[int, int]:
    """(segments equal to an earlier one, characters in them)."""
    seen: set[str] = set()
    repeats = chars = 0
    for segment in segments:
        if segment in seen:
            repeats += 1
            chars += len(segment)
        seen.add(segment)
    return repeats, chars


def word_letters(document: Document, reading: str) -> int:
    """View: `letters_per_word` of the document's words."""
    return 1 if reading == "datatrove" else letters_per_word(document.view(_WORDS[reading]))


def word_chars(document: Document, reading: str) -> int:
    """View: characters in all words."""
    return sum(map(len, document.view(_WORDS[reading])))


def ngram_counts(document: Document, size: int, reading: str) -> Counter[tuple[str, ...]]:
    """View: how often each n-gram occurs, in order of first occurrence."""
    words = document.view(_WORDS[reading])
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def top_share(document: Document, size: int, reading: str) -> float:
    """Share of characters in the most frequent n-gram."""
    size *= document.view(word_letters, reading)
    counts = document.view(ngram_counts, size, reading)
    if not counts:
        return 0.0
    ngram, count = max(counts.items(), key=lambda item: item[1])  # the first of equals
    chars = sum(map(len, ngram))
    if reading == "datatrove":
        return (chars + size - 1) * count / len(document.text)
    if reading == "dclm":
        if count == 1:
            return 0.0
        chars = max(sum(map(len, other)) for other, frequency in counts.items() if frequency == count)
    return chars * count / max(document.view(word_chars, reading), 1)


def duplicate_share(document: Document, size: int, reading: str) -> float:
    """Share of characters in n-grams that occur more than once."""
    words = document.view(_WORDS[reading])
    if reading == "datatrove":
        return _leaping_duplicates(words, size) / max(len(document.text), 1)
    size *= document.view(word_letters, reading)
    counts = document.view(ngram_counts, size, reading)
    if not counts:
        return 0.0
    if reading == "dolma":
        weights = {ngram: count * sum(map(len, ngram)) for ngram, count in counts.items()}
        return sum(weights[n] for n, count in counts.items() if count > 1) / max(sum(weights.values()), 1)
    covered: set[int] = set()
    for at in range(len(words) - size + 1):
        if counts[tuple(words[at : at + size])] > 1:
            covered.update(range(at, at + size))
    return sum(len(words[at]) for at in covered) / max(document.view(word_chars, reading), 1)


def _leaping_duplicates(words: list[str], size: int) -> int:
    """Characters of n-grams equal to an earlier one, going on after each; n-grams compare as joined strings."""
    seen: set[str] = set()
    chars = at = 0
    while at < len(words) - size + 1:
        ngram = "".join(words[at : at + size])
        if ngram in seen:
            chars += len(ngram)
            at += size
        else:
            seen.add(ngram)
            at += 1
    return chars


def _share(part: int, total: int) -> float:
    return part / total if total else 0.0


def _register() -> None:
    def of_segments(unit: str, which: int, name: str) -> None:
        def compute(document: Document, preset: str) -> float | None:
            return document.view(segment_shares, unit, _reading(preset))[which]

        compute.__qualname__ = name
        signal(name, version=1, dtype=pa.float64(), variants=PRESETS)(compute)

    for unit in ("line", "paragraph"):
        of_segments(unit, 0, f"gopher.duplicate_{unit}_ratio")
        of_segments(unit, 1, f"gopher.duplicate_{unit}_char_ratio")

    def of_ngrams(size: int, name: str) -> None:
        share = top_share if size in TOP_SIZES else duplicate_share

        def compute(document: Document, preset: str) -> float:
            return share(document, size, _reading(preset))

        compute.__qualname__ = name
        signal(name, version=3, dtype=pa.float64(), variants=PRESETS)(compute)

    for size in TOP_SIZES:
        of_ngrams(size, f"gopher.top_{size}_gram_char_ratio")
    for size in DUPLICATE_SIZES:
        of_ngrams(size, f"gopher.duplicate_{size}_gram_char_ratio")


_register()
