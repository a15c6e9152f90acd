"""Proof that no ledger line appears twice, in bounded memory.

Every line's identity is hashed to 64 bits. Hashes are partitioned by their top bits; beyond a fixed number they wait
in anonymous temporary files, so that one partition at a time is sorted. Equal hashes only propose: among 10^9 lines
two unequal ones collide with a probability of a few per cent, so the caller looks at the lines themselves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import IO

import numpy as np
import xxhash

#: hashes held in memory (8 bytes each) before they are spilled
_HELD = 1 << 22
_PARTITIONS = 64


def line_hash(*identity: object) -> int:
    """64-bit hash of what identifies a ledger line."""
    return xxhash.xxh3_64_intdigest("\x00".join(map(str, identity)).encode())


class Once:
    """A set of 64-bit hashes that says which ones came twice."""

    def __init__(self, held: int = _HELD) -> None:
        self._limit = held
        self._held: list[np.ndarray] = []
        self._size = 0
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Once:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files:
            file.close()

    def add(self, hashes: Iterable[int]) -> None:
        """Adds the hashes of some lines."""
        array = np.fromiter(hashes, np.uint64)
        self._held.append(array)
        self._size += len(array)
        if self._size >= self._limit:
            self._spill()

    def repeated(self) -> set[int]:
        """The hashes that were added more than once."""
        if not self._files:
            return _repeats(np.concatenate([np.empty(0, np.uint64), *self._held]))
        self._spill()
        found: set[int] = set()
        for file in self._files:
            file.seek(0)
            found |= _repeats(np.frombuffer(file.read(), np.uint64))
        return found

    def _spill(self) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile() for _ in range(_PARTITIONS)]  # noqa: SIM115  closed in __exit__
        array = np.concatenate([np.empty(0, np.uint64), *self._held])
        place = (array >> np.uint64(58)).astype(np.int64)
        for number, file in enumerate(self._files):
            file.write(array[place == number].tobytes())
        self._held, self._size = [], 0


def _repeats(hashes: np.ndarray) -> set[int]:
    ordered = np.sort(hashes)
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
