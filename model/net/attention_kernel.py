"""Causal attention in bfloat16 on CPU: the library's fused forward pass, and a backward pass of batched products.

The fused backward pass costs as much for short segments as for ones of 512 rows. Here scores are made again a block of
queries at a time (Dao et al. 2022, FlashAttention, algorithm 4), by products that run on the matrix unit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: the longest segments that this is faster for
MAX_ROWS = 512
_BLOCK_ROWS = 256
#: scores that are worked on at a time, to stay in a core's cache
_SCORES = 1 << 20
#: the matrix unit takes columns by so many
_COLUMNS = 32


class CausalAttention(torch.autograd.Function):
    """`apply(q [B, H, L, D], k, v [B, K, L, D])` -> [B, H, L, D]; key head j serves query heads j * (H / K) …"""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        repeats = q.shape[1] // k.shape[1]
        keys, values = (x.repeat_interleave(repeats, 1) if repeats > 1 else x for x in (k, v))
        out, normalisers = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, keys, values, 0.0, True)
        ctx.save_for_backward(q, k, v, out, normalisers)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, normalisers = ctx.saved_tensors
        (batch, heads, length, size), kv_heads = q.shape, k.shape[1]
        repeats, scale = heads // kv_heads, size**-0.5
        # two more columns subtract a number of each query from its products, before these are rounded to bfloat16:
        # exp(scale * (q k - normaliser / scale)) are the probabilities, g v - delta their gradient's other factor
        delta = torch.linalg.vecdot(grad.float(), out.float())
        queries, grads = _widen(q, 1, -normalisers / scale), _widen(grad, 1, -delta)
        keys, values = _widen(k, repeats), _widen(v, repeats)
        grad_q = q.new_empty(len(queries), length, size)
        grad_k, grad_v = (torch.zeros_like(grad_q, dtype=torch.float32) for _ in range(2))
        for start in range(0, length, _BLOCK_ROWS):
            end = min(start + _BLOCK_ROWS, length)
            for part in torch.arange(len(queries)).split(max(1, _SCORES // (end * (end - start)))):
                at = slice(int(part[0]), int(part[-1]) + 1)
                query, key = queries[at, start:end], keys[at, :end]
                probabilities = q.new_empty(len(query), end - start, end)
                torch.baddbmm(probabilities, query, key.mT, beta=0, alpha=scale, out=probabilities)
                probabilities.exp_().tril_(start)
                grad_scores = torch.bmm(grads[at, start:end], values[at, :end].mT).mul_(probabilities)
                grad_v[at, :end] += torch.bmm(probabilities.mT, grads[at, start:end, :size])
                grad_k[at, :end] += torch.bmm(grad_scores.mT, query[..., :size])
                grad_q[at, start:end] = torch.bmm(grad_scores, key[..., :size])
        shape = (batch, kv_heads, repeats, length, size)
        grad_k, grad_v = (x.view(shape).sum(2) for x in (grad_k, grad_v))
        return grad_q.mul_(scale).view_as(q), grad_k.mul_(scale).to(k.dtype), grad_v.to(v.dtype)


def _widen(x: Tensor, repeats: int, columns: Tensor | None = None) -> Tensor:
    """x [B, K, L, D] -> [B * K * repeats, L, D + more]: `columns` [B, K, L] in two parts, or ones to multiply them."""
    batch, heads, length, size = x.shape
    wide = x.new_zeros(batch, heads, repeats, length, size + _COLUMNS)
    wide[..., :size] = x[:, :, None]
    if columns is None:
        wide[..., size : size + 2] = 1.0
    else:
        high = columns.to(x.dtype)
        wide[..., size] = high[:, :, None]
        wide[..., size + 1] = (columns - high)[:, :, None]
    return wide.view(-1, length, size + _COLUMNS)
