"""fastText's words: what stands between separators, and the hashes they are known by.

The reference is the C++ library's `Dictionary::readWord` and `Dictionary::hash`.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

FNV = np.uint64(2166136261)
_FNV_PRIME = np.uint64(16777619)
_LOW_32 = np.uint64(0xFFFFFFFF)
_SIGN = np.uint64(0xFFFFFF00)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
#: the word that the library reads at the end of a line
_END = np.frombuffer(b"</s>", np.uint8)
END_HASH = np.uint64(3617362777)


@kernel
def step(code, byte):
    """One byte into a hash: FNV-1a of 32 bits, the byte with its sign, as all models were trained."""
    value = np.uint64(byte)
    if byte >= 0x80:
        value |= _SIGN
    return ((code ^ value) * _FNV_PRIME) & _LOW_32


@kernel
def equal(one, at, size, other, other_at, other_size):
    """Whether two runs of bytes are the same."""
    if size != other_size:
        return False
    same = 0
    while same < size and one[at + same] == other[other_at + same]:
        same += 1
    return same == size


@kernel
def place(code, size):
    """Where a hash belongs in a table of `size`, a power of two."""
    return np.int64((code * _MIX) >> _32) & (size - 1)


@kernel
def split(data, at, stop, unicode_spaces, begins, sizes, codes):
    """Finds the next words from `at` on, as many as `begins`, `sizes` and `codes` (their hashes) hold; gives (their
    number, where it got to, whether the text ends there)."""
    n = 0
    while n < len(begins):
        while at < stop:
            width = _separator(data, at, stop, unicode_spaces)
            if width == 0:
                break
            at += width
        begin = at
        code = FNV
        while at < stop:
            byte = data[at]
            if (byte <= 0x20 or byte >= 0xC2) and _separator(data, at, stop, unicode_spaces):
                break
            code = step(code, byte)
            at += 1
        size = at - begin
        if size == 0 or (code == END_HASH and equal(data, begin, size, _END, 0, len(_END))):
            return n, at, True
        begins[n], sizes[n], codes[n] = begin, size, code
        n += 1
    return n, at, False


@kernel
def _separator(data, at, stop, unicode_spaces):
    """Bytes of what separates words at `at`, 0 if nothing does: ASCII white space, NUL, a media sentinel, and with
    `unicode_spaces` all else that str.split goes by."""
    byte = data[at]
    if byte <= 0x20:
        if byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0 or (unicode_spaces and byte >= 0x1C):
            return 1
        return 0
    if at + 2 < stop:
        second, third = data[at + 1], data[at + 2]
        if byte == 0xEF:
            return 3 if second == 0xBF and third == 0xBC else 0
        if unicode_spaces:
            if byte == 0xE2:
                if second == 0x80:
                    return 3 if 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
                return 3 if second == 0x81 and third == 0x9F else 0
            if byte == 0xE3:
                return 3 if second == 0x80 and third == 0x80 else 0
            if byte == 0xE1:
                return 3 if second == 0x9A and third == 0x80 else 0
    if unicode_spaces and byte == 0xC2 and at + 1 < stop and (data[at + 1] == 0x85 or data[at + 1] == 0xA0):
        return 2
    return 0
