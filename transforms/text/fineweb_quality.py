"""FineWeb's own filters: lists, menus and other text that is not running prose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Verdicts
from transforms.registry import register
from transforms.signals import Document, column_name
from transforms.text import rules
from transforms.text.blank import reject_blank
from transforms.text.presets import PresetParams
from transforms.text.rules import Rule
from transforms.text.signals_fineweb import SHORT_LINE_CHARS, short_lines

#: both presets read the same signals; there is one implementation
_VARIANT = "datatrove"
_SHORT_LINES = "fineweb.short_line_ratio"


class FinewebQualityParams(PresetParams):
    """Thresholds of Penedo et al. 2024 (arXiv 2406.17557, section 3.6).

    The paper removes documents with a share of .1 or more of characters in duplicate lines; datatrove's default, with
    which FineWeb was made, is .01. The code compares strictly (a share equal to the limit passes), and so does this,
    under both presets. The limit on line breaks is in the code and not in the paper. null switches a rule off.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"datatrove": {"max_char_dup_ratio": 0.01}}

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


@register("text.fineweb_quality", version=1)
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
        self._rules = (
            Rule("too_few_punctuated_lines", "fineweb.line_punct_ratio", "<", params.min_line_punct_ratio),
            Rule("too_many_short_lines", _SHORT_LINES, ">", params.max_short_line_ratio),
            Rule("duplicate_line_chars", "fineweb.char_dup_ratio", ">", params.max_char_dup_ratio),
            Rule("too_many_newlines", "fineweb.newline_ratio", ">", params.max_newline_ratio),
        )

    def signals(self) -> tuple[str, ...]:
        return rules.columns(self._rules, _VARIANT)

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        judged = batch
        if self.params.short_line_chars != SHORT_LINE_CHARS and self.params.max_short_line_ratio is not None:
            lengths = [short_lines(Document(text), self.params.short_line_chars) for text in batch["text"].to_pylist()]
            judged = _with_column(judged, _SHORT_LINES, lengths)
        if self.params.allow_unpunctuated and self.params.min_line_punct_ratio is not None:
            punctuated = rules.numbers(judged.column(column_name("fineweb.line_punct_ratio", _VARIANT)))
            judged = _with_column(judged, "fineweb.line_punct_ratio", np.where(punctuated == 0, np.nan, punctuated))
        return reject_blank(batch, rules.judge(judged, self._rules, _VARIANT))


def _with_column(batch: pa.RecordBatch, signal: str, values: Any) -> pa.RecordBatch:
    """The batch with other values of a signal, for this filter's eyes only."""
    at = batch.schema.get_field_index(column_name(signal, _VARIANT))
    return batch.set_column(at, batch.schema.field(at), pa.array(values, pa.float64()))
