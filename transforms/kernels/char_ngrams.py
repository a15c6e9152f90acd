"""Hashes of the character n-grams of texts. The readable oracle is transforms.dedup.shingles.char_shingle_hashes."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import FACTOR, mixed


@kernel
def char_ngrams(data, offsets, ngram):
    """(hashes uint64, in order and with repeats; their bounds int64 [rows + 1]) of rows of valid UTF-8.

    data: uint8, offsets: int64 [rows + 1]. A row of fewer characters than `ngram` is one n-gram; an empty one has none.
    """
    made = np.empty(len(data), np.uint64)
    bounds = np.zeros(len(offsets), np.int64)
    codes = np.empty(ngram, np.uint64)  # the last `ngram` characters, hashed
    power = np.uint64(1)
    for _ in range(ngram):
        power *= FACTOR
    count = 0
    for row in range(len(offsets) - 1):
        state = np.uint64(0)
        seen = slot = 0
        at = offsets[row]
        while at < offsets[row + 1]:
            lead = np.int64(data[at])
            more = 0 if lead < 0x80 else 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
            code = lead if more == 0 else lead & (0x3F >> more)
            for k in range(at + 1, at + more + 1):
                code = code << 6 | (np.int64(data[k]) & 0x3F)
            at += more + 1
            hashed = mixed(np.uint64(code))
            state = state * FACTOR + hashed
            if seen >= ngram:
                state -= codes[slot] * power
            codes[slot] = hashed
            slot = slot + 1 if slot + 1 < ngram else 0
            seen += 1
            if seen >= ngram:
                made[count] = mixed(state)
                count += 1
        if 0 < seen < ngram:
            made[count] = mixed(state)
            count += 1
        bounds[row + 1] = count
    return made[:count], bounds
