"""A part filter that opens each media part once, for both its measurements and its verdict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from schemas.errors import SchemaError
from schemas.sample import part_field
from transforms.base import Outcome, P, PartFilter, Verdicts, append_columns, append_fields
from transforms.parts import Parts


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a part is rejected, and what the decoder had to say."""

    reason: str
    detail: str | None = None


class PartProbe(PartFilter[P]):
    """Decodes parts: `probe` gives a part's measurements, one for each of `fields`, or its fault.

    Decoding is the costly act of a media recipe, so whatever a later step wants to know about the content is measured
    here and kept as a part column. Memory is bounded by one decoded part, not by the batch.
    """

    #: (column, type) of every measurement, in the order `probe` returns them
    fields: ClassVar[tuple[tuple[str, pa.DataType], ...]]

    @abstractmethod
    def probe(self, data: bytes) -> tuple[Any, ...] | Fault:
        """Opens one part. Depends on the bytes and the params alone, and never raises on hostile bytes."""

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [part_field(name, dtype) for name, dtype in self.fields])

    def judge_parts(self, parts: Parts) -> Verdicts:
        return _verdicts(self._probe_all(parts))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        parts = Parts.of(batch, self.kind)
        findings = self._probe_all(parts)
        columns = []
        for at, (name, dtype) in enumerate(self.fields):
            values = [None if isinstance(found, Fault) else found[at] for found in findings]
            columns.append((part_field(name, dtype), parts.part_column(pa.array(values, dtype))))
        annotated = append_columns(batch, columns)
        return self.remove(Parts.of(annotated, self.kind), _verdicts(findings))

    def _probe_all(self, parts: Parts) -> list[tuple[Any, ...] | Fault]:
        return [self.probe(data.as_py()) for data in parts.field("data")]


class MeasuredPartFilter(PartFilter[P]):
    """Judges parts by columns a PartProbe made earlier in the recipe.

    A part without a measurement (null) is rejected as "not_measured": it was never decoded, so nothing vouches for it.
    """

    #: the part columns read, and the step that makes them
    needs: ClassVar[tuple[str, ...]]
    made_by: ClassVar[str]

    @abstractmethod
    def judge_measured(self, *values: Any) -> tuple[str, str] | None:
        """(reason, detail) for one part, given its non-null values of `needs`; None keeps it."""

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        missing = [name for name in self.needs if name not in schema.names]
        if missing:
            raise SchemaError(
                f"{self.name} reads the column {' and '.join(map(repr, missing))}, which nothing before it makes; "
                f"put {self.made_by} before it"
            )
        return schema

    def judge_parts(self, parts: Parts) -> Verdicts:
        columns = [parts.column(name).to_pylist() for name in self.needs]
        verdicts: list[tuple[str | None, str | None]] = []
        for values in zip(*columns, strict=True):
            if None in values:
                verdicts.append(("not_measured", f"no value of {self.needs[values.index(None)]}"))
            else:
                verdicts.append(self.judge_measured(*values) or (None, None))
        return Verdicts([reason for reason, _ in verdicts], [detail for _, detail in verdicts])


def _verdicts(findings: Sequence[tuple[Any, ...] | Fault]) -> Verdicts:
    faults = [found if isinstance(found, Fault) else None for found in findings]
    return Verdicts([f and f.reason for f in faults], [f and f.detail for f in faults])
