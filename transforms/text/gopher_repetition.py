"""Gopher's repetition rules: does this document say the same thing over and over?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Verdicts
from transforms.registry import register
from transforms.text.blank import reject_blank
from transforms.text.languages import LanguageParams
from transforms.text.rules import Rule, RuleSet
from transforms.text.signals_repetition import DUPLICATE_SIZES, TOP_SIZES

#: datatrove looks at paragraphs first; the paper's table, and DCLM, at lines
_ORDER = ("duplicate_line", "duplicate_paragraph", "duplicate_line_char", "duplicate_paragraph_char")
_DATATROVE_ORDER = ("duplicate_paragraph", "duplicate_paragraph_char", "duplicate_line", "duplicate_line_char")
_REASONS = {
    "duplicate_line": "duplicate_lines",
    "duplicate_line_char": "duplicate_line_chars",
    "duplicate_paragraph": "duplicate_paragraphs",
    "duplicate_paragraph_char": "duplicate_paragraph_chars",
}


class GopherRepetitionParams(LanguageParams):
    """The thirteen thresholds of Rae et al. 2021 (arXiv 2112.11446, table A1); a row above one is rejected.

    The presets differ in how they measure (transforms.text.signals_repetition), and Dolma's mixers (1.5 to 1.7) allow
    .30 of characters in duplicate lines, and look at no paragraphs. null switches a rule off.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "datatrove": {"languages": "published"},
        "dclm": {"languages": "published"},
        "dolma": {
            "languages": "published",
            "max_duplicate_line_char_ratio": 0.30,
            "max_duplicate_paragraph_ratio": None,
            "max_duplicate_paragraph_char_ratio": None,
        },
    }
    TRANSFORM: ClassVar[str] = "text.gopher_repetition"

    preset: Literal["paper", "datatrove", "dclm", "dolma"] = "paper"
    max_duplicate_line_ratio: float | None = Field(default=0.30, ge=0)
    max_duplicate_paragraph_ratio: float | None = Field(default=0.30, ge=0)
    max_duplicate_line_char_ratio: float | None = Field(default=0.20, ge=0)
    max_duplicate_paragraph_char_ratio: float | None = Field(default=0.20, ge=0)
    max_top_2_gram_char_ratio: float | None = Field(default=0.20, ge=0)
    max_top_3_gram_char_ratio: float | None = Field(default=0.18, ge=0)
    max_top_4_gram_char_ratio: float | None = Field(default=0.16, ge=0)
    max_duplicate_5_gram_char_ratio: float | None = Field(default=0.15, ge=0)
    max_duplicate_6_gram_char_ratio: float | None = Field(default=0.14, ge=0)
    max_duplicate_7_gram_char_ratio: float | None = Field(default=0.13, ge=0)
    max_duplicate_8_gram_char_ratio: float | None = Field(default=0.12, ge=0)
    max_duplicate_9_gram_char_ratio: float | None = Field(default=0.11, ge=0)
    max_duplicate_10_gram_char_ratio: float | None = Field(default=0.10, ge=0)


@register("text.gopher_repetition", version=2)
class GopherRepetition(Filter[GopherRepetitionParams]):
    """Rejects a row for the first rule it breaks, in the preset's order.

    A row without text repeats nothing: it is rejected as `no_text`, unless media parts are what it is made of.
    """

    Params = GopherRepetitionParams
    reasons = frozenset(
        {"no_text", *_REASONS.values()}
        | {f"top_{size}_gram" for size in TOP_SIZES}
        | {f"duplicate_{size}_grams" for size in DUPLICATE_SIZES}
    )

    def __init__(self, params: GopherRepetitionParams) -> None:
        super().__init__(params)
        order = _DATATROVE_ORDER if params.preset == "datatrove" else _ORDER
        limits = [(_REASONS[name], f"{name}_ratio") for name in order]
        limits += [(f"top_{size}_gram", f"top_{size}_gram_char_ratio") for size in TOP_SIZES]
        limits += [(f"duplicate_{size}_grams", f"duplicate_{size}_gram_char_ratio") for size in DUPLICATE_SIZES]
        rules = tuple(Rule(reason, f"gopher.{signal}", ">", f"max_{signal}") for reason, signal in limits)
        self._rules = RuleSet(rules, params, params.preset)

    def signals(self) -> tuple[str, ...]:
        return self._rules.columns()

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        return reject_blank(batch, self._rules.judge(batch))
