"""How the model's loops are compiled for CPU, and what they do with memory: float32, bfloat16 (seen as uint16) or int8.

Arithmetic is in float32; bfloat16 is rounded to nearest, ties to even, when it is stored. A row's result depends on
that row alone, and sums over rows are made in order, so that nothing depends on threads.
"""

# mypy: allow-untyped-defs, ignore-errors
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

#: the modules whose loops call each other
_SOURCES = ("compiled.py", "norm_loops.py", "decode_loops.py")


def compiled(function):
    """Compiles a function on its first call, without the GIL, and keeps the result for later processes.

    numba takes a kept result for fresh while the function's own file is unchanged; here the stamp is of all sources.
    """
    made = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(function)
    made._cache._cache_file._source_stamp = _stamp()
    return made


@cache
def _stamp() -> tuple[str, int]:
    sources = [Path(__file__).with_name(name).read_bytes() for name in _SOURCES]
    return hashlib.sha256(b"\0".join(sources)).hexdigest(), 0


@intrinsic
def _as_float(typing, bits):
    """The float32 with these bits, uint32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), code


@intrinsic
def _as_bits(typing, value):
    """The bits of a float32, as uint32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), code


def load(row, j):
    """row[j] as float32. Only compiled code can call it: `load_of` says what it is there."""
    raise NotImplementedError


def store(row, j, value):
    """row[j] = value, a float32; compiled alone, as `load`."""
    raise NotImplementedError


@overload(load)
def load_of(row, j):
    if row.dtype == types.uint16:
        return lambda row, j: _as_float(np.uint32(row[j]) << np.uint32(16))
    return lambda row, j: np.float32(row[j])


@overload(store)
def store_of(row, j, value):
    if row.dtype == types.uint16:

        def rounded(row, j, value):
            bits = _as_bits(np.float32(value))
            up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            # what is not a number must not become one by rounding
            nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
            row[j] = np.uint16((np.uint32(0x7FC00000) if nan else up) >> np.uint32(16))

        return rounded

    def plain(row, j, value):
        row[j] = value

    return plain
