"""The vision tower: patches with interpolated learned positions and 2-D rotation, full attention, 2x2 merging.

Reference: transformers `Qwen3VLMoeVisionModel`. Attention is full within a frame; there is no window attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import VisionConfig
from model.net.attention import TowerAttention
from model.net.rope import vision_table
from model.net.segments import Segments, plan_segments

Grid = tuple[int, int, int]


def merge_order(grid: Grid, merge: int) -> tuple[Tensor, Tensor]:
    """Row and column of every patch of a (t, h, w) grid in merge-block order: [t*h*w] each."""
    t, h, w = grid
    blocks = (h // merge, merge, w // merge, merge)
    rows = torch.arange(h).view(h // merge, merge, 1, 1).expand(blocks)
    columns = torch.arange(w).view(1, 1, w // merge, merge).expand(blocks)
    return tuple(x.transpose(1, 2).flatten().repeat(t) for x in (rows, columns))  # type: ignore[return-value]


class PatchEmbed(nn.Module):
    """A convolution whose kernel is its stride: kept as Conv3d for its parameter names, computed as a product."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, kernel, stride=kernel)

    def forward(self, patches: Tensor) -> Tensor:
        """[N, C*tp*p*p] -> [N, d]."""
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class VisionMlp(nn.Module):
    """Two layers around the tanh approximation of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[N, d] -> [N, d]."""
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.attn = TowerAttention(config.hidden_size, config.num_heads)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], segments: Segments) -> Tensor:
        """[N, d] -> [N, d]."""
        x = x + self.attn(self.norm1(x), rope, segments)
        return x + self.mlp(self.norm2(x))


class PatchMerger(nn.Module):
    """Concatenates the patches of a merge block and projects them to the decoder's width (exact GELU)."""

    def __init__(self, config: VisionConfig, *, norm_after_concat: bool) -> None:
        super().__init__()
        self.width = config.hidden_size * config.spatial_merge_size**2
        self.norm_after_concat = norm_after_concat
        self.norm = nn.LayerNorm(self.width if norm_after_concat else config.hidden_size, eps=1e-6)
        self.linear_fc1 = nn.Linear(self.width, self.width)
        self.linear_fc2 = nn.Linear(self.width, config.out_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[N, d] -> [N/merge^2, out]."""
        x = self.norm(x.view(-1, self.width)) if self.norm_after_concat else self.norm(x).view(-1, self.width)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


class VisionTower(nn.Module):
    """Patches in, one decoder embedding for each merge block out."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.side = round(config.num_position_embeddings**0.5)
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList([VisionBlock(config) for _ in range(config.depth)])
        self.merger = PatchMerger(config, norm_after_concat=False)
        self.deepstack_merger_list = nn.ModuleList(
            [PatchMerger(config, norm_after_concat=True) for _ in config.deepstack_visual_indexes]
        )

    def forward(self, patches: Tensor, grids: Sequence[Grid]) -> tuple[Tensor, list[Tensor]]:
        """patches [N, C*tp*p*p] -> merged embeddings [N/merge^2, out] and the same for each DeepStack level."""
        orders = [merge_order(grid, self.config.spatial_merge_size) for grid in grids]
        x = self.patch_embed(patches) + torch.cat(
            [self._positions(rows, columns, grid) for (rows, columns), grid in zip(orders, grids, strict=True)]
        ).to(patches.dtype)
        rows = torch.cat([rows for rows, _ in orders]).to(x.device)
        columns = torch.cat([columns for _, columns in orders]).to(x.device)
        rope = vision_table(rows, columns, self.config.hidden_size // self.config.num_heads)
        frames = [h * w for t, h, w in grids for _ in range(t)]
        segments = plan_segments(frames, x.device, padded=False)
        deepstack = []
        for i, block in enumerate(self.blocks):
            x = block(x, rope, segments)
            if i in self.config.deepstack_visual_indexes:
                level = self.config.deepstack_visual_indexes.index(i)
                deepstack.append(self.deepstack_merger_list[level](x))
        return self.merger(x), deepstack

    def _positions(self, rows: Tensor, columns: Tensor, grid: Grid) -> Tensor:
        """The learned table [side^2, d] sampled bilinearly, corners aligned, at the patches of a grid: [t*h*w, d]."""
        device = self.pos_embed.weight.device
        total: Tensor | float = 0.0
        taps = []
        for index, size in ((rows, grid[1]), (columns, grid[2])):
            source = index.to(device, torch.float32) * ((self.side - 1) / max(size - 1, 1))
            low = source.floor().long()
            high = (low + 1).clamp(max=self.side - 1)
            fraction = source - low
            taps.append(((low, 1 - fraction), (high, fraction)))
        for r, row_weight in taps[0]:
            for c, column_weight in taps[1]:
                total = total + (row_weight * column_weight)[:, None] * self.pos_embed(r * self.side + c)
        return torch.as_tensor(total)
