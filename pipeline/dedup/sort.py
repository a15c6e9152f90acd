"""First phase: the keys of neighbouring units, less those of rows already dropped, sorted into one file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.dedup.records import KEYS, columns_of, nodes_of
from pipeline.dedup.shuffle import Columns, read_report, write_report, write_sorted
from pipeline.dedup.task import DedupTask, neighbours
from pipeline.storage import map_arrow
from pipeline.workdir import read_drops


@dataclass(frozen=True, slots=True)
class SortKeys:
    """Sorts by `lo`, which is spread evenly: a range of it is a partition."""

    task: DedupTask

    def plan(self) -> list[list[int]]:
        counts = self.task.counts
        return neighbours(counts, self.task.share(sum(counts.values()), self.task.sizes.run_keys))

    def __call__(self, units: list[int]) -> None:
        path = self.task.file(f"sorted-{units[0]:010d}.arrow")
        if read_report(path) is None:
            alive = [self._alive(unit) for unit in units]
            columns = {name: np.concatenate([some[name] for some in alive]) for name in KEYS.names}
            write_report(path, keys=write_sorted(path, KEYS, [columns], "lo"))

    def _alive(self, unit: int) -> Columns:
        columns = columns_of(map_arrow(self.task.keys[unit]), KEYS)
        dropped = read_drops(self.task.drops_before[unit])
        row = columns["node"].copy()
        columns["node"] = nodes_of(row, unit)
        if not dropped.num_rows:
            return columns
        gone = dropped.column("row").to_numpy().astype(np.uint64)
        parts = dropped.column("part").to_numpy()
        alive = ~np.isin(row, gone[parts < 0])
        of_part = columns["part"] >= 0
        alive &= ~(of_part & np.isin(_names(row, columns["part"]), _names(gone, parts)[parts >= 0]))
        return {name: values[alive] for name, values in columns.items()}


def _names(row: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Rows' parts as single numbers."""
    return row << np.uint64(32) | part.astype(np.uint32)
