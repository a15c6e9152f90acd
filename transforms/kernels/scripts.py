"""How many characters of a text are of each script."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import entry_point


@entry_point
def count_scripts(data, offsets, index, scripts, counts):
    """Adds to `counts`, int64 [rows, scripts], the characters of each text by the script's number.

    data: uint8 (valid UTF-8), offsets: int64 [rows + 1]; the script of c is scripts[index[c >> 8] * 256 + (c & 255)],
    uint8, 0 for what belongs to none (index: uint16 [0x1100]).
    """
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            code = np.int64(data[at])
            more = 0
            if code >= 0xF0:
                code, more = code & 0x07, 3
            elif code >= 0xE0:
                code, more = code & 0x0F, 2
            elif code >= 0x80:
                code, more = code & 0x1F, 1
            for k in range(at + 1, min(at + more + 1, stop)):
                code = code << 6 | np.int64(data[k]) & 0x3F
            at += more + 1
            counts[row, scripts[np.int64(index[code >> 8]) << 8 | (code & 255)]] += 1
