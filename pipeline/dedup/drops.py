"""Last phase: what each unit loses, committed as its drops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.dedup.nodes import Nodes
from pipeline.dedup.records import INDEX_UNIT, NO_NODE, PAIRS, ROW_MASK, UNIT_SHIFT, unit_of
from pipeline.dedup.shuffle import Columns, read_range, read_report, write_report
from pipeline.dedup.task import DedupTask
from pipeline.storage import write_arrow
from pipeline.workdir import DROPS, read_drops
from transforms.dedup.base import DUPLICATE

#: units written by one piece of work
_UNITS = 32


@dataclass(frozen=True, slots=True)
class WriteDrops:
    """Writes the drops of neighbouring units: those they had, and this step's, with the kept row each one duplicates.
    `removals` is the pattern of the files that hold the pairs (kept, removed)."""

    task: DedupTask
    removals: str

    def plan(self) -> list[list[int]]:
        units = sorted(self.task.drops_after)
        return [units[at : at + _UNITS] for at in range(0, len(units), _UNITS)]

    def __call__(self, units: list[int]) -> None:
        path = self.task.file(f"drops-{units[0]:010d}.json")
        if read_report(path) is not None:
            return
        files = self.task.files(self.removals)
        start, stop = (unit << int(UNIT_SHIFT) for unit in (units[0], units[-1] + 1))
        pairs = read_range(files, PAIRS, "b_node", start, stop)
        order = np.lexsort([pairs["b_part"], pairs["b_node"]])
        pairs = {name: values[order] for name, values in pairs.items()}
        nodes = Nodes(self.task.paths)
        unit = unit_of(pairs["b_node"])
        for number in units:
            first, last = np.searchsorted(unit, [number, number + 1])
            self._write(number, {name: values[first:last] for name, values in pairs.items()}, nodes)
        old = int(np.count_nonzero((unit_of(pairs["a_node"]) >= INDEX_UNIT) & (pairs["a_node"] != NO_NODE)))
        write_report(path, removed=len(unit), of_index=old)

    def _write(self, unit: int, pairs: Columns, nodes: Nodes) -> None:
        count = len(pairs["b_node"])
        columns = [
            pa.array((pairs["b_node"] & ROW_MASK).astype(np.uint32)),
            pa.array(pairs["b_part"]),
            pa.array([self.task.label] * count, pa.string()),
            pa.array([DUPLICATE] * count, pa.string()),
            pa.array(self._details(pairs), pa.string()),
            pa.array(_matches(pairs["a_node"], nodes), pa.string()),
            pa.nulls(count, DROPS.field("spans").type),
        ]
        fresh = pa.RecordBatch.from_arrays(columns, schema=DROPS)
        before = read_drops(self.task.drops_before[unit])
        write_arrow(Path(self.task.drops_after[unit]), DROPS, iter([*before.to_batches(), fresh]))

    def _details(self, pairs: Columns) -> list[str | None]:
        step = self.task.step()
        if step.bloom_rate is not None:
            return [f"bloom filter, false positive rate {step.bloom_rate:g}"] * len(pairs["a_node"])
        found: list[str | None] = []
        rows = zip(*(pairs[name].tolist() for name in ("similarity", "a_node", "a_part")), strict=True)
        for similarity, a_node, a_part in rows:
            told = []
            if step.proof and a_part >= 0:
                told.append("same bytes")
            elif not step.proof and similarity == similarity:
                told.append(f"{step.measure} {similarity:.4f}")
            if a_part >= 0:
                told.append(f"{'as' if step.proof else 'with'} part {a_part}")
            if a_node >> int(UNIT_SHIFT) >= INDEX_UNIT:
                told.append("in the index")
            found.append(" ".join(told) or None)
        return found


def _matches(node: np.ndarray, nodes: Nodes) -> list[str | None]:
    """The ids of kept nodes, null where it is not known which one it is."""
    found: list[str | None] = [None] * len(node)
    known = np.flatnonzero(node != NO_NODE)
    for place, name in zip(known.tolist(), nodes.ids(node[known]), strict=True):
        found[place] = name
    return found
