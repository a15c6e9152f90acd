"""Signals of FineWeb's own filters (Penedo et al. 2024, arXiv 2406.17557, section 3.6).

Lines are the non-blank ones. A line is punctuated when it ends in a terminal mark of any script (Unicode's
Sentence_Terminal and three Khmer signs; quotes are none). The variants differ about two things:

- datatrove: as datatrove computes them with English settings. Thai and Lao, which have no such marks, have no
  punctuated lines, and a run of letters of an unspaced script is one word (transforms.text.english).
- paper: lines that end in Thai or Lao count as punctuated, and letters of unspaced scripts as words.

Sizes are in characters. Null: there is no text to measure.
"""

from __future__ import annotations

import pyarrow as pa

from transforms.signals import Document, signal
from transforms.text.english import english_words, english_words_by_letter
from transforms.text.languages import language_of, shipped
from transforms.text.sentences import datatrove_marks, ends_sentence
from transforms.text.signals_repetition import repeated_after_first

PRESETS = ("paper", "datatrove")
SHORT_LINE_CHARS = 30
_KHMER_SIGNS = "៖៙៚"  # datatrove lists them among the terminal marks; Unicode does not


def text_lines(document: Document) -> list[str]:
    """View: the lines that are not blank."""
    return [line for line in document.text.split("\n") if line.strip()]


@signal("fineweb.line_punct_ratio", version=2, dtype=pa.float64(), variants=PRESETS)
def line_punct_ratio(document: Document, preset: str) -> float | None:
    """Share of lines that end in terminal punctuation."""
    lines = document.view(text_lines)
    return sum(_is_punctuated(line, preset) for line in lines) / len(lines) if lines else None


def _is_punctuated(line: str, preset: str) -> bool:
    if preset == "datatrove":
        return line[-1] in datatrove_marks()
    return ends_sentence(line) or line[-1] in _KHMER_SIGNS


@signal("fineweb.short_line_ratio", version=1, dtype=pa.float64(), variants=PRESETS)
def short_line_ratio(document: Document, _preset: str) -> float | None:
    """Share of lines of at most 30 characters."""
    return _short_lines(document, SHORT_LINE_CHARS)


@signal("fineweb.language_short_line_ratio", version=1, dtype=pa.float64(), variants=PRESETS)
def language_short_line_ratio(document: Document, _preset: str) -> float | None:
    """Share of lines that are short in the row's language, for which the package has the number of characters."""
    return _short_lines(document, short_line_chars(language_of(document.lang)))


def short_line_chars(language: str | None) -> int:
    """The most characters of a line that is short in a language: as many as say what 30 say in English."""
    known = shipped().get(language or "")
    limits = known.limits.get("text.fineweb_quality", {}) if known else {}
    return int(limits.get("short_line_chars", SHORT_LINE_CHARS))


def _short_lines(document: Document, max_chars: int) -> float | None:
    lines = document.view(text_lines)
    return sum(len(line) <= max_chars for line in lines) / len(lines) if lines else None


@signal("fineweb.char_dup_ratio", version=1, dtype=pa.float64(), variants=PRESETS)
def char_dup_ratio(document: Document, _preset: str) -> float | None:
    """Share of characters in lines equal to an earlier line."""
    chars = len(document.text) - document.text.count("\n")
    return repeated_after_first(document.view(text_lines))[1] / chars if chars else None


@signal("fineweb.newline_ratio", version=3, dtype=pa.float64(), variants=PRESETS)
def newline_ratio(document: Document, preset: str) -> float | None:
    """Line breaks a word."""
    words = document.view(english_words if preset == "datatrove" else english_words_by_letter)
    return document.text.count("\n") / len(words) if words else None
