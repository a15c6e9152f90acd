"""Columns of embeddings, as matrices of vectors of length 1."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from schemas.errors import SchemaError
from transforms.kernels.vectors import unit_vectors


def check_vectors(schema: pa.Schema, column: str) -> int:
    """The width of a column of vectors; raises SchemaError when it is not there or holds no vectors of one width."""
    at = schema.get_field_index(column)
    if at < 0:
        raise SchemaError(f"no column {column!r} of vectors; embedding.from_meta makes one of a key of meta")
    dtype = schema.field(at).type
    if not (pt.is_fixed_size_list(dtype) and pt.is_floating(dtype.value_type)):
        raise SchemaError(f"column {column!r} is {dtype}, not vectors of one width (fixed_size_list of floats)")
    return int(dtype.list_size)


def units_of(vectors: pa.FixedSizeListArray) -> tuple[np.ndarray, np.ndarray]:
    """(vectors of length 1, float32 [rows, width]; which rows have one, bool [rows]): not those that are null, all
    zeros, or hold a null, NaN or infinity."""
    width = vectors.type.list_size
    start = vectors.offset * width
    values = pc.cast(vectors.values.slice(start, len(vectors) * width), pa.float64())
    units, good = unit_vectors(values.to_numpy(zero_copy_only=False).reshape(len(vectors), width))
    return units, good & vectors.is_valid().to_numpy(zero_copy_only=False)
