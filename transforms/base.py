"""The one shape of a transform: a RecordBatch in; kept and rejected rows out, each rejected with a declared reason.

An author writes one of four small classes:

- `Map`: `map(batch)` returns the batch with more columns (or edited text); rejects nothing.
- `Filter`: `judge(batch)` gives one reason or null a row; `annotate(batch)` may add columns first.
- `PartFilter`: `judge_parts(parts)` gives one reason or null a media part; the document survives a bad part.
- `Explode`: `explode(batch)` turns one row into several, with ids `parent#k`.

Rules every transform keeps (tests/conformance checks them): it pickles; it yields exactly the schema it declares;
every row comes out on exactly one side, in order; the same row always meets the same fate, whatever batch it is in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas.reject import REJECT_FIELDS, rejected_schema
from transforms.parts import Parts, drop_parts


class Params(BaseModel):
    """Base of every transform's parameters: frozen and closed, so that a typo is an error and not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Params)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transform made of a batch.

    `rejected` has `kept`'s columns and then REJECT_FIELDS. Rows of it whose `reject.part` is set stand for a media
    part that was removed from a row that is among `kept`; the others are whole rows, and
    kept + whole rejected rows = rows in (Explode aside).
    """

    kept: pa.RecordBatch
    rejected: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One reason (or null, which keeps) a row or part, with optional details and matched ids, all aligned."""

    reasons: Sequence[str | None] | pa.Array
    details: Sequence[str | None] | pa.Array | None = None
    match_ids: Sequence[str | None] | pa.Array | None = None

    def arrays(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        """The three columns as string arrays of one length."""
        reasons = _strings(self.reasons)
        blank = pa.nulls(len(reasons), pa.string())
        return (
            reasons,
            blank if self.details is None else _strings(self.details),
            blank if self.match_ids is None else _strings(self.match_ids),
        )


class Transform(ABC, Generic[P]):
    """Base of all transforms; authors use Map, Filter, PartFilter or Explode.

    `reasons` declares every word the transform may reject with; `edits_text` says that signals computed before it
    are stale after it; `Params` is its parameter model. `name` and `version` are set by `@register`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    Params: ClassVar[type[Params]] = Params
    reasons: ClassVar[frozenset[str]] = frozenset()
    edits_text: ClassVar[bool] = False

    def __init__(self, params: P) -> None:
        self.params = params

    def setup(self) -> None:
        """Loads what is heavy (models, word lists); called once a worker, never at import or when pickled."""

    def signals(self) -> tuple[str, ...]:
        """Columns of transforms.signals that `apply` reads; the engine computes them before calling it."""
        return ()

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The kept rows' schema, given the input's; raises SchemaError when a column it needs is missing."""
        return schema

    @abstractmethod
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Judges one batch."""


class Map(Transform[P]):
    """Adds columns or edits text; rejects nothing."""

    @abstractmethod
    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with this transform's columns."""

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        kept = self.map(batch)
        return Outcome(kept, _none_rejected(kept))


class Filter(Transform[P]):
    """Keeps or rejects whole rows; may add columns on the way."""

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with this filter's columns (default: none are added)."""
        return batch

    @abstractmethod
    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        """One verdict a row of the annotated batch."""

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        annotated = self.annotate(batch)
        return partition(annotated, self.judge(annotated))


class PartParams(Params):
    """Parameters of transforms that judge media parts."""

    #: what a bad part costs: only itself (its document lives on without it), or the whole row
    on_bad: Literal["part", "row"] = "part"


class PartFilter(Transform[P]):
    """Keeps or rejects media parts of one kind; may add part columns on the way."""

    kind: ClassVar[str]

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with this filter's part columns (default: none are added)."""
        return batch

    @abstractmethod
    def judge_parts(self, parts: Parts) -> Verdicts:
        """One verdict a media part of `kind`; `parts` holds only those, flattened over the batch."""

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        parts = Parts.of(self.annotate(batch), self.kind)
        return self.remove(parts, self.judge_parts(parts))

    def remove(self, parts: Parts, verdicts: Verdicts) -> Outcome:
        """What becomes of `parts.batch` under these verdicts, one a part: bad parts go, or their whole rows."""
        reasons, details, matches = verdicts.arrays()
        if getattr(self.params, "on_bad", "part") == "row":
            return partition(parts.batch, _worst_part(parts, parts.batch.num_rows, reasons, details, matches))
        return Outcome(*drop_parts(parts.batch, parts, reasons, details, matches))


class Explode(Transform[P]):
    """Turns one row into zero or more; ids become `parent#k`, so the ledger can follow them."""

    @abstractmethod
    def explode(self, batch: pa.RecordBatch) -> Outcome:
        """The new rows, and the parents that yielded none as rejected rows."""

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        return self.explode(batch)


def partition(batch: pa.RecordBatch, verdicts: Verdicts) -> Outcome:
    """Splits a batch by its verdicts, keeping the order on both sides."""
    reasons, details, matches = verdicts.arrays()
    if len(reasons) != batch.num_rows:
        raise AssertionError(f"{len(reasons)} verdicts for {batch.num_rows} rows")
    if reasons.null_count == batch.num_rows:
        return Outcome(batch, _none_rejected(batch))
    keep = reasons.is_null()
    drop = reasons.is_valid()
    parts = pa.nulls(batch.num_rows, pa.int32())
    judged = append_columns(batch, list(zip(REJECT_FIELDS, (parts, reasons, details, matches), strict=True)))
    return Outcome(batch.filter(keep), judged.filter(drop))


def append_columns(
    batch: pa.RecordBatch, columns: Sequence[tuple[pa.Field, pa.Array | Sequence[Any]]]
) -> pa.RecordBatch:
    """The batch with columns added; a column of that name is replaced in place."""
    arrays = list(batch.columns)
    schema = batch.schema
    for field, values in columns:
        array = values if isinstance(values, pa.Array) else pa.array(values, field.type)
        at = schema.get_field_index(field.name)
        if at < 0:
            schema = schema.append(field)
            arrays.append(array)
        else:
            schema = schema.set(at, field)
            arrays[at] = array
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def append_fields(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema `append_columns` yields."""
    for field in fields:
        at = schema.get_field_index(field.name)
        schema = schema.append(field) if at < 0 else schema.set(at, field)
    return schema


def _strings(values: Sequence[str | None] | pa.Array) -> pa.Array:
    return values.cast(pa.string()) if isinstance(values, pa.Array) else pa.array(values, pa.string())


def _none_rejected(kept: pa.RecordBatch) -> pa.RecordBatch:
    schema = rejected_schema(kept.schema)
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _worst_part(parts: Parts, num_rows: int, *columns: pa.Array) -> Verdicts:
    """A row's verdict is that of its first bad part."""
    reasons, details, matches = (column.to_pylist() for column in columns)
    rows: list[list[str | None]] = [[None] * num_rows for _ in range(3)]
    for at, row in enumerate(parts.row.tolist()):
        if reasons[at] is not None and rows[0][row] is None:
            rows[0][row] = reasons[at]
            prefix = f"part {parts.index[at]}"
            rows[1][row] = prefix if details[at] is None else f"{prefix}: {details[at]}"
            rows[2][row] = matches[at]
    return Verdicts(*rows)
