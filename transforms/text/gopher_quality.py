"""Gopher's quality rules: is this document prose of a plausible length and shape?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from transforms.base import Filter, Verdicts
from transforms.registry import register
from transforms.signals import column_name
from transforms.text.fused import count_stop_words
from transforms.text.languages import ENGLISH, MAX_STOP_WORDS, LanguageParams, language_of, languages_of
from transforms.text.rules import Rule, RuleSet, numbers
from transforms.text.signals_gopher import ENGLISH_STOP_WORDS
from transforms.text.stop_words import StopWords

_STOP_WORDS = "gopher.stop_word_count"
_LANGUAGE_STOP_WORDS = "gopher.language_stop_word_count"
_PUBLISHED = {"languages": "published"}


class GopherQualityParams(LanguageParams):
    """Thresholds of Rae et al. 2021 (arXiv 2112.11446, A1.1); every implementation shares them.

    The presets differ in what they count (transforms.text.signals_gopher), and in symbols: paper and datatrove hold
    hash signs and ellipses to the limit apart, dclm and dolma together. null switches a rule off. The preset paper
    holds other languages than English to limits of their own, and to their stop words, of which the package has those
    of many languages; rows of the others are not asked for stop words.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "datatrove": _PUBLISHED,
        "dclm": _PUBLISHED,
        "dolma": _PUBLISHED,
    }
    TRANSFORM: ClassVar[str] = "text.gopher_quality"

    preset: Literal["paper", "datatrove", "dclm", "dolma"] = "paper"
    min_words: int | None = Field(default=50, ge=0)
    max_words: int | None = Field(default=100_000, ge=0)
    #: of the mean word (dolma: the median); letters of unspaced scripts are left out, but not by datatrove
    min_word_chars: float | None = Field(default=3, ge=0)
    max_word_chars: float | None = Field(default=10, ge=0)
    max_symbol_word_ratio: float | None = Field(default=0.1, ge=0)
    max_bullet_line_ratio: float | None = Field(default=0.9, ge=0, le=1)
    max_ellipsis_line_ratio: float | None = Field(default=0.3, ge=0, le=1)
    min_alphabetic_word_ratio: float | None = Field(default=0.8, ge=0, le=1)
    min_stop_words: int | None = Field(default=2, ge=0)
    #: language -> its stop words, at most 56, instead of the package's (English: besides the published eight)
    stop_words: dict[str, list[str]] = Field(default_factory=dict)

    @field_validator("stop_words")
    @classmethod
    def _check_stop_words(cls, given: dict[str, list[str]]) -> dict[str, list[str]]:
        for language, words in given.items():
            if len(words) + len(ENGLISH_STOP_WORDS) > MAX_STOP_WORDS:
                limit = MAX_STOP_WORDS - len(ENGLISH_STOP_WORDS)
                raise ValueError(f"stop_words.{language}: {len(words)} words; give the {limit} most frequent, or fewer")
        return given


@register("text.gopher_quality", version=3)
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
        self._rules = RuleSet(_rules(params.preset), params, params.preset)
        own = {language_of(label): set(words) for label, words in params.stop_words.items()}
        if ENGLISH in own:
            own[ENGLISH] |= ENGLISH_STOP_WORDS
        self._own = own

    def signals(self) -> tuple[str, ...]:
        columns = self._rules.columns()
        if self.params.languages == "shipped" and column_name(_STOP_WORDS, self.params.preset) in columns:
            return *columns, column_name(_LANGUAGE_STOP_WORDS, self.params.preset)
        return columns

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        return self._rules.judge(self._for_languages(batch))

    def _for_languages(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with stop words counted in each row's own language, null where there are none to look for."""
        at = batch.schema.get_field_index(column_name(_STOP_WORDS, self.params.preset))
        languages = languages_of(batch)
        foreign = languages != ENGLISH
        if at < 0 or not (foreign.any() or ENGLISH in self._own):
            return batch
        values = numbers(batch.column(at)).copy()
        if self.params.languages == "shipped":
            of_language = numbers(batch.column(column_name(_LANGUAGE_STOP_WORDS, self.params.preset)))
            values = np.where(foreign, of_language, values)
        asked = np.isin(languages, list(self._own))
        if asked.any():
            text = batch.column("text").filter(pa.array(asked))
            values[asked] = count_stop_words(text, self.params.preset, languages[asked].tolist(), StopWords(self._own))
        return batch.set_column(
            at, batch.schema.field(at), pa.array(values.astype(np.float64), from_pandas=True).cast(pa.int64())
        )


def _rules(preset: str) -> tuple[Rule, ...]:
    symbols: tuple[Rule, ...]
    if preset in ("paper", "datatrove"):
        symbols = (
            Rule("too_many_hashes", "gopher.hash_ratio", ">", "max_symbol_word_ratio"),
            Rule("too_many_ellipses", "gopher.ellipsis_ratio", ">", "max_symbol_word_ratio"),
        )
    else:
        symbols = (Rule("too_many_symbols", "gopher.symbol_ratio", ">", "max_symbol_word_ratio"),)
    return (
        Rule("too_few_words", "gopher.word_count", "<", "min_words"),
        Rule("too_many_words", "gopher.word_count", ">", "max_words"),
        Rule("words_too_short", "gopher.word_length", "<", "min_word_chars"),
        Rule("words_too_long", "gopher.word_length", ">", "max_word_chars"),
        *symbols,
        Rule("too_many_bullets", "gopher.bullet_line_ratio", ">", "max_bullet_line_ratio"),
        Rule("too_many_ellipsis_lines", "gopher.ellipsis_line_ratio", ">", "max_ellipsis_line_ratio"),
        Rule("too_few_alphabetic_words", "gopher.alphabetic_word_ratio", "<", "min_alphabetic_word_ratio"),
        Rule("too_few_stop_words", _STOP_WORDS, "<", "min_stop_words"),
    )
