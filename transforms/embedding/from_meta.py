"""Embeddings that came with the rows, out of `meta` and into a column of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import Field

from transforms.base import Map, Params, append_columns, append_fields
from transforms.registry import register


class FromMetaParams(Params):
    """Where the vectors are."""

    #: a key of meta; dots reach into nested objects (`doc.embedding`)
    key: str = "embedding"
    #: numbers in a vector
    width: int = Field(ge=1, le=65_536)
    #: the column to make
    column: str = Field(default="embedding.vector", pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$")


@register("embedding.from_meta", version=1)
class FromMeta(Map[FromMetaParams]):
    """Adds `embedding.vector`, the list of numbers under a key of `meta`: where sources leave what is no column of
    theirs. Null where there is none, and where it is no list of `width` numbers that float32 can hold."""

    Params = FromMetaParams

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, (self._field(),))

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        width = self.params.width
        values = np.zeros((batch.num_rows, width), np.float32)
        missing = np.ones(batch.num_rows, bool)
        for row, meta in enumerate(batch.column("meta").to_pylist()):
            vector = self._vector(meta)
            if vector is not None:
                values[row], missing[row] = vector, False
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width, mask=pa.array(missing))
        return append_columns(batch, [(self._field(), column)])

    def _field(self) -> pa.Field:
        return pa.field(self.params.column, pa.list_(pa.float32(), self.params.width))

    def _vector(self, meta: str) -> np.ndarray | None:
        found: Any = orjson.loads(meta)
        whole = isinstance(found, dict) and self.params.key in found  # a literal "doc.embedding" goes first
        for key in [self.params.key] if whole else self.params.key.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, list) or len(found) != self.params.width:
            return None
        if any(number.__class__ not in (float, int) for number in found):
            return None
        with np.errstate(over="ignore"):
            vector = np.array(found, np.float64).astype(np.float32)
        return vector if np.isfinite(vector).all() else None
