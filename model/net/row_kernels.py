"""The model's loops in one pass over memory, compiled for CPU: norms, rotation, and products of few rows.

Memory is float32, bfloat16 (seen as uint16) or int8; arithmetic is in float32, and results are rounded once. A row's
result depends on that row alone; sums over rows are made a block at a time and in order, so that nothing depends on
threads. The readable forms are in model.net.norm, model.net.rope and model.net.expert_kernel.

All of it is in one module, for a compiled loop is made again when its own file changes, not when another does.
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
VALUES_A_THREAD = 1 << 18

compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


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
    """row[j] as float32."""
    raise NotImplementedError


def store(row, j, value):
    """row[j] = value, a float32."""
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


@compiled
def norm_forward(first, last, x, weight, eps, y, inverse):
    """y = x * inverse * weight of rows [first, last), inverse = 1 / sqrt(mean(x^2) + eps); x, y [N, D], inverse [N]."""
    size = x.shape[1]
    for i in range(first, last):
        row, out = x[i], y[i]
        total = np.float32(0.0)
        for j in range(size):
            value = load(row, j)
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(size) + eps)
        inverse[i] = scale
        for j in range(size):
            store(out, j, load(row, j) * scale * load(weight, j))


@compiled
def norm_backward(first, last, x, weight, inverse, grad, grad_x, grad_weight):
    """The gradients of `norm_forward`; grad_weight [blocks, D] float32 holds a sum over each block of rows."""
    size = x.shape[1]
    for i in range(first, last):
        row, g, out, total = x[i], grad[i], grad_x[i], grad_weight[i // BLOCK_ROWS]
        scale, dot = inverse[i], np.float32(0.0)
        for j in range(size):
            product = load(g, j) * load(row, j)
            dot += product * load(weight, j)
            total[j] += product * scale
        shift = dot * scale * scale * scale / np.float32(size)
        for j in range(size):
            store(out, j, load(g, j) * load(weight, j) * scale - load(row, j) * shift)


@compiled
def turn_forward(first, last, x, weight, eps, cosine, sine, y, inverse):
    """`norm_forward` of rows (token, head), then the rotation of each by its token's angles; cosine, sine [T, D]."""
    size, heads = x.shape[1], x.shape[0] // cosine.shape[0]
    half = size // 2
    for i in range(first, last):
        row, out, c, s = x[i], y[i], cosine[i // heads], sine[i // heads]
        total = np.float32(0.0)
        for j in range(size):
            value = load(row, j)
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(size) + eps)
        inverse[i] = scale
        for j in range(half):
            a = load(row, j) * scale * load(weight, j)
            b = load(row, j + half) * scale * load(weight, j + half)
            store(out, j, a * load(c, j) - b * load(s, j))
            store(out, j + half, b * load(c, j + half) + a * load(s, j + half))


@compiled
def turn_backward(first, last, x, weight, inverse, cosine, sine, grad, grad_x, grad_weight):
    """The gradients of `turn_forward`."""
    size, heads = x.shape[1], x.shape[0] // cosine.shape[0]
    half = size // 2
    turned = np.empty(size, np.float32)
    for i in range(first, last):
        row, g, out, total = x[i], grad[i], grad_x[i], grad_weight[i // BLOCK_ROWS]
        c, s = cosine[i // heads], sine[i // heads]
        for j in range(half):
            a, b = load(g, j), load(g, j + half)
            turned[j] = a * load(c, j) + b * load(s, j + half)
            turned[j + half] = b * load(c, j + half) - a * load(s, j)
        scale, dot = inverse[i], np.float32(0.0)
        for j in range(size):
            product = turned[j] * load(row, j)
            dot += product * load(weight, j)
            total[j] += product * scale
        shift = dot * scale * scale * scale / np.float32(size)
        for j in range(size):
            store(out, j, turned[j] * load(weight, j) * scale - load(row, j) * shift)


@compiled
def linear(first, last, x, weight, scale, y):
    """Columns [first, last) of y [M, N] = x [M, K] weight^T, weight [N, K]; column n times scale [n], if there is any.

    A row of the weight is read once for all rows of x; x is float32.
    """
    for n in range(first, last):
        row = weight[n]
        factor = scale[n] if len(scale) else np.float32(1.0)
        for m in range(len(x)):
            store(y[m], n, _dot(row, x[m]) * factor)


@compiled
def experts_in(first, last, x, experts, gate_up, scale, hidden):
    """Columns [first, last) of hidden [slots, I] = silu(gate) * up, of slot s: row s // k of x and its expert.

    x [T, d] float32, experts [slots], gate_up [E, 2I, d], scale [E, 2I] or nothing.
    """
    width, per_token = gate_up.shape[1] // 2, len(experts) // len(x)
    for e in range(len(gate_up)):
        if not _wanted(experts, e):
            continue
        for i in range(first, last):
            for s in range(len(experts)):
                if experts[s] == e:
                    row = x[s // per_token]
                    gate, up = _dot(gate_up[e, i], row), _dot(gate_up[e, width + i], row)
                    if len(scale):
                        gate, up = gate * scale[e, i], up * scale[e, width + i]
                    hidden[s, i] = gate / (np.float32(1.0) + np.exp(-gate)) * up


@compiled
def experts_out(first, last, hidden, weights, experts, down, scale, y):
    """Columns [first, last) of y [T, d], float32 and 0 before: the weighted sum of a token's slots.

    hidden [slots, I], weights [slots], down [E, d, I], scale [E, d] or nothing.
    """
    per_token = len(experts) // len(y)
    for e in range(len(down)):
        if not _wanted(experts, e):
            continue
        for j in range(first, last):
            for s in range(len(experts)):
                if experts[s] == e:
                    factor = weights[s] * scale[e, j] if len(scale) else weights[s]
                    y[s // per_token, j] += _dot(down[e, j], hidden[s]) * factor


@compiled
def _wanted(experts, expert):
    for s in range(len(experts)):
        if experts[s] == expert:
            return True
    return False


@compiled
def _dot(row, x):
    total = np.float32(0.0)
    for j in range(len(x)):
        total += load(row, j) * x[j]
    return total


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor, bfloat16 as uint16."""
    tensor = tensor.detach()
    # not tensor.numpy(): it pins the storage for good, which sharded training frees between steps
    return np.from_dlpack(tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor)


def over_rows(kernel: Callable[..., None], rows: int, block: int, values: int, *arguments: object) -> None:
    """Calls `kernel(first, last, *arguments)` on all rows, on torch's number of threads when there is enough to do.

    `values` says how much that is; a thread gets whole blocks of so many rows.
    """
    threads = min(torch.get_num_threads(), values // VALUES_A_THREAD)
    if threads < 2:
        kernel(0, rows, *arguments)
        return
    blocks = -(-rows // block)
    ends = [min(rows, blocks * k // threads * block) for k in range(threads + 1)]
    ends[-1] = rows
    jobs = [_pool(os.getpid()).submit(kernel, *span, *arguments) for span in pairwise(ends[1:])]
    kernel(ends[0], ends[1], *arguments)
    for job in jobs:
        job.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="rows")
