"""Pairs whose characters give them away: wrong scripts, other numbers, other links, other punctuation."""

from __future__ import annotations

import pyarrow as pa
import regex
from pydantic import Field

from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.pair.numbers import agreement, links, numbers, without_links
from transforms.pair.scripts import script_share
from transforms.pair.sides import SOURCE_LANG, TARGET_LANG, require_pairs, side_texts
from transforms.registry import register

_FIELDS = tuple(
    pa.field(f"pair.{name}", pa.float64())
    for name in (
        "source_script_ratio",
        "target_script_ratio",
        "number_agreement",
        "link_agreement",
        "punctuation_gap",
        "bracket_gap",
    )
)
_MARK = regex.compile(r"[\p{P}\p{S}]")
_SPACE = regex.compile(r"\s+")
#: an opening and a closing bracket of any script; quotation marks and what stands for bullets ("a)") are none of it
_OPENING, _CLOSING = regex.compile(r"[\p{Ps}--‚„]", regex.V1), regex.compile(r"(?<!^\w)(?<!\s\w)\p{Pe}")


class CharactersParams(Params):
    """What the characters of a pair must keep to; null switches a rule off."""

    #: least share of a side's letters in a script of its language (Granary, Koluguri et al. 2025), but for words that
    #: the other side has too: names, code. Languages that transforms.text.script_tables
    #: does not have are not judged
    min_script_ratio: float | None = Field(default=0.8, ge=0, le=1)
    #: least Dice coefficient of the numbers of the two sides, written in any digits and with any separators
    min_number_agreement: float | None = Field(default=0.5, ge=0, le=1)
    #: the same of hosts of links, and of e-mail addresses
    min_link_agreement: float | None = Field(default=0.5, ge=0, le=1)
    #: most by which the shares of punctuation and symbols in the two sides may differ
    max_punctuation_gap: float | None = Field(default=0.2, ge=0, le=1)
    #: most brackets that one side leaves open (or closes unopened) and the other does not
    max_bracket_gap: int | None = Field(default=0, ge=0)


@register("pair.characters", version=1)
class Characters(Filter[CharactersParams]):
    """Adds what it measures as `pair.*` columns, null where there is nothing to compare, and judges in this order."""

    Params = CharactersParams
    reasons = frozenset({"wrong_script", "other_numbers", "other_links", "other_punctuation", "unbalanced_brackets"})

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.characters")
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        langs = (batch.column(field.name).to_pylist() for field in (SOURCE_LANG, TARGET_LANG))
        rows = [
            (None,) * len(_FIELDS) if pair is None else _measure(pair[0], pair[1], source, target)
            for pair, source, target in zip(side_texts(batch), *langs, strict=True)
        ]
        columns = [[row[at] for row in rows] for at in range(len(_FIELDS))]
        return append_columns(batch, list(zip(_FIELDS, columns, strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        params = self.params
        limits = (
            ("wrong_script", "<", params.min_script_ratio),
            ("wrong_script", "<", params.min_script_ratio),
            ("other_numbers", "<", params.min_number_agreement),
            ("other_links", "<", params.min_link_agreement),
            ("other_punctuation", ">", params.max_punctuation_gap),
            ("unbalanced_brackets", ">", params.max_bracket_gap),
        )
        reasons: list[str | None] = [None] * batch.num_rows
        details: list[str | None] = [None] * batch.num_rows
        for field, (reason, fails, limit) in zip(_FIELDS, limits, strict=True):
            for row, value in enumerate(batch.column(field.name).to_pylist()):
                if limit is None or value is None or reasons[row] is not None:
                    continue
                if value < limit if fails == "<" else value > limit:
                    reasons[row] = reason
                    details[row] = f"{field.name.removeprefix('pair.')} {value:.4g} {fails} {limit:g}"
        return Verdicts(reasons, details)


def _measure(source: str, target: str, source_lang: str | None, target_lang: str | None) -> tuple[float | None, ...]:
    plain = without_links(source), without_links(target)
    return (
        None if source_lang is None else script_share(plain[0], source_lang, plain[1]),
        None if target_lang is None else script_share(plain[1], target_lang, plain[0]),
        agreement(numbers(plain[0]), numbers(plain[1])),
        agreement(links(source), links(target)),
        abs(_punctuation(plain[0]) - _punctuation(plain[1])),
        abs(_unbalanced(plain[0]) - _unbalanced(plain[1])),
    )


def _punctuation(text: str) -> float:
    """Share of punctuation and symbols among the characters that are not white space."""
    visible = len(_SPACE.sub("", text))
    return len(_MARK.findall(text)) / visible if visible else 0.0


def _unbalanced(text: str) -> float:
    """Brackets left open less brackets closed unopened, whatever their kind."""
    return float(abs(len(_OPENING.findall(text)) - len(_CLOSING.findall(text))))
