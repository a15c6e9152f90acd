"""Pairs whose sides differ in length more than translations do."""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.pair.lengths import deviation, num_letters, num_words, ratio
from transforms.pair.sides import require_pairs, side_texts
from transforms.registry import register

_FIELDS = tuple(pa.field(f"pair.{name}", pa.float64()) for name in ("word_ratio", "letter_ratio", "length_z"))


class LengthRatioParams(Params):
    """How far the lengths may lie apart; null switches a rule off."""

    #: the longer side over the shorter, in words (Granary, Koluguri et al. 2025)
    max_word_ratio: float | None = Field(default=4.0, ge=1)
    #: the same in letters, weighed by script (transforms.pair.lengths)
    max_letter_ratio: float | None = Field(default=3.0, ge=1)
    #: standard deviations of Gale and Church's model of translations: strict with long sides, lenient with short
    max_length_z: float | None = Field(default=4.0, gt=0)


@register("pair.length_ratio", version=1)
class LengthRatio(Filter[LengthRatioParams]):
    """Adds `pair.word_ratio`, `pair.letter_ratio` and `pair.length_z` (positive: the target is longer), and judges by
    them in this order."""

    Params = LengthRatioParams
    reasons = frozenset({"uneven_words", "uneven_letters", "improbable_length"})

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.length_ratio")
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        measured = [None if pair is None else _measure(*pair) for pair in side_texts(batch)]
        columns = [[None if row is None else row[at] for row in measured] for at in range(len(_FIELDS))]
        return append_columns(batch, list(zip(_FIELDS, columns, strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        limits = (self.params.max_word_ratio, self.params.max_letter_ratio, self.params.max_length_z)
        names = ("uneven_words", "uneven_letters", "improbable_length")
        reasons: list[str | None] = [None] * batch.num_rows
        details: list[str | None] = [None] * batch.num_rows
        for field, limit, name in zip(_FIELDS, limits, names, strict=True):
            for row, value in enumerate(batch.column(field.name).to_pylist()):
                if limit is not None and value is not None and abs(value) > limit and reasons[row] is None:
                    reasons[row] = name
                    details[row] = f"{field.name} {value:.4g} beyond {limit:g}"
        return Verdicts(reasons, details)


def _measure(source: str, target: str) -> tuple[float, float, float]:
    letters = num_letters(source), num_letters(target)
    return ratio(num_words(source), num_words(target)), ratio(*letters), deviation(*letters)
