"""Normalisation and rotation in one pass over memory; the readable forms are in model.net.norm and model.net.rope."""

# mypy: allow-untyped-defs, ignore-errors
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from model.net.compiled import compiled, load, store

#: rows that one sum of a weight's gradient is over
BLOCK_ROWS = 256


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
