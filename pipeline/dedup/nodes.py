"""What is known of nodes: their ids and their evidence, from the kept rows they stand for, or from an index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.dedup.records import INDEX_UNIT, ROW_MASK, unit_of
from pipeline.storage import map_arrow
from transforms.dedup.base import Dedup

#: rows copied out of a kept file at once: a row may hold pictures
_TAKEN_ROWS = 256


class Nodes:
    """Kept rows, and entries of an index, by node, from memory-mapped files; `paths` maps unit number to file."""

    def __init__(self, paths: dict[int, str]) -> None:
        self._paths = paths
        self._open = lru_cache(maxsize=64)(self._map)

    def ids(self, node: np.ndarray) -> list[str]:
        """The row ids of nodes."""
        found: list[str | None] = [None] * len(node)
        for _, batch, rows, at in self._batches(node):
            for place, value in zip(at.tolist(), batch.column("id").take(pa.array(rows)).to_pylist(), strict=True):
                found[place] = value
        return [value for value in found if value is not None]

    def evidence(self, step: Dedup, node: np.ndarray, part: np.ndarray) -> pa.LargeBinaryArray:
        """The evidence of (node, part), in their order."""
        pieces: list[pa.LargeBinaryArray] = [pa.array([], pa.large_binary())]
        order = [np.empty(0, np.int64)]
        for unit, batch, rows, at in self._batches(node):
            if unit >= INDEX_UNIT:
                pieces.append(batch.column("evidence").take(pa.array(rows)))
                order.append(at)
                continue
            for start in range(0, len(rows), _TAKEN_ROWS):
                some = slice(start, start + _TAKEN_ROWS)
                pieces.append(step.evidence(batch.take(pa.array(rows[some])), part[at[some]]))
                order.append(at[some])
        return pa.concat_arrays(pieces).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))

    def _batches(self, node: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch, np.ndarray, np.ndarray]]:
        """(unit, batch, rows of it, which of `node` they are), every node once."""
        order = np.argsort(node, kind="stable")
        units = unit_of(node[order])
        row = (node[order] & ROW_MASK).astype(np.int64)
        for unit, start, stop in groups(units):
            batches, starts = self._open(unit)
            which = np.searchsorted(starts, row[start:stop], side="right") - 1
            for number, first, last in groups(which):
                some = slice(start + first, start + last)
                yield unit, batches[number], row[some] - starts[number], order[some]

    def _map(self, unit: int) -> tuple[list[pa.RecordBatch], np.ndarray]:
        batches = map_arrow(self._paths[unit])
        return batches, np.cumsum([0] + [batch.num_rows for batch in batches])[:-1]


def groups(ordered: np.ndarray) -> list[tuple[int, int, int]]:
    """(value, start, stop) of every run of equal values in a sorted array."""
    values, starts = np.unique(ordered, return_index=True)
    stops = np.append(starts[1:], len(ordered))[: len(starts)]
    return list(zip(values.tolist(), starts.tolist(), stops.tolist(), strict=True))
