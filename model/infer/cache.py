"""Keys and values of the tokens seen so far, for a batch of sequences of different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import TextConfig

_FIRST_CAPACITY = 64


class KvCache:
    """Storage [sequences, capacity, kv_heads, head_dim] a layer, with a length for each sequence; it grows by doubling.

    One forward pass is: `begin(new lengths)`, the model with `layers`, `commit()`.
    """

    def __init__(self, config: TextConfig, sequences: int, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.lengths = [0] * sequences
        self.capacity = 0
        windows = [config.window(i) for i in range(config.num_hidden_layers)]
        self.layers = [_LayerKv(self, window) for window in windows]
        self._windows = set(windows)
        self._new = self.lengths

    def begin(self, new_lengths: Sequence[int]) -> None:
        """Announces the tokens each sequence has in the next packed batch."""
        self._new = list(new_lengths)
        self.total = max(old + new for old, new in zip(self.lengths, self._new, strict=True))
        if self.total > self.capacity:
            self.capacity = max(_FIRST_CAPACITY, 2 * self.capacity, self.total)
        self.steps = all(new == 1 for new in self._new)
        # of each new token: its sequence, its place among the new ones, its row in the storage
        new, old = torch.tensor(self._new), torch.tensor(self.lengths)
        sequence = torch.arange(len(new))
        offset = torch.zeros_like(sequence)
        if not self.steps:
            sequence = torch.repeat_interleave(sequence, new)
            offset = torch.arange(len(sequence)) - (new.cumsum(0) - new)[sequence]
        rows = sequence * self.capacity + old[sequence] + offset
        self.sequence, self.offset, self.rows = torch.stack([sequence, offset, rows]).to(self.device)
        self.places = old
        self.longest_new = max(self._new)
        self.visible = {window: self._visible(old, window) for window in self._windows}

    def _visible(self, old: Tensor, window: int | None) -> Tensor | None:
        """[B, 1, Q, L], or None where every query sees all of L."""
        if self.steps and len(set(self.lengths)) == 1 and (window is None or window >= self.total):
            return None
        distance = (old[:, None] + torch.arange(self.longest_new))[..., None] - torch.arange(self.total)
        seen = (distance >= 0) & (distance < (window or self.total + 1))
        return seen[:, None].to(self.device)

    def commit(self) -> None:
        """The announced tokens are now part of the past."""
        self.lengths = [old + new for old, new in zip(self.lengths, self._new, strict=True)]

    def select(self, keep: Tensor) -> None:
        """Keeps only the sequences `keep` [n]."""
        self.lengths = [self.lengths[i] for i in keep.tolist()]
        for layer in self.layers:
            layer.select(keep.to(self.device))


class _LayerKv:
    """One layer's storage; see model.net.attention.LayerCache."""

    def __init__(self, cache: KvCache, window: int | None) -> None:
        self._cache, self._window = cache, window
        self._storage: tuple[Tensor, Tensor] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet."""
        return self._storage is None

    @property
    def steps(self) -> bool:
        """Whether every sequence has one new token."""
        return self._cache.steps

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Stores [T, kv_heads, D]; returns all keys and values [B, kv_heads, L, D] and their mask [B, 1, Q, L]."""
        cache = self._cache
        stored = self._grow(keys, values)
        for all_rows, new in zip(stored, (keys, values), strict=True):
            all_rows.flatten(0, 1).index_copy_(0, cache.rows, new)
        seen = [x[:, : cache.total].transpose(1, 2) for x in stored]
        return seen[0], seen[1], cache.visible[self._window]

    def storage(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """keys, values [B, capacity, kv_heads, D], the row each new token goes to [B], and the window (0: none)."""
        assert self._storage is not None
        return *self._grow(*self._storage), self._cache.places, self._window or 0

    def _grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The storage, at the cache's capacity; `keys` and `values` say what rows are like."""
        old = self._storage or (None, None)
        self._storage = (self._grown(old[0], keys), self._grown(old[1], values))
        return self._storage

    def _grown(self, old: Tensor | None, new: Tensor) -> Tensor:
        """Storage of the cache's capacity that holds what `old` did."""
        cache = self._cache
        if old is not None and old.shape[1] == cache.capacity:
            return old
        storage = new.new_zeros(len(cache.lengths), cache.capacity, *new.shape[-2:])
        if old is not None:
            storage[:, : old.shape[1]] = old
        return storage

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
        if self._storage is not None:
            keys, values = self._storage
            self._storage = (keys.index_select(0, keep), values.index_select(0, keep))
