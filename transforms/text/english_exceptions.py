"""The English tokenizer's exceptions as transforms.kernels.english wants them."""

from __future__ import annotations

from functools import cache

import numpy as np

from transforms.kernels.english import LIKELY_BITS, exception_table
from transforms.text.english import exceptions


@cache
def exception_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(keys uint64, parts uint32, likely uint8): see transforms.kernels.english."""
    chunks = sorted(exceptions())
    slots = 1 << (4 * len(chunks)).bit_length()
    arrays = np.zeros(slots, np.uint64), np.zeros(slots, np.uint32), np.zeros(LIKELY_BITS // 8, np.uint8)
    lengths = [int.from_bytes(bytes(map(len, exceptions()[chunk])), "little") for chunk in chunks]
    codes = np.frombuffer("".join(chunks).encode("utf-32-le"), np.uint32)
    exception_table(codes, np.cumsum([0, *map(len, chunks)]), np.array(lengths, np.uint32), *arrays)
    return arrays
