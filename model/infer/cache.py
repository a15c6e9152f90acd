"""Keys and values of the tokens seen so far, for a batch of sequences of different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import TextConfig

_GROWTH = 64


class KvCache:
    """Rectangular storage [sequences, kv_heads, capacity, head_dim] a layer, with a length for each sequence.

    One forward pass is: `begin(new lengths)`, the model with `layers`, `commit()`.
    """

    def __init__(self, config: TextConfig, sequences: int) -> None:
        self.lengths = torch.zeros(sequences, dtype=torch.int64)
        self.layers = [_LayerKv(self, config, config.window(i)) for i in range(config.num_hidden_layers)]
        self._windows = {config.window(i) for i in range(config.num_hidden_layers)}
        self._new = self.lengths

    def begin(self, new_lengths: Sequence[int]) -> None:
        """Announces the tokens each sequence has in the next packed batch."""
        self._new = torch.tensor(new_lengths)
        self.longest_new = int(self._new.max())
        starts = self._new.cumsum(0) - self._new
        self.sequence = torch.repeat_interleave(torch.arange(len(self._new)), self._new)
        self.offset = torch.arange(len(self.sequence)) - starts[self.sequence]
        self.place = self.lengths[self.sequence] + self.offset
        self.total = int((self.lengths + self._new).max())
        queries = self.lengths[:, None] + torch.arange(self.longest_new)
        distance = (queries[..., None] - torch.arange(self.total))[:, None]
        self.visible = {w: (distance >= 0) & (distance < (w or self.total + 1)) for w in self._windows}

    def commit(self) -> None:
        """The announced tokens are now part of the past."""
        self.lengths = self.lengths + self._new

    def select(self, keep: Tensor) -> None:
        """Keeps only the sequences `keep` [n]."""
        self.lengths = self.lengths[keep]
        for layer in self.layers:
            layer.select(keep)


class _LayerKv:
    """One layer's storage; see model.net.attention.LayerCache."""

    def __init__(self, cache: KvCache, config: TextConfig, window: int | None) -> None:
        self._cache, self._window = cache, window
        self._shape = (config.num_key_value_heads, 0, config.head_dim)
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet."""
        return self._keys is None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stores [T, kv_heads, D]; returns all keys and values [B, kv_heads, L, D] and their mask [B, 1, Q, L]."""
        cache = self._cache
        heads, _, size = self._shape
        if self._keys is None or self._values is None:
            self._keys = keys.new_zeros((len(cache.lengths), heads, 0, size))
            self._values = values.new_zeros((len(cache.lengths), heads, 0, size))
        missing = cache.total - self._keys.shape[2]
        if missing > 0:
            room = self._keys.new_zeros((len(cache.lengths), heads, missing + _GROWTH, size))
            self._keys = torch.cat([self._keys, room], 2)
            self._values = torch.cat([self._values, room], 2)
        self._keys[cache.sequence, :, cache.place] = keys
        self._values[cache.sequence, :, cache.place] = values
        return self._keys[:, :, : cache.total], self._values[:, :, : cache.total], cache.visible[self._window]

    def pad(self, queries: Tensor) -> Tensor:
        """[T, heads, D] -> [B, heads, Q, D]."""
        cache = self._cache
        padded = queries.new_zeros((len(cache.lengths), cache.longest_new, *queries.shape[1:]))
        padded[cache.sequence, cache.offset] = queries
        return padded.transpose(1, 2)

    def unpad(self, outputs: Tensor) -> Tensor:
        """[B, heads, Q, D] -> [T, heads, D]."""
        return outputs.transpose(1, 2)[self._cache.sequence, self._cache.offset]

    def select(self, keep: Tensor) -> None:
        """Keeps only the sequences `keep`."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[keep], self._values[keep]
