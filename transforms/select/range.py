"""Keeps rows, or media parts, whose column lies in a range: the one place where scores become decisions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from pydantic import Field, model_validator

from schemas.errors import SchemaError
from schemas.sample import is_part_field
from transforms.base import Filter, Outcome, Params, Verdicts, partition
from transforms.parts import Parts, drop_parts
from transforms.registry import nearest, register

MISSING = "missing_value"
_KINDS = ("image", "audio")


class SelectRangeParams(Params):
    """A closed range: min <= value <= max."""

    #: a numeric column made by an earlier step, such as `score.quality`, a signal, such as
    #: `signal.gopher.word_count.paper`, or a part column, such as `image.width_px`
    column: str
    min: float | None = None
    max: float | None = None
    #: what a null or NaN costs. A part column is null for parts of another kind; those it does not judge.
    missing: Literal["keep", "reject"] = "reject"
    #: the reason of a value outside the range, in the row's own terms ("low_quality")
    reason: str = Field(default="out_of_range", pattern=r"^[a-z][a-z0-9_]*$")
    #: for part columns: what a bad part costs, only itself (its document lives on without it) or the whole row
    on_bad: Literal["part", "row"] = "part"

    @model_validator(mode="after")
    def _bounded(self) -> SelectRangeParams:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both: a range without bounds selects nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no value could pass")
        return self


@register("select.range", version=2)
class SelectRange(Filter[SelectRangeParams]):
    """Rejects values outside a range, with the recipe's own reason, and missing ones as `missing_value`.

    A scalar column decides over rows. A part column decides over media parts, each of which leaves alone.
    """

    Params = SelectRangeParams
    reasons = frozenset({"out_of_range", MISSING})

    def __init__(self, params: SelectRangeParams) -> None:
        super().__init__(params)
        self.reasons = frozenset({params.reason, MISSING})  # type: ignore[misc]

    def signals(self) -> tuple[str, ...]:
        return (self.params.column,) if self.params.column.startswith("signal.") else ()

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        self._field(schema)
        return schema

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        if not is_part_field(self._field(batch.schema)):
            return partition(batch, self.judge(batch))
        parts = _parts_of(batch, self.params.column)
        reasons, details = self._verdicts(parts.column(self.params.column))
        if self.params.on_bad == "part":
            columns = Verdicts(reasons, details).arrays()
            return Outcome(*drop_parts(batch, parts, *columns))
        first = _first_bad(parts, reasons)
        return partition(batch, _rows(batch.num_rows, parts, first, reasons, details))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        """One verdict a row, of a scalar column."""
        return Verdicts(*self._verdicts(batch.column(self.params.column)))

    def _verdicts(self, column: pa.Array) -> tuple[list[str | None], list[str | None]]:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        low = values < (-np.inf if self.params.min is None else self.params.min)
        high = values > (np.inf if self.params.max is None else self.params.max)
        absent = np.isnan(values) & (self.params.missing == "reject")
        reasons = np.full(len(values), None, object)
        details = np.full(len(values), None, object)
        reasons[low | high], reasons[absent] = self.params.reason, MISSING
        name = self.params.column
        for rows, sign, bound in ((low, "<", self.params.min), (high, ">", self.params.max)):
            for row in np.flatnonzero(rows):
                details[row] = f"{name} {values[row]:.7g} {sign} {bound:.7g}"
        details[absent] = f"{name} has no value"
        return reasons.tolist(), details.tolist()

    def _field(self, schema: pa.Schema) -> pa.Field:
        name = self.params.column
        if name not in schema.names:
            hint = nearest(name, schema.names)
            raise SchemaError(
                f"select.range: there is no column {name!r} at this step; {hint}. Put its step before this"
            )
        field = schema.field(name)
        dtype = field.type.value_type if is_part_field(field) else field.type
        if not (pt.is_integer(dtype) or pt.is_floating(dtype)):
            raise SchemaError(f"select.range: column {name!r} is {field.type}; a range needs a column of numbers")
        return field


def _parts_of(batch: pa.RecordBatch, column: str) -> Parts:
    """The parts a part column is about: those of the kind its name starts with, else all."""
    kind = column.partition(".")[0]
    if kind in _KINDS:
        return Parts.of(batch, kind)
    media = batch.column("media")
    rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False).astype(np.int64)
    index = media.flatten().field("index").to_numpy(zero_copy_only=False)
    return Parts(batch, np.arange(len(rows)), rows, index)


def _first_bad(parts: Parts, reasons: list[str | None]) -> dict[int, int]:
    """Row -> position of its first part that has a reason."""
    first: dict[int, int] = {}
    for at, row in enumerate(parts.row.tolist()):
        if reasons[at] is not None:
            first.setdefault(row, at)
    return first


def _rows(num_rows: int, parts: Parts, first: dict[int, int], reasons: list[Any], details: list[Any]) -> Verdicts:
    """A row's verdict is that of its first bad part."""
    chosen = [first.get(row) for row in range(num_rows)]
    return Verdicts(
        [None if at is None else reasons[at] for at in chosen],
        [None if at is None else f"part {parts.index[at]}: {details[at]}" for at in chosen],
    )
