"""Gopher and FineWeb signals from the counts of transforms.kernels.signals, equal to the readable functions' values.

Ratios are of the same two integers as in the reference, so they are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.columns import utf8
from transforms.kernels import counts, lines, ngrams
from transforms.kernels import signals as kernels
from transforms.signals import Computed, column_name, register_kernel, signal_field
from transforms.text.codepoint_tables import properties
from transforms.text.english_exceptions import exception_arrays
from transforms.text.languages import language_of
from transforms.text.signals_fineweb import PRESETS as FINEWEB_PRESETS
from transforms.text.signals_fineweb import short_line_chars
from transforms.text.signals_gopher import PRESETS
from transforms.text.signals_repetition import DUPLICATE_SIZES, TOP_SIZES
from transforms.text.stop_words import StopWords, shipped_stop_words

_UNICODE, _WHITESPACE, _ENGLISH = range(3)
_KIND = {"paper": _UNICODE, "datatrove": _ENGLISH, "dclm": _WHITESPACE, "dolma": _WHITESPACE}
_READING = {"paper": ngrams.DCLM, "dclm": ngrams.DCLM, "dolma": ngrams.DOLMA, "datatrove": ngrams.DATATROVE}
_LINE_NEEDS = (kernels.DCLM_LINES, kernels.DOLMA_LINES, kernels.DATATROVE_LINES, kernels.FINEWEB_LINES)
_SEGMENT_NEEDS = (kernels.DCLM_SEGMENTS, kernels.DOLMA_SEGMENTS, kernels.DATATROVE_SEGMENTS)

#: counts [rows, kernels.NUM_FIELDS] -> the column's values, NaN for null
Values = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class _Made:
    """What a column needs counted, and how it is made of the counts."""

    needs: int
    values: Values


def _ratio(above: Values, below: Values) -> Values:
    """A quotient, null where it has no denominator."""

    def values(out: np.ndarray) -> np.ndarray:
        denominator = below(out).astype(np.float64)
        denominator[denominator == 0] = np.nan
        return above(out) / denominator

    return values


def _share(above: Values, below: Values) -> Values:
    """A quotient, 0 where it has no denominator."""
    return lambda out: above(out) / np.maximum(below(out), 1)


def _field(*at: int) -> Values:
    """The sum of fields."""
    return lambda out: out[:, list(at)].sum(axis=1)


def _word_length(kind: int, median: bool) -> Values:
    at = kernels.WORDS + kind * counts.WORD_BLOCK
    total = counts.COUNTED if kind == _ENGLISH else counts.COUNT

    def values(out: np.ndarray) -> np.ndarray:
        with_length = out[:, at + counts.WITH_LENGTH]
        known = (with_length > 0) & (with_length * 2 >= out[:, at + total])
        if median:
            lengths = out[:, at + counts.MEDIAN_TWICE] / 2
        else:
            lengths = out[:, at + counts.LENGTH_SUM] / np.maximum(with_length, 1)
        return np.where(known, lengths, np.nan)

    return values


def _quality(preset: str) -> dict[str, _Made]:
    kind, reading = _KIND[preset], _READING[preset]
    lines_as = ngrams.DCLM if preset == "paper" else reading
    words = kernels.WORDS + kind * counts.WORD_BLOCK
    line = kernels.LINES + lines_as * lines.LINE_BLOCK
    needs, line_needs = kernels.UNICODE_WORDS << kind, _LINE_NEEDS[lines_as]
    total, num_lines = _field(words + counts.COUNT), _field(line + lines.LINES)
    dots, hashes, ellipses = (kernels.TEXT + at for at in (counts.DOTS, counts.HASHES, counts.ELLIPSES))
    counted = counts.COUNT if preset == "dolma" else counts.COUNTED
    stops = {"paper": counts.PRESENT, "datatrove": counts.PRESENT, "dclm": counts.STOPS_LOWER, "dolma": counts.STOPS}
    bullets = {
        "paper": (lines.DASHES, lines.STARS, lines.DISCS, lines.TRIANGLES, lines.DOTTED),
        "datatrove": (lines.DASHES, lines.DOTTED),
        "dclm": (lines.DASHES, lines.STARS, lines.DISCS, lines.DOTTED),
        "dolma": (lines.DASHES, lines.STARS),
    }[preset]
    endings = {"dclm": (lines.END_DOTS, lines.END_SPACED), "dolma": (lines.END_ELLIPSIS,)}
    ends = [line + at for at in endings.get(preset, (lines.END_DOTS,))]
    made = {
        "gopher.word_count": _Made(needs, _field(words + counted)),
        "gopher.word_length": _Made(needs, _word_length(kind, preset == "dolma")),
        "gopher.alphabetic_word_ratio": _Made(needs, _ratio(_field(words + counts.ALPHABETIC), total)),
        "gopher.stop_word_count": _Made(needs, _field(words + stops[preset])),
        "gopher.language_stop_word_count": _Made(needs | kernels.LISTED_WORDS, _listed(words)),
        "gopher.bullet_line_ratio": _Made(line_needs, _ratio(_field(*(line + at for at in bullets)), num_lines)),
        "gopher.ellipsis_line_ratio": _Made(line_needs, _ratio(_field(*ends), num_lines)),
    }
    if preset in ("paper", "datatrove"):
        made["gopher.hash_ratio"] = _Made(needs, _ratio(_field(hashes), total))
        made["gopher.ellipsis_ratio"] = _Made(needs, _ratio(_field(dots, ellipses), total))
    elif preset == "dclm":
        symbols = _field(hashes, dots, ellipses, kernels.TEXT + counts.SPACED_DOTS)
        made["gopher.symbol_ratio"] = _Made(needs, _ratio(symbols, total))
    else:
        made["gopher.symbol_ratio"] = _Made(needs, _ratio(_field(words + counts.SYMBOLS), total))
    return made


def _listed(words: int) -> Values:
    """A language's stop words, null where it has none."""
    return lambda out: np.where(out[:, words + counts.LISTED] < 0, np.nan, out[:, words + counts.LISTED])


def _repetition(preset: str) -> dict[str, _Made]:
    reading = _READING[preset]
    made = {}
    for unit, base in (("line", kernels.LINE_SEGMENTS), ("paragraph", kernels.PARAGRAPH_SEGMENTS)):
        block = base + reading * lines.SEGMENT_BLOCK
        segments, chars = _field(block + lines.SEGMENTS), _field(block + lines.SEGMENT_CHARS)
        repeats, repeated_chars = _field(block + lines.REPEATED), _field(block + lines.REPEATED_CHARS)
        if reading == ngrams.DATATROVE:
            repeats, repeated_chars = _field(block + lines.LATER), _field(block + lines.LATER_CHARS)
            chars = _field(kernels.TEXT + counts.CHARS)
        elif reading == ngrams.DOLMA:
            chars = _field(kernels.TEXT + counts.NOT_SPACE)
        needs = _SEGMENT_NEEDS[reading]
        if reading == ngrams.DOLMA and unit == "paragraph":
            # It looks at none: null.
            made[f"gopher.duplicate_{unit}_ratio"] = _Made(0, _nothing)
            made[f"gopher.duplicate_{unit}_char_ratio"] = _Made(0, _nothing)
            continue
        made[f"gopher.duplicate_{unit}_ratio"] = _Made(needs, _share(repeats, segments))
        made[f"gopher.duplicate_{unit}_char_ratio"] = _Made(needs, _share(repeated_chars, chars))
    words = {ngrams.DCLM: _UNICODE, ngrams.DOLMA: _WHITESPACE, ngrams.DATATROVE: _ENGLISH}[reading]
    for which, size in enumerate((*TOP_SIZES, *DUPLICATE_SIZES)):
        at = kernels.NGRAMS + words * ngrams.NGRAM_BLOCK + which
        name = "top" if size in TOP_SIZES else "duplicate"
        share = _share(_field(at), _field(at + ngrams.NUM_SIZES))
        made[f"gopher.{name}_{size}_gram_char_ratio"] = _Made(kernels.UNICODE_NGRAMS << words, share)
    return made


def _nothing(out: np.ndarray) -> np.ndarray:
    return np.full(len(out), np.nan)


def _fineweb(preset: str) -> dict[str, _Made]:
    line = kernels.LINES + kernels.FINEWEB * lines.LINE_BLOCK
    total = _field(line + lines.LINES)
    later = _field(kernels.LINE_SEGMENTS + kernels.FINEWEB * lines.SEGMENT_BLOCK + lines.LATER_CHARS)
    newlines = _field(kernels.TEXT + counts.NEWLINES)
    punctuated, words = _field(line + lines.PUNCTUATED), _field(kernels.BY_LETTER)
    needs, count_needs = kernels.FINEWEB_LINES, kernels.BY_LETTER_COUNT
    if preset == "datatrove":
        punctuated = _field(line + lines.PUNCTUATED_DATATROVE)
        words = _field(kernels.WORDS + _ENGLISH * counts.WORD_BLOCK + counts.COUNT)
        count_needs = kernels.ENGLISH_COUNT
    return {
        "fineweb.line_punct_ratio": _Made(needs, _ratio(punctuated, total)),
        "fineweb.short_line_ratio": _Made(needs, _ratio(_field(line + lines.SHORT), total)),
        "fineweb.language_short_line_ratio": _Made(needs, _ratio(_field(line + lines.SHORT_IN), total)),
        "fineweb.char_dup_ratio": _Made(needs, _ratio(later, _visible)),
        "fineweb.newline_ratio": _Made(count_needs, _ratio(newlines, words)),
    }


def _visible(out: np.ndarray) -> np.ndarray:
    """Code points but for newlines."""
    return out[:, kernels.TEXT + counts.CHARS] - out[:, kernels.TEXT + counts.NEWLINES]


_MADE = {
    column_name(name, preset): made
    for preset in PRESETS
    for name, made in (_quality(preset) | _repetition(preset)).items()
}
_MADE |= {column_name(name, preset): made for preset in FINEWEB_PRESETS for name, made in _fineweb(preset).items()}


def compute(text: pa.Array, langs: pa.Array, columns: Sequence[str]) -> Computed:
    """The columns of a text column, large_string, and which rows are for the reference."""
    needs = 0
    for column in columns:
        needs |= _MADE[column].needs
    languages = [language_of(lang) for lang in langs.to_pylist()]
    short = np.fromiter(map(short_line_chars, languages), np.int32, len(languages))
    out, undone = _measure(text, needs, languages, shipped_stop_words(), short)
    return Computed([_column(column, out) for column in columns], undone)


def count_stop_words(text: pa.Array, preset: str, languages: Sequence[str], words: StopWords) -> np.ndarray:
    """How many of its language's stop words each text holds, float64 [rows]; NaN for languages without any.

    A row that is no UTF-8 has none.
    """
    made = _MADE[column_name("gopher.language_stop_word_count", preset)]
    out, _ = _measure(text, made.needs, languages, words, np.zeros(len(text), np.int32))
    return made.values(out).astype(np.float64)


def short_line_ratios(text: pa.Array, max_chars: np.ndarray) -> np.ndarray:
    """Share of lines of at most `max_chars`, int32 [rows], characters, float64 [rows]; NaN for a text without lines."""
    made = _MADE[column_name("fineweb.language_short_line_ratio", "datatrove")]
    out, _ = _measure(text, made.needs, [""] * len(text), shipped_stop_words(), max_chars)
    return made.values(out)


def _measure(
    text: pa.Array, needs: int, languages: Sequence[str], words: StopWords, short: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    data, offsets = utf8(text)
    out = np.zeros((len(text), kernels.NUM_FIELDS), np.int64)
    undone = np.zeros(len(text), np.bool_)
    numbers = np.fromiter((words.numbers.get(language, -1) for language in languages), np.int32, len(text))
    kernels.measure(
        data, offsets, *properties(), needs, exception_arrays(), numbers, words.keys, words.bits, short, out, undone
    )
    return out, undone


def _column(column: str, out: np.ndarray) -> pa.Array:
    values = _MADE[column].values(out)
    return pa.array(values, signal_field(column).type, mask=np.isnan(values))


register_kernel(_MADE, compute)
