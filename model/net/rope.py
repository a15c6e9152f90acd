"""Rotary positions: interleaved multi-axis for the decoder, two-dimensional for the vision tower.

Both use the "rotate half" layout: channel j pairs with channel j + D/2. Tables are computed in float32.
Reference: transformers `Qwen3VLMoeTextRotaryEmbedding`, `Qwen3VLMoeVisionRotaryEmbedding`, `_compute_yarn_parameters`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.config import TextConfig, YarnConfig


def mrope_axes(section: tuple[int, ...]) -> list[int]:
    """The axis (0 time, 1 height, 2 width) of every frequency channel: t h w t h w …, then t where h and w run out."""
    axes = []
    for j in range(sum(section)):
        axis = j % 3
        axes.append(axis if axis and j < 3 * section[axis] else 0)
    return axes


def frequencies(size: int, theta: float, yarn: YarnConfig | None = None) -> tuple[Tensor, float]:
    """Radians a position of each channel pair, [size / 2] in float32, and the factor on cosines and sines."""
    wavelengths = theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    if yarn is None:
        return 1.0 / wavelengths, 1.0
    kept = 1 - yarn_ramp(size, theta, yarn)
    scaling = yarn.attention_factor
    if scaling is None:
        scaling = 0.1 * math.log(yarn.factor) + 1.0 if yarn.factor > 1 else 1.0
    return 1.0 / (yarn.factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept, scaling


def yarn_ramp(size: int, theta: float, yarn: YarnConfig) -> Tensor:
    """How far each frequency is interpolated, [size / 2] in [0, 1] (Peng et al. 2023, YaRN, section 3.2).

    0 for channels that turn more than `beta_fast` times over the original context, 1 for fewer than `beta_slow` turns.
    """

    def channel(turns: float) -> float:
        scale = yarn.original_max_position_embeddings / (turns * 2 * math.pi)
        return size * math.log(scale) / (2 * math.log(theta))

    low, high = channel(yarn.beta_fast), channel(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    if low == high:
        high += 0.001
    return ((torch.arange(size // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)


def mrope_table(positions: Tensor, config: TextConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """positions [3, T] -> cos, sin [T, head_dim]."""
    inverse, scaling = frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
    axes = torch.tensor(mrope_axes(config.mrope_section), device=positions.device)
    angles = positions.float().index_select(0, axes).T * inverse.to(positions.device)
    angles = torch.cat([angles, angles], -1)
    return (angles.cos() * scaling).to(dtype), (angles.sin() * scaling).to(dtype)


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
