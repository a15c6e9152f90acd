"""Third phase: candidate pairs, each once, checked by the exact similarity of their evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.dedup.candidates import distinct
from pipeline.dedup.graph import distinct_nodes, forest
from pipeline.dedup.nodes import Nodes
from pipeline.dedup.records import PAIRS, UNIT_SHIFT
from pipeline.dedup.shuffle import Columns, read_range, read_report, read_reports, write_report, write_sorted
from pipeline.dedup.task import DedupTask, neighbours
from pipeline.storage import map_arrow
from transforms.dedup.base import Dedup

#: pairs verified at once: their evidence is in memory
_PAIRS = 8192

#: units with very many pairs are cut between blocks of 256 rows
_BLOCK_SHIFT = np.uint64(8)


@dataclass(frozen=True, slots=True)
class VerifyPairs:
    """Verifies the pairs whose later node is in a range: neighbouring units, or rows of one that has very many pairs.
    Leaves them, and a forest of all candidates: what connected components would make of the unverified pairs."""

    task: DedupTask

    def plan(self) -> list[tuple[int, int]]:
        task = self.task
        counts: Counter[int] = Counter()
        for report in read_reports(task.files("pairs-*.arrow")):
            counts.update({int(unit): count for unit, count in report["by_unit"].items()})
        most = task.share(counts.total(), task.sizes.verify_pairs)
        ranges = []
        for units in neighbours(counts, most):
            start, stop = (unit << int(UNIT_SHIFT) for unit in (units[0], units[-1] + 1))
            ranges += [(start, stop)] if counts[units[0]] <= most else self._cut(start, stop, most)
        return ranges

    def _cut(self, start: int, stop: int, most: int) -> list[tuple[int, int]]:
        """A range of nodes in smaller ones, of `most` pairs where blocks of rows have no more."""
        counts: Counter[int] = Counter()
        for path in self.task.files("pairs-*.arrow"):
            for batch in map_arrow(path):
                node = batch.column("b_node").to_numpy()
                first, last = np.searchsorted(node, np.array([start, stop], np.uint64))
                blocks, pairs = np.unique(node[first:last] >> _BLOCK_SHIFT, return_counts=True)
                counts.update(dict(zip(blocks.tolist(), pairs.tolist(), strict=True)))
        shift = int(_BLOCK_SHIFT)
        return [(blocks[0] << shift, blocks[-1] + 1 << shift) for blocks in neighbours(counts, most)]

    def __call__(self, nodes: tuple[int, int]) -> None:
        task, step = self.task, self.task.step()
        start, stop = nodes
        path = task.file(f"verified-{start:020d}.arrow")
        if read_report(path) is not None:
            return
        pairs = distinct(read_range(task.files("pairs-*.arrow"), PAIRS, "b_node", start, stop))
        candidates = len(pairs["b_node"])
        trees = forest(pairs)
        write_sorted(task.file(f"forest-{start:020d}.arrow"), PAIRS, [trees], "b_node")
        if step.min_similarity is None:
            pairs = trees
        else:
            pairs = verified(pairs, step, step.min_similarity, Nodes(task.paths))
        write_report(path, candidate_pairs=candidates, pairs=write_sorted(path, PAIRS, [pairs], "b_node"))


def verified(pairs: Columns, step: Dedup, least: float, nodes: Nodes) -> Columns:
    """The pairs whose exact similarity is at least `least`, with that similarity."""
    count = len(pairs["b_node"])
    similarity = np.empty(count)
    for start in range(0, count, _PAIRS):
        some = {name: values[start : start + _PAIRS] for name, values in pairs.items()}
        known, first, second = distinct_nodes(some, ("node", "part"))
        evidence = nodes.evidence(step, known["node"], known["part"])
        similarity[start : start + _PAIRS] = step.similarity(evidence, first, second)
    enough = similarity >= least
    return {name: values[enough] for name, values in (pairs | {"similarity": similarity}).items()}
