"""Examples chosen by the smallest hash: a fair sample that does not depend on the order of rows or files."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Any

from pipeline.report.once import line_hash


class Picks:
    """Keeps, for every group, the `limit` rows whose hash(seed, source, part) is smallest."""

    def __init__(self, limit: int, seed: int) -> None:
        self._limit = limit
        self._seed = seed
        self._heaps: dict[Hashable, list[tuple[int, int, dict[str, Any]]]] = {}
        self._offers = 0

    def rank(self, source: str, part: int | None) -> int:
        """The row's place in the draw; smaller is taken first."""
        return line_hash(self._seed, source, part)

    def wants(self, group: Hashable, rank: int) -> bool:
        """Whether a row of this rank would be among the group's examples as far as is known."""
        heap = self._heaps.get(group, [])
        return len(heap) < self._limit or -heap[0][0] > rank

    def offer(self, group: Hashable, rank: int, row: dict[str, Any]) -> None:
        """Takes the row when its rank is small enough."""
        heap = self._heaps.setdefault(group, [])
        self._offers += 1  # only so that two lines of one rank (a defect, found elsewhere) can be ordered
        entry = (-rank, self._offers, row)
        if len(heap) < self._limit:
            heapq.heappush(heap, entry)
        elif -heap[0][0] > rank:
            heapq.heapreplace(heap, entry)

    def chosen(self, group: Hashable) -> list[dict[str, Any]]:
        """The group's examples, smallest hash first."""
        return [row for _, _, row in sorted(self._heaps.get(group, []), reverse=True)]
