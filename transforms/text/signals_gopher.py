"""Signals of the Gopher quality rules (Rae et al. 2021, arXiv 2112.11446, section A1.1).

One variant an implementation, because they disagree about what a word, a symbol, a bullet and a stop word is:

- paper: words by UAX #29 without punctuation; "#" apart from "..." and "…"; bullets • ● ‣ * -; stop words counted once.
- datatrove: words as spaCy splits English, of which only those that are not all punctuation count towards the number
  and the length; "#" apart from "..." and "…"; bullets • -; stop words counted once.
- dclm: words by whitespace; the number of words is of those that begin with a letter or digit; "#", "...", ". . ." and
  "…" together; bullets ● • * -; every occurrence of a stop word, in any case.
- dolma: words by whitespace; words that hold "#" or "…"; bullets * -; every occurrence of a stop word.

Lines: the paper's and DCLM's are the non-blank ones; datatrove's and Dolma's are all. Word length is the mean, in
Dolma the median. Unspaced scripts: transforms.text.words; their letters, and Hangul's syllable blocks, have no word
length, and where they are most of a text its word length is null, so that no rule judges it. Not so in datatrove,
whose words are runs of such letters, as long as they are. A ratio without a denominator is null too. Stop words of
other languages than English are nobody's but ours: how many are present, in all variants.

Sources: datatrove 0.10.1 GopherQualityFilter; DCLM baselines/mappers/filters/content_filters.py with
dclm_baseline_refinedweb.yaml; Dolma taggers/gopher.py (gopher_v1).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pyarrow as pa
import regex

from transforms.signals import Document, signal
from transforms.text.english import english_words
from transforms.text.languages import language_of, shipped
from transforms.text.sentences import DATATROVE_TERMINAL
from transforms.text.words import has_no_length, unicode_words, whitespace_words

PRESETS = ("paper", "datatrove", "dclm", "dolma")
ENGLISH_STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})

WORDS: dict[str, Callable[[Document], list[str]]] = {
    "paper": unicode_words,
    "datatrove": english_words,
    "dclm": whitespace_words,
    "dolma": whitespace_words,
}
_BULLETS = {
    "paper": ("•", "●", "‣", "*", "-"),
    "datatrove": ("•", "-"),
    "dclm": ("●", "•", "*", "-"),
    "dolma": ("*", "-"),
}
_ELLIPSES = {
    "paper": ("...", "…"),
    "datatrove": ("...", "…"),
    "dclm": ("...", ". . .", "…"),
    "dolma": ("…",),
}
# A datatrove word counts when a character of it is not in datatrove's PUNCTUATION: ASCII punctuation and controls,
# a list of typographic and East Asian marks, a full-width one (its table has it), and terminal marks of all scripts.
_DATATROVE_PUNCTUATION = (
    r"[[!-/:-@\[-`{-~\u0000-\u0008\u000b-\u001f\u007f-\u009f—”：％１〈（、━【「，】；～“《„’∶´．？！$«〉》）。…」»►–]"
    rf"{DATATROVE_TERMINAL}]"
)
_NOT_PUNCTUATION = regex.compile(rf"[^{_DATATROVE_PUNCTUATION}]", regex.V1)


def lines_of(document: Document, preset: str) -> list[str]:
    """View: the lines a preset looks at."""
    if preset == "datatrove":
        return document.text.splitlines()
    if preset == "dolma":
        return document.text.split("\n")
    return [stripped for line in document.text.split("\n") if (stripped := line.strip())]


def counted_words(document: Document, preset: str) -> list[str]:
    """View: the words that a preset's word count and, but for dclm, its word length are about."""
    words = document.view(WORDS[preset])
    if preset == "datatrove":
        return [word for word in words if _NOT_PUNCTUATION.search(word)]
    if preset == "dclm":
        return [word for word in words if word[0].isalnum()]
    return words


@signal("gopher.word_count", version=3, dtype=pa.int64(), variants=PRESETS)
def word_count(document: Document, preset: str) -> int:
    """Words in the document."""
    return len(document.view(counted_words, preset))


@signal("gopher.word_length", version=3, dtype=pa.float64(), variants=PRESETS)
def word_length(document: Document, preset: str) -> float | None:
    """Characters a word: the mean, in Dolma the median; null where most words have no length."""
    words = document.view(WORDS[preset]) if preset == "dclm" else document.view(counted_words, preset)
    lengths = [len(word) for word in words if preset == "datatrove" or not has_no_length(word)]
    if not lengths or len(lengths) * 2 < len(words):
        return None
    return float(median(lengths)) if preset == "dolma" else sum(lengths) / len(lengths)


@signal("gopher.hash_ratio", version=3, dtype=pa.float64(), variants=("paper", "datatrove"))
def hash_ratio(document: Document, preset: str) -> float | None:
    """Hash signs a word."""
    return _ratio(document.text.count("#"), len(document.view(WORDS[preset])))


@signal("gopher.ellipsis_ratio", version=3, dtype=pa.float64(), variants=("paper", "datatrove"))
def ellipsis_ratio(document: Document, preset: str) -> float | None:
    """Ellipses a word."""
    return _ratio(sum(map(document.text.count, _ELLIPSES[preset])), len(document.view(WORDS[preset])))


@signal("gopher.symbol_ratio", version=1, dtype=pa.float64(), variants=("dclm", "dolma"))
def symbol_ratio(document: Document, preset: str) -> float | None:
    """Hash signs and ellipses a word (dclm), or the share of words that hold one (dolma)."""
    words = document.view(WORDS[preset])
    if preset == "dolma":
        return _ratio(sum("#" in word or "…" in word for word in words), len(words))
    return _ratio(sum(map(document.text.count, ("#", *_ELLIPSES[preset]))), len(words))


@signal("gopher.bullet_line_ratio", version=1, dtype=pa.float64(), variants=PRESETS)
def bullet_line_ratio(document: Document, preset: str) -> float | None:
    """Share of lines that start with a bullet point."""
    lines = document.view(lines_of, preset)
    if preset == "datatrove":
        return _ratio(sum(line.lstrip().startswith(_BULLETS[preset]) for line in lines), len(lines))
    return _ratio(sum(line.startswith(_BULLETS[preset]) for line in lines), len(lines))


@signal("gopher.ellipsis_line_ratio", version=1, dtype=pa.float64(), variants=PRESETS)
def ellipsis_line_ratio(document: Document, preset: str) -> float | None:
    """Share of lines that end with an ellipsis."""
    lines = document.view(lines_of, preset)
    if preset == "datatrove":
        return _ratio(sum(line.rstrip().endswith(_ELLIPSES[preset]) for line in lines), len(lines))
    return _ratio(sum(line.endswith(_ELLIPSES[preset]) for line in lines), len(lines))


@signal("gopher.alphabetic_word_ratio", version=3, dtype=pa.float64(), variants=PRESETS)
def alphabetic_word_ratio(document: Document, preset: str) -> float | None:
    """Share of words with an alphabetic character (datatrove's words include punctuation marks)."""
    words = document.view(WORDS[preset])
    return _ratio(sum(word.isalpha() or any(map(str.isalpha, word)) for word in words), len(words))


@signal("gopher.stop_word_count", version=3, dtype=pa.int64(), variants=PRESETS)
def stop_word_count(document: Document, preset: str) -> int:
    """The eight English stop words: how many are present (paper, datatrove), or how often (dclm, dolma)."""
    words = document.view(WORDS[preset])
    if preset in ("paper", "datatrove"):
        return len(ENGLISH_STOP_WORDS.intersection(words))
    if preset == "dclm":
        return sum(word.lower() in ENGLISH_STOP_WORDS for word in words)
    return sum(word in ENGLISH_STOP_WORDS for word in words)


@signal("gopher.language_stop_word_count", version=2, dtype=pa.int64(), variants=PRESETS)
def language_stop_word_count(document: Document, preset: str) -> int | None:
    """How many of the stop words that the package has for the row's language are present; null when it has none."""
    language = shipped().get(language_of(document.lang))
    if language is None or not language.stop_words:
        return None
    return len(set(language.stop_words).intersection(document.view(WORDS[preset])))


def _ratio(count: int, total: int) -> float | None:
    return count / total if total else None
