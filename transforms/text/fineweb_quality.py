"""FineWeb's own filters: lists, menus and other text that is not running prose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Verdicts
from transforms.registry import register
from transforms.signals import column_name
from transforms.text.blank import reject_blank
from transforms.text.fused import short_line_ratios
from transforms.text.languages import LanguageParams, languages_of
from transforms.text.rules import Rule, RuleSet, numbers
from transforms.text.signals_fineweb import SHORT_LINE_CHARS

_PUNCTUATED_LINES = "fineweb.line_punct_ratio"
_SHORT_LINES = "fineweb.short_line_ratio"
_LANGUAGE_SHORT_LINES = "fineweb.language_short_line_ratio"


class FinewebQualityParams(LanguageParams):
    """Thresholds of Penedo et al. 2024 (arXiv 2406.17557, section 3.6).

    The paper removes documents with a share of .1 or more of characters in duplicate lines; datatrove's default, with
    which FineWeb was made, is .01. The code compares strictly (a share equal to the limit passes), and so does this,
    under both presets. The limit on line breaks is in the code and not in the paper. null switches a rule off. The
    preset paper takes fewer characters for a short line in languages that say more with them, and counts letters and
    line ends of unspaced scripts for what they are (transforms.text.signals_fineweb).
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "datatrove": {"max_char_dup_ratio": 0.01, "languages": "published"}
    }
    TRANSFORM: ClassVar[str] = "text.fineweb_quality"

    preset: Literal["paper", "datatrove"] = "paper"
    #: share of lines that end in terminal punctuation
    min_line_punct_ratio: float | None = Field(default=0.12, ge=0, le=1)
    #: lets documents pass in which no line at all is punctuated (datatrove's line_punct_exclude_zero)
    allow_unpunctuated: bool = False
    max_short_line_ratio: float | None = Field(default=0.67, ge=0, le=1)
    #: a line of at most so many characters is short
    short_line_chars: int = Field(default=SHORT_LINE_CHARS, ge=0)
    max_char_dup_ratio: float | None = Field(default=0.1, ge=0, le=1)
    #: line breaks a word
    max_newline_ratio: float | None = Field(default=0.3, ge=0)


@register("text.fineweb_quality", version=3)
class FinewebQuality(Filter[FinewebQualityParams]):
    """Rejects a row for the first rule it breaks, in datatrove's order.

    datatrove names the reasons empty, line_punct_ratio, short_line_ratio, char_dup_ratio and list_ratio. A row of
    media without any text passes.
    """

    Params = FinewebQualityParams
    reasons = frozenset(
        {"no_text", "too_few_punctuated_lines", "too_many_short_lines", "duplicate_line_chars", "too_many_newlines"}
    )

    def __init__(self, params: FinewebQualityParams) -> None:
        super().__init__(params)
        self._short_lines = _LANGUAGE_SHORT_LINES if params.languages == "shipped" else _SHORT_LINES
        #: whether no signal has the lengths that are asked for
        self._own_lengths = params.short_line_chars != SHORT_LINE_CHARS or any(
            "short_line_chars" in limits for limits in params.by_language.values()
        )
        rules = (
            Rule("too_few_punctuated_lines", _PUNCTUATED_LINES, "<", "min_line_punct_ratio"),
            Rule("too_many_short_lines", self._short_lines, ">", "max_short_line_ratio"),
            Rule("duplicate_line_chars", "fineweb.char_dup_ratio", ">", "max_char_dup_ratio"),
            Rule("too_many_newlines", "fineweb.newline_ratio", ">", "max_newline_ratio"),
        )
        self._rules = RuleSet(rules, params, params.preset)

    def signals(self) -> tuple[str, ...]:
        return self._rules.columns()

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        judged = batch
        if self._own_lengths and self._rules.is_active("max_short_line_ratio"):
            lengths = np.nan_to_num(self._rules.limits(languages_of(batch), "short_line_chars"), nan=-1).astype(
                np.int32
            )
            judged = self._with_column(judged, self._short_lines, short_line_ratios(batch["text"], lengths))
        if self.params.allow_unpunctuated and self._rules.is_active("min_line_punct_ratio"):
            punctuated = numbers(judged.column(column_name(_PUNCTUATED_LINES, self.params.preset)))
            judged = self._with_column(judged, _PUNCTUATED_LINES, np.where(punctuated == 0, np.nan, punctuated))
        return reject_blank(batch, self._rules.judge(judged))

    def _with_column(self, batch: pa.RecordBatch, signal: str, values: Any) -> pa.RecordBatch:
        """The batch with other values of a signal, for this filter's eyes only."""
        at = batch.schema.get_field_index(column_name(signal, self.params.preset))
        return batch.set_column(at, batch.schema.field(at), pa.array(values, pa.float64()))
