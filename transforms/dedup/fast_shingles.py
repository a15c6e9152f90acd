"""Shingles of whole columns by kernel: the same as transforms.dedup.shingles makes of each text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa

from transforms.columns import utf8
from transforms.dedup.shingle_tables import tables
from transforms.dedup.shingles import shingle_hashes
from transforms.kernels.shingles import DONE, LEFT, NOT_NORMAL, shingles


def shingle_rows(text: pa.Array, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """(shingles uint64, with repeats; their bounds int64 [rows + 1]) of a large_string column without nulls."""
    hashed, bounds, states = _by_kernel(text, ngram, is_nfc=False)
    if (states == DONE).all():
        return hashed, bounds
    rows = np.split(hashed, bounds[1:-1])
    raw = np.flatnonzero(states == NOT_NORMAL)
    normal = [unicodedata.normalize("NFC", text[row].as_py()) for row in raw.tolist()]
    again, ends, then = _by_kernel(pa.array(normal, pa.large_string()), ngram, is_nfc=True)
    for at, row in enumerate(raw.tolist()):
        rows[row] = again[ends[at] : ends[at + 1]]
    for row in [*np.flatnonzero(states == LEFT).tolist(), *raw[then == LEFT].tolist()]:
        rows[row] = shingle_hashes(text[row].as_py(), ngram)
    return np.concatenate(rows), np.cumsum([0, *map(len, rows)])


def _by_kernel(text: pa.Array, ngram: int, *, is_nfc: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    states = np.full(len(text), DONE, np.uint8)
    hashed, bounds = shingles(*utf8(text), ngram, is_nfc, *tables(), states)
    return hashed, bounds, states
