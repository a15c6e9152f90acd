"""The text decoder: pre-norm layers of attention and feed-forward, with DeepStack additions in the first ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from model.config import TextConfig
from model.net.attention import Attention, LayerCache
from model.net.layer_step import layer_step
from model.net.moe import DenseMlp, Routing, SparseMoe
from model.net.norm import RMSNorm
from model.net.rope import mrope_table
from model.net.segments import Segments, plan_segments


class DecoderLayer(nn.Module):
    """x += attention(norm(x)); x += feed_forward(norm(x))."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, config.window(layer))
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SparseMoe(config) if config.is_moe(layer) else DenseMlp(config)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], segments: Segments | None, cache: LayerCache | None
    ) -> tuple[Tensor, Routing | None]:
        """x [T, d] -> [T, d] and, of a sparse layer, the routing."""
        if cache is not None and not cache.is_empty and (y := layer_step(self, x, rope, cache)) is not None:
            return y, None
        x = x + self.self_attn(self.input_layernorm(x), rope, segments, cache)
        h = self.post_attention_layernorm(x)
        y, routing = self.mlp(h) if cache is None else (self.mlp.project(h), None)
        return x + y, routing


class Decoder(nn.Module):
    """Token embeddings in, final hidden states out."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        lengths: Sequence[int],
        deepstack: Sequence[Tensor] = (),
        deepstack_rows: Tensor | None = None,
        caches: Sequence[LayerCache] | None = None,
    ) -> tuple[Tensor, list[Routing]]:
        """x [T, d] of documents with `lengths`, positions [3, T] -> [T, d] and the routing of each sparse layer.

        deepstack[i] [n, d] is added at `deepstack_rows` after layer i (Meng et al. 2024, DeepStack).
        """
        rope = mrope_table(positions, self.config, x.dtype)
        has_past = caches is not None and not caches[0].is_empty
        segments = None if has_past else plan_segments(lengths, x.device, padded=True)
        routings = []
        for i, layer in enumerate(self.layers):
            x, routing = layer(x, rope, segments, caches[i] if caches else None)
            if routing is not None:
                routings.append(routing)
            if deepstack_rows is not None and i < len(deepstack):
                x = x.index_add(0, deepstack_rows, deepstack[i])
        return self.norm(x), routings
