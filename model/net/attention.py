"""Attention within segments: causal grouped-query for the decoder, full for the towers.

A GPU has a kernel for packed segments. CPU has none with a backward pass: there, segments of similar length are stacked
and go through `scaled_dot_product_attention` together (a dense mask over the batch costs about six times as much).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TextConfig
from model.net.attention_kernel import MAX_ROWS, CausalAttention
from model.net.layer_step import StepCache
from model.net.norm import RMSNorm
from model.net.rope import rotate
from model.net.segments import Segments


class LayerCache(StepCache, Protocol):
    """Keys and values of earlier tokens, for one layer and all sequences being decoded."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Stores [T, kv_heads, D] of the packed batch; returns what each sequence may look at.

        keys, values [B, kv_heads, L, D] and a mask [B, 1, Q, L] (True: visible; None: everything is), Q the longest
        new segment.
        """

    def pad(self, queries: Tensor) -> Tensor:
        """[T, heads, D] of the packed batch -> [B, heads, Q, D]."""

    def unpad(self, outputs: Tensor) -> Tensor:
        """The inverse of `pad`."""


def segment_attention(
    q: Tensor, k: Tensor, v: Tensor, segments: Segments, *, causal: bool, window: int | None = None
) -> Tensor:
    """q [T, H, D], k and v [T, K, D], H a multiple of K -> [T, H, D]; each segment attends to itself alone.

    With `window`, which needs `causal`, a query sees the last so many rows of its segment, its own included.
    """
    if q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16) and q.shape[-1] % 8 == 0:
        return _flash_segments(q, k, v, segments, causal=causal, window=window)
    outputs = []
    for group in zip(segments.split(q), segments.split(k), segments.split(v), strict=True):
        qs, ks, vs = (x.transpose(1, 2) for x in group)
        if causal and window is not None and window < qs.shape[2]:
            out = sliding_attention(qs, ks, vs, window)
        else:
            out = causal_attention(qs, ks, vs) if causal else scaled_attention(qs, ks, vs)
        outputs.append(out.transpose(1, 2))
    return segments.join(outputs)


def _flash_segments(q: Tensor, k: Tensor, v: Tensor, segments: Segments, *, causal: bool, window: int | None) -> Tensor:
    """`segment_attention` by the GPU's kernel for packed segments (Dao 2023, FlashAttention-2)."""
    left, right = -1 if window is None else window - 1, 0 if causal else -1
    spans = (segments.ends, segments.ends, segments.longest, segments.longest)
    # the operator under `torch.nn.attention.varlen`, whose own signature changes from release to release
    options = {"window_size_left": left, "window_size_right": right}
    return torch.ops.aten._flash_attention_forward(q, k, v, *spans, 0.0, causal, False, **options)[0]


def sliding_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention to the last `window` rows, own row included; q [B, H, L, D], k and v [B, K, L, D], L > window.

    Queries go in blocks of half a window, each with the window and a half of keys that it may see: work and memory
    grow with L * window, not with L^2.
    """
    length, block = q.shape[2], max(1, window // 2)
    padding = -(length - window) % block
    # causal attention never looks at the right end
    q, k, v = (F.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
    head = causal_attention(*(x[:, :, :window] for x in (q, k, v)))
    queries = q[:, :, window:].unflatten(2, (-1, block)).transpose(1, 2).flatten(0, 1)
    keys, values = (x.unfold(2, window + block, block).movedim(2, 1).flatten(0, 1).mT for x in (k, v))
    # within a block, query i stands at key i + window
    query, key = (torch.arange(n, device=q.device) for n in (block, window + block))
    visible = (key > query[:, None]) & (key <= query[:, None] + window)
    rest = scaled_attention(queries, keys, values, attn_mask=visible)
    rest = rest.unflatten(0, (len(q), -1)).transpose(1, 2).flatten(2, 3)
    return torch.cat([head, rest], 2)[:, :, :length]


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, H, L, D], k and v [B, K, L, D] -> [B, H, L, D]; a row sees the rows up to its own."""
    trains = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if trains and q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.shape[2] <= MAX_ROWS:
        return CausalAttention.apply(q, k, v)
    return scaled_attention(q, k, v, is_causal=True)


def scaled_attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """`scaled_dot_product_attention` of q [B, H, L, D] on k, v [B, K, S, D]; a key head serves H / K query heads."""
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1], **options)


def cached_attention(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    """Attention of new rows q [T, H, D], k, v [T, K, D] to them and all that the cache holds: [T, H, D]."""
    keys, values, visible = cache.extend(k, v)
    if not cache.steps:
        return cache.unpad(scaled_attention(cache.pad(q), keys, values, attn_mask=visible))
    # one query a sequence: those that share a key head are its rows
    rows = q.unflatten(1, (k.shape[1], -1))
    return F.scaled_dot_product_attention(rows, keys, values, attn_mask=visible).flatten(1, 2)


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys (Qwen3): norm over each head, then rotation.

    `window`: tokens a query looks back over, itself included; None for all of its document.
    """

    def __init__(self, config: TextConfig, window: int | None = None) -> None:
        super().__init__()
        self.window = window
        d, self.head_dim = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(d, config.num_attention_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d, config.num_key_value_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d, config.num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, d, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], segments: Segments | None, cache: LayerCache | None = None
    ) -> Tensor:
        """x [T, d], rope tables [T, head_dim] -> [T, d]."""
        q = self.q_norm.turned(self.q_proj(x).unflatten(-1, (-1, self.head_dim)), rope)
        k = self.k_norm.turned(self.k_proj(x).unflatten(-1, (-1, self.head_dim)), rope)
        v = self.v_proj(x).unflatten(-1, (-1, self.head_dim))
        return self.o_proj(self.attend(q, k, v, segments, cache).flatten(-2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments | None, cache: LayerCache | None) -> Tensor:
        """q [T, H, D], k and v [T, K, D] -> [T, H, D]: what depends on how the tokens are cut into documents."""
        if cache is not None and not cache.is_empty:
            return cached_attention(q, k, v, cache)
        if cache is not None:
            cache.extend(k, v)
        assert segments is not None
        return segment_attention(q, k, v, segments, causal=True, window=self.window)


class TowerAttention(nn.Module):
    """Full attention of the vision tower: one biased projection to queries, keys and values; rotation in float32."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], segments: Segments) -> Tensor:
        """x [N, size] -> [N, size]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = (rotate(t.float(), *rope).to(x.dtype) for t in (q, k))
        return self.proj(segment_attention(q, k, v, segments, causal=False).flatten(-2))
