"""Which of several duplicates stays: the keep order of rows, as numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from schemas.errors import SchemaError
from transforms.base import Params


class ByColumn(Params):
    """The row with the best value of a column stays; one without a value goes before any that has one."""

    #: a number that an earlier step computed, for example `score.quality`
    column: str
    order: Literal["highest", "lowest"] = "highest"


#: first: in canonical order (that of file labels, then rows); longest: the longer text; or by a column. Ties: first
Keep = Literal["first", "longest"] | ByColumn


def check_keep(keep: Keep, schema: pa.Schema) -> None:
    """Raises SchemaError when rows of this schema lack the column, or it is no number."""
    if not isinstance(keep, ByColumn):
        return
    at = schema.get_field_index(keep.column)
    if at < 0:
        raise SchemaError(f"keep: no column {keep.column!r}; put the step that computes it before this one")
    dtype = schema.field(at).type
    if not (pt.is_integer(dtype) or pt.is_floating(dtype)):
        raise SchemaError(f"keep: column {keep.column!r} is {dtype}, not a number")


def rank_of(keep: Keep, batch: pa.RecordBatch) -> np.ndarray:
    """Keep order of a batch's rows, uint64 [rows], at least 1, smaller is kept first."""
    if keep == "first":
        return np.ones(batch.num_rows, np.uint64)
    if keep == "longest":
        length = pc.utf8_length(batch.column("text")).to_numpy(zero_copy_only=False)
        return np.uint64(2**63) - length.astype(np.uint64)
    assert isinstance(keep, ByColumn)
    values = pc.cast(batch.column(keep.column), pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    missing = np.isnan(values)
    if keep.order == "highest":
        values = -values
    bits = (values + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    top = np.uint64(1) << np.uint64(63)
    ascending = np.where(bits & top, ~bits, bits | top)  # the order of floats, as unsigned numbers
    ascending[missing] = np.uint64(2**64 - 1)  # infinities are well inside: only NaNs would be beyond them
    return ascending
