"""Columns as kernels see them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def utf8(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(bytes uint8, offsets int64 [rows + 1]) of a large_string column without nulls, both read-only views."""
    _, offsets, data = text.buffers()
    if len(text) == 0:
        views = np.zeros(1, np.uint8), np.zeros(1, np.int64)
    else:
        whole = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        views = whole, np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    for view in views:
        view.setflags(write=False)
    return views
