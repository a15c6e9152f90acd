"""Documents cut out of packed sequences: what comes after moves left, and padding takes the room at the end."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: the shard's columns of things at places of a sequence, and the name of the place in each
PLACED = {"loss_runs": "start", "images": "offset", "audios": "offset"}


def cut(batch: pa.RecordBatch, drop: np.ndarray, pad_id: int) -> pa.RecordBatch:
    """A shard's sequences without the documents in `drop` (bool, one a document, in order; a sequence left without any
    is left out). The other documents keep their tokens, loss runs and media."""
    lengths = batch.column("document_lengths")
    sizes = lengths.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    rows = pc.list_parent_indices(lengths).to_numpy(zero_copy_only=False)
    kept = ~drop
    before, after = _starts(sizes, rows), _starts(sizes * kept, rows)
    num_tokens = batch.schema.field("input_ids").type.list_size
    ids = batch.column("input_ids").flatten().to_numpy(zero_copy_only=False)
    moved = np.full(len(ids), pad_id, np.int32)
    moved[_spread(rows * num_tokens + after, sizes, kept)] = ids[_spread(rows * num_tokens + before, sizes, kept)]
    first = rows * num_tokens + before  # where each document begins, counted through the whole batch
    columns = {
        "input_ids": pa.FixedSizeListArray.from_arrays(pa.array(moved), type=batch.column("input_ids").type),
        "document_lengths": _only(lengths, kept),
        "source_ids": _only(batch.column("source_ids"), kept),
    }
    for name, place in PLACED.items():
        column = batch.column(name)
        offsets = column.flatten().field(place).to_numpy(zero_copy_only=False)
        owners = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        document = np.searchsorted(first, owners * num_tokens + offsets, "right") - 1
        columns[name] = _only(column, kept[document], place, offsets - (before - after)[document])
    made = pa.RecordBatch.from_arrays([columns[name] for name in batch.schema.names], schema=batch.schema)
    return made.filter(pa.array(np.bincount(rows[kept], minlength=batch.num_rows) > 0))


def _starts(sizes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where each document begins in its sequence."""
    ends = np.cumsum(sizes)
    begins = ends - sizes
    new_row = np.append(True, rows[1:] != rows[:-1])[: len(rows)]
    return begins - np.maximum.accumulate(np.where(new_row, begins, 0))


def _spread(starts: np.ndarray, sizes: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The places of all tokens of the kept documents."""
    starts, sizes = starts[kept], sizes[kept]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(starts, sizes) + within


def _only(column: pa.Array, kept: np.ndarray, place: str = "", places: np.ndarray | None = None) -> pa.Array:
    """A list column with only the `kept` of its values, their field `place` set to `places`."""
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    values = column.flatten()
    if places is not None:
        fields = list(values.type)
        arrays = [pa.array(places.astype(np.int32)) if f.name == place else values.field(f.name) for f in fields]
        values = pa.StructArray.from_arrays(arrays, fields=fields)
    held = np.bincount(rows[kept], minlength=len(column))
    borders = np.concatenate([[0], np.cumsum(held)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(borders), values.filter(pa.array(kept)), type=column.type)
