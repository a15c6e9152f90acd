"""From verified pairs to removals: which node goes, and which kept node it duplicates.

`verified`: nodes are visited in keep order; one is removed if and only if it has a pair with an earlier node that was
kept. A removed node never removes another, so nothing is dropped by transitivity.
`components`: connected components of the candidate graph keep their first node only (FineWeb's behaviour).

State: one entry a pair (52 bytes) plus one a node that has a pair; nodes without pairs never come here.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.records import PAIRS, batch_of, columns_of


def removals(batches: list[pa.RecordBatch], *, components: bool = False) -> pa.RecordBatch:
    """The pairs (`a` kept, `b` removed) that explain every removal, one a removed node, in `b` order."""
    columns = columns_of(batches, PAIRS)
    nodes = {side: _records([columns[f"{side}_{name}"] for name in ("rank", "node", "part")]) for side in ("a", "b")}
    everyone, place = np.unique(np.concatenate([nodes["a"], nodes["b"]]), return_inverse=True)
    half = len(nodes["a"])
    first, second = place[:half], place[half:]
    order = np.lexsort([first, -columns["similarity"], second])
    resolve = _components if components else _greedy
    anchor, similarity = resolve(first[order], second[order], columns["similarity"][order], len(everyone))
    gone = np.flatnonzero(anchor >= 0)
    sides = [everyone[which][name] for which in (anchor[gone], gone) for name in ("rank", "node", "part")]
    return batch_of(PAIRS, *sides, similarity[gone])


def _records(columns: list[np.ndarray]) -> np.ndarray:
    """Nodes as one sortable array: by rank, then node, then part."""
    found = np.empty(len(columns[0]), [("rank", np.uint64), ("node", np.uint64), ("part", np.int32)])
    for name, values in zip(("rank", "node", "part"), columns, strict=True):
        found[name] = values
    return found


@njit(cache=True, nogil=True)
def _greedy(first: np.ndarray, second: np.ndarray, similarity: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs come ordered by (second, similarity descending, first); a node's fate is known before it is an anchor."""
    anchor = np.full(count, -1, np.int64)
    score = np.zeros(count, np.float64)
    for k in range(len(first)):
        a, b = first[k], second[k]
        if anchor[b] < 0 and anchor[a] < 0:
            anchor[b] = a
            score[b] = similarity[k]
    return anchor, score


@njit(cache=True, nogil=True)
def _components(
    first: np.ndarray, second: np.ndarray, similarity: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Union-find; the root of a component is its smallest (first in keep order) node."""
    parent = np.arange(count)
    for k in range(len(first)):
        a, b = first[k], second[k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b:
            parent[max(a, b)] = min(a, b)
    anchor = np.full(count, -1, np.int64)
    for node in range(count):
        root = node
        while parent[root] != root:
            root = parent[root]
        if root != node:
            anchor[node] = root
    return anchor, np.full(count, np.nan)
