"""SHA-1 of many short pieces of a buffer (FIPS 180-4). The oracle is hashlib."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

_32 = np.uint64(0xFFFFFFFF)


@kernel
def sha1_64(data, starts, stops, out):
    """First eight bytes of the digest of data[starts[k]:stops[k]], little-endian, into `out`, uint64 [k]."""
    words = np.empty(80, np.uint64)
    for k in range(len(starts)):
        out[k] = _sha1_64(data[starts[k] : stops[k]], words)


@kernel
def _sha1_64(message, words):
    h0, h1, h2 = np.uint64(0x67452301), np.uint64(0xEFCDAB89), np.uint64(0x98BADCFE)
    h3, h4 = np.uint64(0x10325476), np.uint64(0xC3D2E1F0)
    size = len(message)
    num_blocks = (size + 8) // 64 + 1
    for block in range(num_blocks):
        for t in range(16):
            word = np.uint64(0)
            for at in range(64 * block + 4 * t, 64 * block + 4 * t + 4):
                byte = message[at] if at < size else np.uint8(0x80) if at == size else np.uint8(0)
                word = word << np.uint64(8) | np.uint64(byte)
            words[t] = word
        if block == num_blocks - 1:
            words[14] = np.uint64(8 * size) >> np.uint64(32)
            words[15] = np.uint64(8 * size) & _32
        for t in range(16, 80):
            words[t] = _rotated(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1)
        a, b, c, d, e = h0, h1, h2, h3, h4
        for t in range(20):
            f = d ^ (b & (c ^ d))
            a, b, c, d, e = _next(a, e, f, np.uint64(0x5A827999), words[t]), a, _rotated(b, 30), c, d
        for t in range(20, 40):
            f = b ^ c ^ d
            a, b, c, d, e = _next(a, e, f, np.uint64(0x6ED9EBA1), words[t]), a, _rotated(b, 30), c, d
        for t in range(40, 60):
            f = (b & c) | (d & (b | c))
            a, b, c, d, e = _next(a, e, f, np.uint64(0x8F1BBCDC), words[t]), a, _rotated(b, 30), c, d
        for t in range(60, 80):
            f = b ^ c ^ d
            a, b, c, d, e = _next(a, e, f, np.uint64(0xCA62C1D6), words[t]), a, _rotated(b, 30), c, d
        h0, h1, h2, h3, h4 = (h0 + a) & _32, (h1 + b) & _32, (h2 + c) & _32, (h3 + d) & _32, (h4 + e) & _32
    return _swapped(h0) | _swapped(h1) << np.uint64(32)


@kernel
def _next(a, e, f, constant, word):
    return (_rotated(a, 5) + f + e + constant + word) & _32


@kernel
def _rotated(x, bits):
    return (x << np.uint64(bits) | x >> np.uint64(32 - bits)) & _32


@kernel
def _swapped(x):
    """The four bytes of a 32-bit number in the other order."""
    x = (x & np.uint64(0x00FF00FF)) << np.uint64(8) | (x >> np.uint64(8)) & np.uint64(0x00FF00FF)
    return (x << np.uint64(16) | x >> np.uint64(16)) & _32
