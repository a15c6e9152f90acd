"""Rotary positions: interleaved multi-axis for the decoder, two-dimensional for the vision tower.

Both use the "rotate half" layout: channel j pairs with channel j + D/2. Tables are computed in float32.
Reference: transformers `Qwen3VLMoeTextRotaryEmbedding`, `Qwen3VLMoeVisionRotaryEmbedding`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mrope_axes(section: tuple[int, ...]) -> list[int]:
    """The axis (0 time, 1 height, 2 width) of every frequency channel: t h w t h w …, then t where h and w run out."""
    axes = []
    for j in range(sum(section)):
        axis = j % 3
        axes.append(axis if axis and j < 3 * section[axis] else 0)
    return axes


def mrope_table(positions: Tensor, section: tuple[int, ...], theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """positions [3, T] -> cos, sin [T, D], D = 2 * sum(section)."""
    half = sum(section)
    inverse = theta ** (-torch.arange(half, dtype=torch.float32, device=positions.device) / half)
    axes = torch.tensor(mrope_axes(section), device=positions.device)
    angles = positions.float().index_select(0, axes).T * inverse
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def vision_table(rows: Tensor, columns: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Patch coordinates [N], [N] -> cos, sin [N, head_dim] in float32: a quarter of the channels each, twice."""
    quarter = torch.arange(0, head_dim // 2, 2, dtype=torch.float32, device=rows.device)
    inverse = 10_000.0 ** (-quarter / (head_dim // 2))
    angles = torch.cat([rows.float()[:, None] * inverse, columns.float()[:, None] * inverse], -1)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates x [T, heads, D] by the table cos, sin [T, D]."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos[:, None] + turned * sin[:, None]
