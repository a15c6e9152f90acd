"""The audio tower: mel chunks through three strided convolutions, then attention within windows of chunks.

Reference: transformers `Qwen3OmniMoeAudioEncoder`. A chunk of 100 frames (1 s) becomes 13 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import AudioConfig
from model.net.attention import segment_attention
from model.net.segments import Segments, plan_segments


def chunk_tokens(frames: int) -> int:
    """Tokens of a chunk of `frames` mel frames after three convolutions of stride 2."""
    for _ in range(3):
        frames = (frames - 1) // 2 + 1
    return frames


def sinusoids(length: int, size: int) -> Tensor:
    """[length, size]: sines, then cosines, with wavelengths from 2 pi to 10000 * 2 pi."""
    inverse = torch.exp(-math.log(10_000.0) / (size // 2 - 1) * torch.arange(size // 2, dtype=torch.float32))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * inverse
    return torch.cat([angles.sin(), angles.cos()], -1)


class AudioAttention(nn.Module):
    """Full attention with separate, biased projections."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        d, self.heads = config.d_model, config.encoder_attention_heads
        self.q_proj, self.k_proj = nn.Linear(d, d), nn.Linear(d, d)
        self.v_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        """x [N, d] -> [N, d]."""
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(segment_attention(q, k, v, segments, causal=False).flatten(-2))


class AudioLayer(nn.Module):
    """Pre-norm attention and feed-forward; LayerNorm eps 1e-5."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.self_attn = AudioAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model, eps=1e-5)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model, eps=1e-5)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        """x [N, d] -> [N, d]."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), segments)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class AudioTower(nn.Module):
    """Log-mel frames in, decoder embeddings out."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.downsample_hidden_size
        self.conv2d1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv2d3 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv_out = nn.Linear(channels * chunk_tokens(config.num_mel_bins), config.d_model, bias=False)
        self.layers = nn.ModuleList([AudioLayer(config) for _ in range(config.encoder_layers)])
        self.ln_post = nn.LayerNorm(config.d_model, eps=1e-5)
        self.proj1 = nn.Linear(config.d_model, config.d_model)
        self.proj2 = nn.Linear(config.d_model, config.output_dim)

    def forward(self, mel: Tensor, frames: Sequence[int]) -> Tensor:
        """mel [bins, sum(frames)] of clips one after the other -> [tokens, output_dim]."""
        size = 2 * self.config.n_window
        sizes = [min(size, n - start) for n in frames for start in range(0, n, size)]
        # the last chunk of a clip is filled up to its longest, as if the clip were alone: biases make the filling
        # audible in its last token, so filling to the batch's longest, as the reference does, would let clips change
        # each other. The two agree on a clip alone and on clips of at least a chunk, and the window below always
        # does: the reference's is shorter only if no clip of the batch fills a chunk, and then none fills the window
        filled = [min(size, n) for n in frames for _ in range(0, n, size)]
        chunks = mel.split(sizes, dim=1)
        tokens: list[Tensor] = [mel] * len(chunks)
        for longest in sorted(set(filled)):
            members = [i for i, n in enumerate(filled) if n == longest]
            x = self._convolve(torch.stack([F.pad(chunks[i], (0, longest - sizes[i])) for i in members]))
            for i, chunk in zip(members, x, strict=True):
                tokens[i] = chunk[: chunk_tokens(sizes[i])]
        x = torch.cat(tokens)
        segments = plan_segments(self._windows(frames), x.device, padded=False)
        for layer in self.layers:
            x = layer(x, segments)
        return self.proj2(F.gelu(self.proj1(self.ln_post(x))))

    def _convolve(self, chunks: Tensor) -> Tensor:
        """[chunks, bins, frames] -> [chunks, tokens, d_model], with positions that start at 0 in each chunk."""
        x = chunks[:, None]
        for conv in (self.conv2d1, self.conv2d2, self.conv2d3):
            x = F.gelu(conv(x))
        x = self.conv_out(x.permute(0, 3, 1, 2).flatten(2))
        return x + sinusoids(x.shape[1], self.config.d_model).to(x)

    def _windows(self, frames: Sequence[int]) -> list[int]:
        """Attention segments in tokens: whole windows of `n_window_infer` frames of a clip, then its tail."""
        size = 2 * self.config.n_window
        window = chunk_tokens(size) * (self.config.n_window_infer // size)
        windows = []
        for n in frames:
            total = chunk_tokens(size) * (n // size) + (chunk_tokens(n % size) if n % size else 0)
            windows += [window] * (total // window) + ([total % window] if total % window else [])
        return windows
