"""Candidate pairs checked by the exact similarity of their evidence, made anew from the kept rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.dedup.candidates import distinct
from pipeline.dedup.nodes import Nodes
from pipeline.dedup.records import PAIRS, batch_of, columns_of
from pipeline.dedup.task import DedupTask
from transforms.dedup.base import Dedup

#: pairs verified at once: their evidence is in memory
_PAIRS = 8192


def verified(pairs: pa.RecordBatch, dedup: Dedup, nodes: Nodes) -> pa.RecordBatch:
    """The pairs whose exact similarity reaches the step's threshold, with that similarity."""
    columns = columns_of([pairs], PAIRS)
    similarity = np.empty(pairs.num_rows)
    for start in range(0, pairs.num_rows, _PAIRS):
        some = slice(start, start + _PAIRS)
        both = np.empty(2 * len(columns["a_node"][some]), [("node", np.uint64), ("part", np.int32)])
        for name in ("node", "part"):
            both[name] = np.concatenate([columns[f"a_{name}"][some], columns[f"b_{name}"][some]])
        known, place = np.unique(both, return_inverse=True)
        evidence = nodes.evidence(dedup, known["node"], known["part"])
        similarity[some] = dedup.similarity(evidence, *place.reshape(2, -1))
    least = dedup.min_similarity
    keep = np.ones(len(similarity), bool) if least is None else similarity >= least
    at = pairs.schema.get_field_index("similarity")
    filled = pairs.set_column(at, pairs.schema.field(at), pa.array(similarity))
    return filled.filter(pa.array(keep))


class VerifyGroup:
    """Verifies one partition of pairs; picklable, so that a pool can run it."""

    def __init__(self, task: DedupTask) -> None:
        self._task = task

    def __call__(self, batches: list[pa.RecordBatch]) -> tuple[int, pa.RecordBatch]:
        pairs = distinct(_concatenated(batches))
        step = self._task.step()
        if step.min_similarity is None:
            return 0, pairs
        return 0, verified(pairs, step, Nodes(self._task.kept))


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = columns_of(batches, PAIRS)
    return batch_of(PAIRS, *(columns[name] for name in PAIRS.names))
