"""Candidate pairs checked by the exact similarity of their shingles, read back from the kept rows."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.dedup.candidates import distinct
from pipeline.dedup.records import PAIRS, ROW_MASK, batch_of, columns_of
from pipeline.dedup.task import DedupTask
from pipeline.storage import map_arrow
from transforms.dedup.base import Dedup
from transforms.dedup.shingles import jaccard

#: bytes of shingle sets kept in memory while a group of pairs is verified
_CACHED_BYTES = 256 * 2**20


class KeptTexts:
    """Texts and ids of kept rows by node, from memory-mapped files; `paths` maps unit number to kept file."""

    def __init__(self, paths: dict[int, str]) -> None:
        self._paths = paths
        self._open = lru_cache(maxsize=64)(self._map)

    def get(self, node: int, column: str) -> str:
        """One row's value of `text` or `id`."""
        batches, starts = self._open(node >> 32)
        row = node & int(ROW_MASK)
        at = int(np.searchsorted(starts, row, side="right")) - 1
        value: str = batches[at].column(column)[row - int(starts[at])].as_py()
        return value

    def _map(self, unit: int) -> tuple[list[pa.RecordBatch], np.ndarray]:
        batches = map_arrow(self._paths[unit])
        return batches, np.cumsum([0] + [batch.num_rows for batch in batches])[:-1]


def verified(pairs: pa.RecordBatch, dedup: Dedup, texts: KeptTexts) -> pa.RecordBatch:
    """The pairs whose exact similarity reaches the step's threshold, with that similarity."""
    columns = columns_of([pairs], PAIRS)
    cache: OrderedDict[int, np.ndarray] = OrderedDict()
    held = 0

    def shingles(node: int) -> np.ndarray:
        nonlocal held
        found = cache.get(node)
        if found is None:
            found = cache[node] = dedup.shingles(texts.get(node, "text"))
            held += found.nbytes
            while held > _CACHED_BYTES and len(cache) > 1:
                held -= cache.popitem(last=False)[1].nbytes
        else:
            cache.move_to_end(node)
        return found

    both = zip(columns["a_node"].tolist(), columns["b_node"].tolist(), strict=True)
    similarity = np.fromiter((jaccard(shingles(a), shingles(b)) for a, b in both), np.float64, pairs.num_rows)
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
        return 0, verified(pairs, step, KeptTexts(self._task.kept))


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = columns_of(batches, PAIRS)
    return batch_of(PAIRS, *(columns[name] for name in PAIRS.names))
