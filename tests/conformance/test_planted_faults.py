"""The contract catches what it is there for: each transform here is broken in one way, and must be found out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.reject import REJECT_FIELDS
from schemas.sample import SAMPLE, part_field
from tests.conformance.contract import check_all, first_complaint
from transforms.base import (
    Explode,
    Filter,
    Map,
    Outcome,
    Params,
    PartFilter,
    PartParams,
    Transform,
    Verdicts,
    append_columns,
    append_fields,
)
from transforms.parts import Parts


class Sound(Filter[Params]):
    """Not broken: rejects rows of more than 40 characters."""

    reasons = frozenset({"too_long"})

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        long = pc.greater(pc.utf8_length(batch.column("text")), 40)
        return Verdicts(pc.if_else(long, "too_long", None))


class SoundParts(PartFilter[PartParams]):
    """Not broken: rejects images under 1 kB, and measures the others."""

    Params = PartParams
    kind = "image"
    reasons = frozenset({"too_light"})

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [part_field("image.bytes", pa.int64())])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        parts = Parts.of(batch, self.kind)
        sizes = pc.binary_length(parts.field("data")).cast(pa.int64())
        return append_columns(batch, [(part_field("image.bytes", pa.int64()), parts.part_column(sizes))])

    def judge_parts(self, parts: Parts) -> Verdicts:
        light = pc.less(parts.column("image.bytes"), 1000)
        return Verdicts(pc.if_else(light, "too_light", None))


class UndeclaredReason(Sound):
    reasons = frozenset()


class LosesRows(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        return Outcome(outcome.kept, outcome.rejected.slice(0, 0))


class DoublesRows(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        twice = pa.Table.from_batches([outcome.kept, outcome.kept]).combine_chunks().sort_by("source")
        return Outcome((twice.to_batches() or [outcome.kept])[0], outcome.rejected)


class BothSides(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        return Outcome(batch, super().apply(batch).rejected)


class Reorders(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        return Outcome(outcome.kept.take(pa.array(range(outcome.kept.num_rows), pa.int64())[::-1]), outcome.rejected)


class ReordersRejects(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        return Outcome(
            outcome.kept, outcome.rejected.take(pa.array(range(outcome.rejected.num_rows), pa.int64())[::-1])
        )


class UndeclaredColumn(Map[Params]):
    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return append_columns(batch, [(pa.field("text.length", pa.int64()), [1] * batch.num_rows)])


class OtherTypeThanDeclared(UndeclaredColumn):
    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [pa.field("text.length", pa.int32())])


class TypeFromValues(Map[Params]):
    """Types its column by its values, which an empty batch has none of."""

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [pa.field("text.length", pa.int64())])

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        values = pa.array([len(text) for text in batch.column("text").to_pylist()])
        return append_columns(batch, [(pa.field("text.length", values.type), values)])


class ForgetsPartMetadata(SoundParts):
    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = super().annotate(batch)
        at = batch.schema.get_field_index("image.bytes")
        schema = batch.schema.set(at, batch.schema.field(at).remove_metadata())
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


class WrongRejectSchema(Sound):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        return Outcome(outcome.kept, outcome.rejected.select([*SAMPLE.names, *(f.name for f in REJECT_FIELDS[:2])]))


class BatchPosition(Sound):
    """Rejects every third row of whatever batch it is given."""

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        return Verdicts(["too_long" if at % 3 == 2 else None for at in range(batch.num_rows)])


class BatchStatistics(Sound):
    """Compares rows with the batch's mean."""

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        lengths = [len(text) for text in batch.column("text").to_pylist()]
        mean = sum(lengths) / max(1, len(lengths))
        return Verdicts(["too_long" if length > mean else None for length in lengths])


class RemembersRows(Sound):
    """In-batch dedup: the second of equal texts goes."""

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        texts = batch.column("text").to_pylist()
        return Verdicts(["too_long" if text in texts[:at] else None for at, text in enumerate(texts)])


class Counts(Sound):
    """Keeps state from one call to the next."""

    calls = 0

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        self.calls += 1
        return Verdicts(["too_long" if self.calls % 2 else None] * batch.num_rows)


class HoldsALambda(Sound):
    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.measure = lambda text: len(text)


class PickleForgets(Sound):
    """What it knows does not reach the worker."""

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.limit = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params}

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        limit = getattr(self, "limit", 40)
        return Verdicts(["too_long" if len(text) > limit else None for text in batch.column("text").to_pylist()])


class EditsInPlace(Sound):
    """Writes into the buffers of the batch it was given."""

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        text = batch.column("text")
        data = text.buffers()[2]
        if data is not None and data.size:
            view = np.frombuffer(data, np.uint8)
            address = view.__array_interface__["data"][0]
            ctypes.memset(address, ord("x"), 1)
        return super().judge(batch)


class EditsTextSilently(Map[Params]):
    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return append_columns(batch, [(SAMPLE.field("text"), pc.utf8_upper(batch.column("text")))])


class LosesSentinels(Map[Params]):
    edits_text = True

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = pc.replace_substring(batch.column("text"), "\ufffc", "")
        return append_columns(batch, [(SAMPLE.field("text"), text)])


class RenamesRows(Map[Params]):
    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = pa.array([f"{id_}!" for id_ in batch.column("id").to_pylist()], pa.string())
        return append_columns(batch, [(SAMPLE.field("id"), ids)])


class MisalignedPartColumn(SoundParts):
    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return append_columns(batch, [(part_field("image.bytes", pa.int64()), [[1]] * batch.num_rows)])

    def judge_parts(self, parts: Parts) -> Verdicts:
        return Verdicts([None] * len(parts))


class LosesPartsSilently(SoundParts):
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        outcome = super().apply(batch)
        return Outcome(outcome.kept, outcome.rejected.slice(0, 0))


class ReEncodesMedia(Map[Params]):
    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        media = [[part | {"data": b"other"} for part in row] for row in batch.column("media").to_pylist()]
        return append_columns(batch, [(SAMPLE.field("media"), media)])


class ReturnsABatch(Transform[Params]):
    def apply(self, batch: pa.RecordBatch) -> Any:
        return batch


class OrphanRows(Explode[Params]):
    """Children that name no parent."""

    def explode(self, batch: pa.RecordBatch) -> Outcome:
        outcome = Sound(self.params).apply(batch.slice(0, 0))
        children = append_columns(batch, [(SAMPLE.field("source"), [f"new#{at}" for at in range(batch.num_rows)])])
        return Outcome(children, outcome.rejected)


FAULTY: dict[type[Transform], str] = {
    UndeclaredReason: "not declared",
    LosesRows: "were lost",
    DoublesRows: "more than once",
    BothSides: "more than once",
    Reorders: "kept rows are out of order",
    ReordersRejects: "rejected rows are out of order",
    UndeclaredColumn: "schema of kept rows",
    OtherTypeThanDeclared: "schema of kept rows",
    TypeFromValues: "schema of kept rows",
    ForgetsPartMetadata: "schema of kept rows",
    WrongRejectSchema: "schema of rejected rows",
    BatchPosition: "the batch split",
    BatchStatistics: "the batch split",
    RemembersRows: "the batch split",
    Counts: "second run",
    HoldsALambda: "does not pickle",
    PickleForgets: "the pickled transform",
    EditsInPlace: "changed the batch it was given",
    EditsTextSilently: "text of a kept row changed",
    LosesSentinels: "sentinels",
    RenamesRows: "id of a kept row changed",
    MisalignedPartColumn: "not aligned with media",
    LosesPartsSilently: "media parts were lost",
    ReEncodesMedia: "media of a kept row changed",
    ReturnsABatch: "not an Outcome",
    OrphanRows: "were lost",
}


@pytest.mark.parametrize("sound", [Sound, SoundParts])
def test_sound_transforms_pass(sound: type[Transform]) -> None:
    assert first_complaint(check_all, sound(sound.Params())) is None


@pytest.mark.parametrize("faulty", list(FAULTY), ids=lambda cls: cls.__name__)
def test_planted_fault_is_caught(faulty: type[Transform]) -> None:
    complaint = first_complaint(check_all, faulty(faulty.Params()))
    assert complaint is not None
    assert FAULTY[faulty] in complaint
