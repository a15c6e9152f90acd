"""Products of few rows, and a whole decoder layer for one new token a sequence.

The readable forms are the modules of model.net.decoder, model.net.attention and model.net.moe.
"""

# mypy: allow-untyped-defs, ignore-errors
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from model.net.compiled import compiled, load, store


@compiled
def linear(first, last, x, weight, scale, y):
    """Columns [first, last) of y [M, N] = x [M, K] weight^T, weight [N, K]; column n times scale [n], if there is any.

    A row of the weight is read once for all rows of x; x is float32.
    """
    size = weight.shape[1]
    row = np.empty(size, np.float32)
    for n in range(first, last):
        factor = scale[n] if len(scale) else np.float32(1.0)
        if len(x) == 1:
            store(y[0], n, _dot(weight[n], x[0]) * factor)
            continue
        for k in range(size):
            row[k] = load(weight[n], k)
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
    found = False
    for s in range(len(experts)):
        found |= experts[s] == expert
    return found


@compiled
def _dot(row, x):
    total = np.float32(0.0)
    for j in range(len(x)):
        total += load(row, j) * x[j]
    return total


@compiled
def layer_step(
    x,
    y,
    norms,
    eps,
    projections,
    scales,
    head_norms,
    cosine,
    sine,
    keys,
    values,
    places,
    window,
    router,
    bias,
    top_k,
    normalise,
    experts,
    expert_scales,
):
    """One decoder layer for one new token of each sequence: y [B, d] of x [B, d], float32.

    norms: before attention, before experts [d]; projections: q, k, v, o; head_norms: q, k [D]; cosine, sine [B, D];
    keys, values [B, capacity, K, D], whose row places [B] is written; window 0: all of it; router [E, d], bias [E]
    or nothing; experts: gate_up [E, 2I, d], down [E, d, I]. A scale array is empty where a weight has none.
    """
    size = head_norms[0].shape[0]
    heads, kv_heads = projections[0].shape[0] // size, projections[1].shape[0] // size
    hidden = np.empty(x.shape[1], np.float32)
    q, k, v = (
        np.empty(heads * size, np.float32),
        np.empty(kv_heads * size, np.float32),
        np.empty(kv_heads * size, np.float32),
    )
    mixed = np.empty(heads * size, np.float32)
    for b in range(len(x)):
        _normed(x[b], norms[0], eps, hidden)
        _matvec(projections[0], scales[0], hidden, q)
        _matvec(projections[1], scales[1], hidden, k)
        _matvec(projections[2], scales[2], hidden, v)
        place = places[b]
        for head in range(heads):
            _turned(q[head * size : (head + 1) * size], head_norms[0], eps, cosine[b], sine[b])
        for head in range(kv_heads):
            part = slice(head * size, (head + 1) * size)
            _turned(k[part], head_norms[1], eps, cosine[b], sine[b])
            for j in range(size):
                store(keys[b, place, head], j, k[head * size + j])
                store(values[b, place, head], j, v[head * size + j])
        first = max(0, place + 1 - window) if window > 0 else 0
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            at = head * kv_heads // heads
            _attend(q[part], keys[b], values[b], at, first, place + 1, mixed[part])
        _matvec(projections[3], scales[3], mixed, hidden)
        for j in range(len(hidden)):
            y[b, j] = x[b, j] + hidden[j]
        _normed(y[b], norms[1], eps, hidden)
        chosen, weights = _route(hidden, router, bias, top_k, normalise)
        inner = np.empty((top_k, experts[1].shape[2]), np.float32)
        experts_in(0, inner.shape[1], hidden.reshape(1, -1), chosen, experts[0], expert_scales[0], inner)
        experts_out(0, len(hidden), inner, weights, chosen, experts[1], expert_scales[1], y[b : b + 1])


@compiled
def _normed(x, weight, eps, out):
    total = _dot(x, x)
    scale = np.float32(1.0) / np.sqrt(total / np.float32(len(x)) + eps)
    for j in range(len(x)):
        out[j] = x[j] * scale * load(weight, j)


@compiled
def _turned(x, weight, eps, cosine, sine):
    half = len(x) // 2
    _normed(x, weight, eps, x)
    for j in range(half):
        a, b = x[j], x[j + half]
        x[j] = a * load(cosine, j) - b * load(sine, j)
        x[j + half] = b * load(cosine, j + half) + a * load(sine, j + half)


@compiled
def _matvec(weight, scale, x, out):
    for n in range(len(weight)):
        out[n] = _dot(weight[n], x) * (scale[n] if len(scale) else np.float32(1.0))


@compiled
def _attend(query, keys, values, head, first, last, out):
    scale = np.float32(1.0) / np.sqrt(np.float32(len(query)))
    scores = np.empty(last - first, np.float32)
    for t in range(first, last):
        scores[t - first] = _dot(keys[t, head], query) * scale
    largest, mass = scores.max(), np.float32(0.0)
    out[:] = np.float32(0.0)
    for t in range(first, last):
        share = np.exp(scores[t - first] - largest)
        mass += share
        for j in range(len(out)):
            out[j] += share * load(values[t, head], j)
    for j in range(len(out)):
        out[j] /= mass


@compiled
def _route(x, router, bias, top_k, normalise):
    """The chosen experts and their weights, as model.net.moe.Router has them; of equals, the first."""
    shares = np.empty(len(router), np.float32)
    for e in range(len(router)):
        shares[e] = _dot(router[e], x)
    shares = np.exp(shares - shares.max())
    shares /= shares.sum()
    rank = shares + bias if len(bias) else shares.copy()
    chosen, weights = np.empty(top_k, np.int64), np.empty(top_k, np.float32)
    for s in range(top_k):
        chosen[s] = np.argmax(rank)
        weights[s] = shares[chosen[s]]
        rank[chosen[s]] = -np.inf
    if normalise:
        weights /= weights.sum()
    return chosen, weights
