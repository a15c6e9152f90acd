"""Normalisation and rotation in one pass over memory, compiled for CPU; float32, or bfloat16 seen as uint16.

Sums are in float32, and results are rounded once. A row's result depends on that row alone; sums over rows are made a
block at a time and in order, so that nothing depends on threads. The readable forms are in model.net.norm and
model.net.rope.
"""

# mypy: allow-untyped-defs, ignore-errors
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from torch import Tensor

#: rows that one sum of a weight's gradient is over
BLOCK_ROWS = 256
#: values that make another thread worth its start
_VALUES_A_THREAD = 1 << 18

_fast = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


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


def _load(row, j):
    raise NotImplementedError


def _store(row, j, value):
    raise NotImplementedError


@overload(_load)
def _load_of(row, j):
    if row.dtype == types.uint16:
        return lambda row, j: _as_float(np.uint32(row[j]) << np.uint32(16))
    return lambda row, j: row[j]


@overload(_store)
def _store_of(row, j, value):
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


@_fast
def norm_forward(first, last, x, weight, eps, y, inverse):
    """y = x * inverse * weight of rows [first, last), inverse = 1 / sqrt(mean(x^2) + eps); x, y [N, D], inverse [N]."""
    size = x.shape[1]
    for i in range(first, last):
        row, out = x[i], y[i]
        total = np.float32(0.0)
        for j in range(size):
            value = _load(row, j)
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(size) + eps)
        inverse[i] = scale
        for j in range(size):
            _store(out, j, _load(row, j) * scale * _load(weight, j))


@_fast
def norm_backward(first, last, x, weight, inverse, grad, grad_x, grad_weight):
    """The gradients of `norm_forward`; grad_weight [blocks, D] float32 holds a sum over each block of rows."""
    size = x.shape[1]
    for i in range(first, last):
        row, g, out, total = x[i], grad[i], grad_x[i], grad_weight[i // BLOCK_ROWS]
        scale, dot = inverse[i], np.float32(0.0)
        for j in range(size):
            product = _load(g, j) * _load(row, j)
            dot += product * _load(weight, j)
            total[j] += product * scale
        shift = dot * scale * scale * scale / np.float32(size)
        for j in range(size):
            _store(out, j, _load(g, j) * _load(weight, j) * scale - _load(row, j) * shift)


@_fast
def turn_forward(first, last, x, weight, eps, cosine, sine, y, inverse):
    """`norm_forward` of rows (token, head), then the rotation of each by its token's angles; cosine, sine [T, D]."""
    size, heads = x.shape[1], x.shape[0] // cosine.shape[0]
    half = size // 2
    for i in range(first, last):
        row, out, c, s = x[i], y[i], cosine[i // heads], sine[i // heads]
        total = np.float32(0.0)
        for j in range(size):
            value = _load(row, j)
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(size) + eps)
        inverse[i] = scale
        for j in range(half):
            a = _load(row, j) * scale * _load(weight, j)
            b = _load(row, j + half) * scale * _load(weight, j + half)
            _store(out, j, a * _load(c, j) - b * _load(s, j))
            _store(out, j + half, b * _load(c, j + half) + a * _load(s, j + half))


@_fast
def turn_backward(first, last, x, weight, inverse, cosine, sine, grad, grad_x, grad_weight):
    """The gradients of `turn_forward`."""
    size, heads = x.shape[1], x.shape[0] // cosine.shape[0]
    half = size // 2
    turned = np.empty(size, np.float32)
    for i in range(first, last):
        row, g, out, total = x[i], grad[i], grad_x[i], grad_weight[i // BLOCK_ROWS]
        c, s = cosine[i // heads], sine[i // heads]
        for j in range(half):
            a, b = _load(g, j), _load(g, j + half)
            turned[j] = a * _load(c, j) + b * _load(s, j + half)
            turned[j + half] = b * _load(c, j + half) - a * _load(s, j)
        scale, dot = inverse[i], np.float32(0.0)
        for j in range(size):
            product = turned[j] * _load(row, j)
            dot += product * _load(weight, j)
            total[j] += product * scale
        shift = dot * scale * scale * scale / np.float32(size)
        for j in range(size):
            _store(out, j, turned[j] * _load(weight, j) * scale - _load(row, j) * shift)


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor, bfloat16 as uint16."""
    tensor = tensor.detach()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def over_rows(kernel: Callable[..., None], rows: int, values: int, *arguments: object) -> None:
    """Calls `kernel(first, last, *arguments)` on all rows, on torch's number of threads when there is enough to do."""
    threads = min(torch.get_num_threads(), values // _VALUES_A_THREAD)
    if threads < 2:
        kernel(0, rows, *arguments)
        return
    blocks = -(-rows // BLOCK_ROWS)
    ends = [min(rows, blocks * k // threads * BLOCK_ROWS) for k in range(threads + 1)]
    ends[-1] = rows
    jobs = [_pool(os.getpid()).submit(kernel, *span, *arguments) for span in pairwise(ends[1:])]
    kernel(ends[0], ends[1], *arguments)
    for job in jobs:
        job.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="rows")
