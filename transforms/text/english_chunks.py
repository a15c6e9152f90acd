"""The table from which transforms.kernels.english knows how the readable tokenizer cuts a chunk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np

from transforms.kernels.english import chunk_set, place_chunks, unknown_chunks
from transforms.text.codepoint_tables import properties
from transforms.text.english import exceptions, split_chunk

#: beyond either the table starts anew
_MAX_CHUNKS = 1 << 18
_MAX_POOL = 1 << 22

_OF_THREAD = threading.local()


class ChunkTable:
    """How chunks are cut, as seen so far.

    Looking up a chunk that is not in it finds another with a chance of about 2^-46 (2^18 entries of 64 bits).
    """

    def __init__(self) -> None:
        self.whole = _whole()
        self.clear()

    def clear(self) -> None:
        """Forgets all chunks."""
        self.keys = np.zeros(1 << 12, np.uint64)
        self.where = np.full(1 << 12, -1, np.int64)
        self._pool = np.zeros(1 << 12, np.int32)
        self._pool_used = 0
        self._used = 0

    @property
    def pool(self) -> np.ndarray:
        """Numbers of tokens and their lengths."""
        return self._pool[: max(self._pool_used, 1)]

    def learn(self, data: np.ndarray, offsets: np.ndarray) -> None:
        """Asks the readable tokenizer about every chunk of the texts that is not known."""
        if self._used > _MAX_CHUNKS or self._pool_used > _MAX_POOL:
            self.clear()
        found, bounds, self.keys, self.where = unknown_chunks(
            data, offsets, *properties(), self.whole, self.keys, self.where, self._used
        )
        self._used += len(bounds) - 1
        if len(bounds) == 1:
            return
        text = found.tobytes().decode("utf-32-le", "surrogatepass")
        entries: list[int] = []
        places: list[int] = []
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            tokens = split_chunk(text[start:stop])
            places.append(self._pool_used + len(entries))
            entries.append(len(tokens))
            entries.extend(map(len, tokens))
        self._add(entries)
        place_chunks(found, bounds, np.asarray(places, np.int64), self.keys, self.where)

    def _add(self, entries: Sequence[int]) -> None:
        used = self._pool_used + len(entries)
        if used > len(self._pool):
            self._pool = np.concatenate([self._pool[: self._pool_used], np.zeros(2 * used, np.int32)])
        self._pool[self._pool_used : used] = entries
        self._pool_used = used


def chunk_table() -> ChunkTable:
    """This thread's table."""
    if not hasattr(_OF_THREAD, "table"):
        _OF_THREAD.table = ChunkTable()
    return _OF_THREAD.table


@cache
def _whole() -> np.ndarray:
    """The tokenizer's exceptions as the kernel's set."""
    chunks = sorted(exceptions())
    slots = 1 << (4 * len(chunks)).bit_length()
    keys = np.zeros(slots, np.uint64)
    found = np.frombuffer("".join(chunks).encode("utf-32-le"), np.uint32).copy()
    chunk_set(found, np.cumsum([0, *map(len, chunks)]), keys)
    return keys
