"""The packed records a global step moves between machines: Arrow batches of plain numbers, never rows' payloads.

A node is a row or a media part of one: `node` = unit number << 32 | row in the unit's kept file; `part` = media.index
or -1. `rank` orders nodes for the keep rule (all alike: first in the canonical order wins); ties go by (node, part).
What an index of earlier data holds are nodes too: their units start at INDEX_UNIT, and their rank is 0, before all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from transforms.dedup.base import Dedup, GlobalStep
from transforms.dedup.spans import SpanDedup


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, dtype, nullable=False) for name, dtype in columns.items()])


#: one key of one node; in a unit's key file `node` is the row alone, because the unit's number may change between runs
KEYS = _schema(band=pa.uint16(), hi=pa.uint64(), lo=pa.uint64(), rank=pa.uint64(), node=pa.uint64(), part=pa.int32())

#: two nodes, `a` before `b` in keep order; `similarity` 1 when equal keys are proof, NaN until it is verified
PAIRS = _schema(
    a_rank=pa.uint64(),
    a_node=pa.uint64(),
    a_part=pa.int32(),
    b_rank=pa.uint64(),
    b_node=pa.uint64(),
    b_part=pa.int32(),
    similarity=pa.float64(),
)

#: one key of one span of a row's text; `row` in the unit's kept file
SPAN_KEYS = _schema(hi=pa.uint64(), lo=pa.uint64(), row=pa.uint32(), start=pa.uint32(), stop=pa.uint32())

#: in how many rows of a unit a key is
SPAN_COUNTS = _schema(hi=pa.uint64(), lo=pa.uint64(), unit=pa.uint32(), rows=pa.uint32())

UNIT_SHIFT = np.uint64(32)
#: the first unit number of an index's entries, and its first node
INDEX_UNIT = 1 << 31
INDEX_NODE = np.uint64(INDEX_UNIT << 32)
#: stands for the kept node where it is not known which one it is
NO_NODE = np.uint64(2**64 - 1)
ROW_MASK = np.uint64(0xFFFFFFFF)


def keys_schema(step: GlobalStep) -> pa.Schema:
    """What a step's key files hold."""
    return SPAN_KEYS if isinstance(step, SpanDedup) else KEYS


def signed_batch(step: GlobalStep, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
    """A batch's keys with the rows' numbers in the unit; `first_row` is the batch's place in the unit's kept file."""
    if isinstance(step, SpanDedup):
        found = step.span_keys(batch)
        row = found.row.astype(np.uint32) + np.uint32(first_row)
        return batch_of(SPAN_KEYS, found.key[:, 0], found.key[:, 1], row, found.start, found.stop)
    assert isinstance(step, Dedup)
    keys = step.keys(batch)
    node = keys.row.astype(np.uint64) + np.uint64(first_row)
    hi, lo = np.ascontiguousarray(keys.key[:, 0]), np.ascontiguousarray(keys.key[:, 1])
    return batch_of(KEYS, keys.band, hi, lo, keys.rank, node, keys.part)


def batch_of(schema: pa.Schema, *columns: np.ndarray) -> pa.RecordBatch:
    """A record batch from numpy columns."""
    arrays = [pa.array(np.ascontiguousarray(c), field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def columns_of(batches: list[pa.RecordBatch], schema: pa.Schema) -> dict[str, np.ndarray]:
    """The columns of several batches as numpy arrays, in one piece each."""
    table = pa.Table.from_batches(batches, schema=schema)
    return {name: table.column(name).to_numpy() for name in schema.names}


def split_by(batch: pa.RecordBatch, number: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each number, numbers ascending, rows in their order."""
    order = np.argsort(number, kind="stable")
    ordered = batch.take(pa.array(order))
    numbers, starts = np.unique(number[order], return_index=True)
    for which, start, stop in zip(numbers.tolist(), starts, np.append(starts, len(order))[1:], strict=True):
        yield which, ordered.slice(start, stop - start)


def nodes_of(rows: np.ndarray, unit: int) -> np.ndarray:
    """Nodes of a unit's rows."""
    return (np.uint64(unit) << UNIT_SHIFT) | rows


def unit_of(node: np.ndarray) -> np.ndarray:
    """Unit numbers of nodes."""
    return (node >> UNIT_SHIFT).astype(np.int64)
