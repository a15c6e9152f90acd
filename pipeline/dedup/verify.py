"""Third phase: candidate pairs, each once, checked by the exact similarity of their evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.dedup.candidates import distinct
from pipeline.dedup.graph import distinct_nodes, forest
from pipeline.dedup.nodes import Nodes
from pipeline.dedup.records import PAIRS, UNIT_SHIFT
from pipeline.dedup.shuffle import Columns, read_range, read_report, read_reports, write_report, write_sorted
from pipeline.dedup.task import DedupTask, neighbours
from transforms.dedup.base import Dedup

#: pairs verified at once: their evidence is in memory
_PAIRS = 8192


@dataclass(frozen=True, slots=True)
class VerifyPairs:
    """Verifies the pairs whose later node is in some neighbouring units. Leaves them, and a forest of all candidates:
    what connected components would make of the unverified pairs."""

    task: DedupTask

    def plan(self) -> list[list[int]]:
        task = self.task
        counts: dict[int, int] = {}
        for report in read_reports(task.files("pairs-*.arrow")):
            for unit, count in report["by_unit"].items():
                counts[int(unit)] = counts.get(int(unit), 0) + count
        return neighbours(counts, task.share(sum(counts.values()), task.sizes.verify_pairs))

    def __call__(self, units: list[int]) -> None:
        task, step = self.task, self.task.step()
        path = task.file(f"verified-{units[0]:010d}.arrow")
        if read_report(path) is not None:
            return
        start, stop = (unit << int(UNIT_SHIFT) for unit in (units[0], units[-1] + 1))
        pairs = distinct(read_range(task.files("pairs-*.arrow"), PAIRS, "b_node", start, stop))
        candidates = len(pairs["b_node"])
        trees = forest(pairs)
        write_sorted(task.file(f"forest-{units[0]:010d}.arrow"), PAIRS, [trees], "b_node")
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
