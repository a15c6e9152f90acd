"""Media parts of a batch, flattened, and their removal from documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from schemas.reject import REJECT_FIELDS, rejected_schema
from schemas.sample import SENTINEL, is_part_field

#: characters of a document's text that a removed part is reported with
REPORTED_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Parts:
    """The media parts of one kind in a batch, flattened over its rows.

    Shapes: every array has one entry a part. `flat`: position among all parts of the batch; `row`: the batch row;
    `index`: `media.index`, the part's name in the ledger; `batch`: the batch they came from.
    """

    batch: pa.RecordBatch
    flat: np.ndarray
    row: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, batch: pa.RecordBatch, kind: str) -> Parts:
        """All parts of `kind` ("image" | "audio")."""
        media = batch.column("media")
        values = media.flatten()
        rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False).astype(np.int64)
        chosen = np.flatnonzero(np.asarray(pc.equal(values.field("kind"), kind).to_numpy(zero_copy_only=False), bool))
        index = values.field("index").to_numpy(zero_copy_only=False)
        return cls(batch, chosen, rows[chosen], index[chosen])

    def __len__(self) -> int:
        return len(self.flat)

    def field(self, name: str) -> pa.Array:
        """A field of the MEDIA struct (`data`, `mime`, `sha256`), one value a part."""
        return self.batch.column("media").flatten().field(name).take(pa.array(self.flat))

    def column(self, name: str) -> pa.Array:
        """A part column of the batch (such as `image.width_px`), one value a part."""
        return self.batch.column(name).flatten().take(pa.array(self.flat))

    def part_column(self, values: pa.Array) -> pa.Array:
        """Values (one a part of this kind) as a list column aligned with `media`; null for the other kinds."""
        media = self.batch.column("media")
        total = len(media.flatten())
        lookup = np.full(total, -1, np.int64)
        lookup[self.flat] = np.arange(len(self.flat))
        spread = values.take(pa.array(lookup, mask=lookup < 0))
        lengths = pc.list_value_length(media).to_numpy(zero_copy_only=False)
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), spread)


def drop_parts(
    batch: pa.RecordBatch, parts: Parts, reasons: pa.Array, details: pa.Array, matches: pa.Array
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Removes the parts that have a reason, with their sentinels and part columns; returns (kept, rejected parts)."""
    if len(reasons) != len(parts):
        raise AssertionError(f"{len(reasons)} verdicts for {len(parts)} parts")
    bad = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    schema = rejected_schema(batch.schema)
    if not len(bad):
        return batch, pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    at = pa.array(bad)
    values = (pa.array(parts.index[bad], pa.int32()), reasons.take(at), details.take(at), matches.take(at))
    reported = part_rows(batch, parts.row[bad], parts.flat[bad])
    columns = [*reported.columns, *(v.cast(f.type) for v, f in zip(values, REJECT_FIELDS, strict=True))]
    return remove_parts(batch, parts.flat[bad]), pa.RecordBatch.from_arrays(columns, schema=schema)


def part_rows(batch: pa.RecordBatch, rows: np.ndarray, flat: np.ndarray) -> pa.RecordBatch:
    """One row for each of some media parts, to report them by: `rows` their batch rows, `flat` their positions among
    all parts. Each holds that one part, the beginning of the text and no metadata: a page with a thousand broken
    icons is not copied a thousand times."""
    one_each = pa.array(np.arange(len(flat) + 1, dtype=np.int32))
    which, where = pa.array(rows), pa.array(flat)
    arrays = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name == "media" or is_part_field(field):
            taken = pa.ListArray.from_arrays(one_each, column.flatten().take(where), type=field.type)
        elif field.name == "text":
            taken = pc.utf8_slice_codeunits(column, 0, REPORTED_CHARS).take(which)
        elif field.name == "meta":
            taken = pa.array(["{}"] * len(flat), field.type)
        elif pt.is_nested(field.type):
            taken = pa.nulls(len(flat), field.type)
        else:
            taken = column.take(which)
        arrays.append(taken)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def remove_parts(batch: pa.RecordBatch, flat: np.ndarray) -> pa.RecordBatch:
    """The batch without the parts at positions `flat` (among all its parts)."""
    media = batch.column("media")
    total = len(media.flatten())
    keep = np.ones(total, bool)
    keep[flat] = False
    rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False)
    counts = np.bincount(rows[keep], minlength=batch.num_rows) if total else np.zeros(batch.num_rows, int)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    mask = pa.array(keep)
    arrays = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name == "media" or is_part_field(field):
            column = pa.ListArray.from_arrays(offsets, column.flatten().filter(mask), type=field.type)
        elif field.name == "text":
            column = pa.array(_without_sentinels(column, keep, rows), field.type)
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _without_sentinels(texts: pa.Array, keep: np.ndarray, rows: np.ndarray) -> list[str]:
    starts = np.searchsorted(rows, np.arange(len(texts) + 1))
    edited = []
    for row, text in enumerate(texts.to_pylist()):
        verdicts = keep[starts[row] : starts[row + 1]]
        if not verdicts.all():
            pieces = text.split(SENTINEL)
            joints = [SENTINEL if kept else "" for kept in verdicts]
            text = pieces[0] + "".join(joint + piece for joint, piece in zip(joints, pieces[1:], strict=True))
        edited.append(text)
    return edited
