"""From keys to candidate pairs: nodes with an equal key, ordered, with a bound on what one crowded key may cost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.dedup.records import KEYS, PAIRS, batch_of, columns_of

#: A key shared by more nodes than this is crowded (a template with a million members): each member is then paired
#: with the key's first CROWD/2 nodes and its own CROWD/2 predecessors, so the work stays linear.
CROWD = 64


def candidate_pairs(batches: list[pa.RecordBatch], *, proof: bool, crowd: int = CROWD) -> tuple[pa.RecordBatch, int]:
    """Pairs of nodes that share a (band, key), `a` before `b` in keep order, each once; and the crowded keys' count.

    With `proof` (equal keys are duplicates) each node is paired with its key's first node only.
    """
    columns = columns_of(batches, KEYS)
    order = np.lexsort([columns[name] for name in ("part", "node", "rank", "lo", "hi", "band")])
    columns = {name: values[order] for name, values in columns.items()}
    total = len(order)
    if total == 0:
        return _pairs(columns, np.empty(0, np.int64), np.empty(0, np.int64), proof), 0
    fresh = np.ones(total, bool)
    fresh[1:] = np.any([columns[name][1:] != columns[name][:-1] for name in ("band", "hi", "lo")], axis=0)
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, total))
    if proof:
        later = np.flatnonzero(~fresh)
        return _pairs(columns, np.repeat(starts, sizes)[later], later, proof), 0
    first, second = _neighbours(starts, sizes, crowd)
    pairs = _pairs(columns, first, second, proof)
    return distinct(pairs), int(np.count_nonzero(sizes > crowd))


def _neighbours(starts: np.ndarray, sizes: np.ndarray, crowd: int) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs within every group: all of them, or a bounded set where a group is crowded."""
    firsts: list[np.ndarray] = []
    seconds: list[np.ndarray] = []
    for size in np.unique(sizes[sizes > 1]):
        at = starts[sizes == size]
        if size <= crowd:
            a, b = np.triu_indices(size, 1)
        else:
            half = crowd // 2
            member = np.arange(1, size)
            near = member[:, None] - np.arange(1, half + 1)[None, :]
            head = np.broadcast_to(np.arange(half)[None, :], (len(member), half))
            a = np.concatenate([near, np.where(head < near[:, -1:], head, -1)], axis=1).ravel()
            b = np.repeat(member, crowd)
            a, b = a[a >= 0], b[a >= 0]
        firsts.append((at[:, None] + a[None, :]).ravel())
        seconds.append((at[:, None] + b[None, :]).ravel())
    if not firsts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(firsts), np.concatenate(seconds)


def _pairs(columns: dict[str, np.ndarray], first: np.ndarray, second: np.ndarray, proof: bool) -> pa.RecordBatch:
    sides = [columns[name][which] for which in (first, second) for name in ("rank", "node", "part")]
    return batch_of(PAIRS, *sides, np.full(len(first), 1.0 if proof else np.nan))


def distinct(pairs: pa.RecordBatch) -> pa.RecordBatch:
    """Each pair once, ordered by (a, b); a document is never paired with itself."""
    columns = columns_of([pairs], PAIRS)
    keys = ("b_part", "b_node", "a_part", "a_node")
    order = np.lexsort([columns[name] for name in keys])
    columns = {name: values[order] for name, values in columns.items()}
    keep = np.ones(len(order), bool)
    keep[1:] = np.any([columns[name][1:] != columns[name][:-1] for name in keys], axis=0)
    keep &= (columns["a_node"] != columns["b_node"]) | (columns["a_part"] != columns["b_part"])
    return pairs.take(pa.array(order[keep]))
