"""Sets of 64-bit numbers as evidence: every entry of a binary array is one set, sorted, little-endian."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def set_array(values: np.ndarray, bounds: np.ndarray) -> pa.LargeBinaryArray:
    """Rows of a ragged array (values uint64, bounds int64 [rows + 1]) as binary entries; zero copy."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(bounds * 8)), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)


def set_bounds(evidence: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """The ragged array again: (values uint64, bounds int64 [rows + 1]); zero copy."""
    _, offsets, data = evidence.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(evidence) + 1, evidence.offset * 8)
    values = np.frombuffer(data, np.uint64, int(bounds[-1]) // 8) if data else np.empty(0, np.uint64)
    return values, bounds // 8
