"""Gopher's quality rules: is this document prose of a plausible length and shape?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Verdicts
from transforms.registry import register
from transforms.signals import Document, column_name
from transforms.text import rules
from transforms.text.presets import PresetParams
from transforms.text.rules import Rule
from transforms.text.signals_gopher import ENGLISH_STOP_WORDS, count_stop_words

_STOP_WORDS = "gopher.stop_word_count"


class GopherQualityParams(PresetParams):
    """Thresholds of Rae et al. 2021 (arXiv 2112.11446, A1.1); every implementation shares them.

    The presets differ in what they count (transforms.text.signals_gopher), and in symbols: paper and datatrove hold
    hash signs and ellipses to the limit apart, dclm and dolma together. null switches a rule off.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    preset: Literal["paper", "datatrove", "dclm", "dolma"] = "paper"
    min_words: int | None = Field(default=50, ge=0)
    max_words: int | None = Field(default=100_000, ge=0)
    #: of the mean word (dolma: the median); letters of unspaced scripts are left out
    min_word_chars: float | None = Field(default=3, ge=0)
    max_word_chars: float | None = Field(default=10, ge=0)
    max_symbol_word_ratio: float | None = Field(default=0.1, ge=0)
    max_bullet_line_ratio: float | None = Field(default=0.9, ge=0, le=1)
    max_ellipsis_line_ratio: float | None = Field(default=0.3, ge=0, le=1)
    min_alphabetic_word_ratio: float | None = Field(default=0.8, ge=0, le=1)
    min_stop_words: int | None = Field(default=2, ge=0)
    #: language -> its stop words, added to the published English ones. A row's language is its `text.lang` column;
    #: rows of other languages are not asked for stop words, and without that column every row is taken for English.
    stop_words: dict[str, list[str]] = Field(default_factory=dict)


@register("text.gopher_quality", version=1)
class GopherQuality(Filter[GopherQualityParams]):
    """Rejects a row for the first rule it breaks, in the paper's order."""

    Params = GopherQualityParams
    reasons = frozenset(
        {
            "too_few_words",
            "too_many_words",
            "words_too_short",
            "words_too_long",
            "too_many_hashes",
            "too_many_ellipses",
            "too_many_symbols",
            "too_many_bullets",
            "too_many_ellipsis_lines",
            "too_few_alphabetic_words",
            "too_few_stop_words",
        }
    )

    def __init__(self, params: GopherQualityParams) -> None:
        super().__init__(params)
        self._rules = _rules(params)

    def signals(self) -> tuple[str, ...]:
        return rules.columns(self._rules, self.params.preset)

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        return rules.judge(self._for_languages(batch), self._rules, self.params.preset)

    def _for_languages(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with stop words counted in each row's own language, null where there are none to look for."""
        column = column_name(_STOP_WORDS, self.params.preset)
        if "text.lang" not in batch.schema.names or self.params.min_stop_words is None:
            return batch
        langs = batch.column("text.lang").to_pylist()
        counts = batch.column(column).to_pylist()
        known = {lang: frozenset(words) for lang, words in self.params.stop_words.items()}
        for row, lang in enumerate(langs):
            if lang in known:
                words = known[lang] | (ENGLISH_STOP_WORDS if lang == "en" else frozenset())
                counts[row] = count_stop_words(Document(batch.column("text")[row].as_py()), self.params.preset, words)
            elif lang is not None and lang != "en":
                counts[row] = None
        at = batch.schema.get_field_index(column)
        return batch.set_column(at, batch.schema.field(at), pa.array(counts, pa.int64()))


def _rules(params: GopherQualityParams) -> tuple[Rule, ...]:
    symbols: tuple[Rule, ...]
    if params.preset in ("paper", "datatrove"):
        symbols = (
            Rule("too_many_hashes", "gopher.hash_ratio", ">", params.max_symbol_word_ratio),
            Rule("too_many_ellipses", "gopher.ellipsis_ratio", ">", params.max_symbol_word_ratio),
        )
    else:
        symbols = (Rule("too_many_symbols", "gopher.symbol_ratio", ">", params.max_symbol_word_ratio),)
    return (
        Rule("too_few_words", "gopher.word_count", "<", params.min_words),
        Rule("too_many_words", "gopher.word_count", ">", params.max_words),
        Rule("words_too_short", "gopher.word_length", "<", params.min_word_chars),
        Rule("words_too_long", "gopher.word_length", ">", params.max_word_chars),
        *symbols,
        Rule("too_many_bullets", "gopher.bullet_line_ratio", ">", params.max_bullet_line_ratio),
        Rule("too_many_ellipsis_lines", "gopher.ellipsis_line_ratio", ">", params.max_ellipsis_line_ratio),
        Rule("too_few_alphabetic_words", "gopher.alphabetic_word_ratio", "<", params.min_alphabetic_word_ratio),
        Rule("too_few_stop_words", _STOP_WORDS, "<", params.min_stop_words),
    )
