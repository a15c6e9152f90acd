"""Graphs of duplicates in memory: which node goes, and which kept node it duplicates.

`greedy` (verified pairs): nodes are visited in keep order; one is removed if and only if it has a pair with an earlier
node that was kept. A removed node never removes another, so nothing is dropped by transitivity.
`forest` (connected components): every node is tied to the first node, in keep order, of its component (FineWeb's
behaviour keeps only that one).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pipeline.dedup.shuffle import Columns

_NODE = ("rank", "node", "part")
#: a node as bytes whose order is the keep order: rank, node and part, big-endian
PLACE = np.dtype("S20")


def places(pairs: Columns, side: str) -> np.ndarray:
    """The nodes of one side of pairs, PLACE [pairs]."""
    rank, node, part = (pairs[f"{side}_{name}"] for name in _NODE)
    found = np.empty(len(rank), [("rank", ">u8"), ("node", ">u8"), ("part", ">u4")])
    found["rank"], found["node"], found["part"] = rank, node, (part.astype(np.int64) + 1)
    return found.view(PLACE)


def pairs_of(first: np.ndarray, second: np.ndarray) -> Columns:
    """Pairs of two arrays of PLACE, of no similarity (NaN)."""
    pairs: Columns = {}
    for side, place in (("a", first), ("b", second)):
        found = np.ascontiguousarray(place).view([("rank", ">u8"), ("node", ">u8"), ("part", ">u4")])
        pairs[f"{side}_rank"] = found["rank"].astype(np.uint64)
        pairs[f"{side}_node"] = found["node"].astype(np.uint64)
        pairs[f"{side}_part"] = (found["part"].astype(np.int64) - 1).astype(np.int32)
    pairs["similarity"] = np.full(len(first), np.nan)
    return pairs


def greedy(pairs: Columns) -> Columns:
    """The pairs (`a` kept, `b` removed) that explain every removal, one a removed node, in keep order; `a` is the most
    similar kept node. All pairs of a component must be here."""
    everyone, first, second = distinct_nodes(pairs)
    order = np.lexsort([first, -pairs["similarity"], second])
    anchor, similarity = _greedy(first[order], second[order], pairs["similarity"][order], len(everyone["node"]))
    gone = np.flatnonzero(anchor >= 0)
    return _pairs(everyone, anchor[gone], gone, similarity[gone])


def forest(pairs: Columns) -> Columns:
    """One pair for every node that is not the first of its component, with that first node, in keep order."""
    everyone, first, second = distinct_nodes(pairs)
    root = _roots(first, second, len(everyone["node"]))
    member = np.flatnonzero(root != np.arange(len(root)))
    return _pairs(everyone, root[member], member, np.full(len(member), np.nan))


def distinct_nodes(pairs: Columns, names: tuple[str, ...] = _NODE) -> tuple[Columns, np.ndarray, np.ndarray]:
    """(all nodes of pairs, ascending by `names`; the numbers of each pair's first and second node in them)."""
    both = {name: np.concatenate([pairs[f"a_{name}"], pairs[f"b_{name}"]]) for name in names}
    varying = [name for name in names if len(both[name]) and (both[name] != both[name][0]).any()] or [names[0]]
    if len(varying) == 1:
        _, where, number = np.unique(both[varying[0]], return_index=True, return_inverse=True)
    else:
        order = np.lexsort([both[name] for name in reversed(varying)])
        fresh = np.zeros(len(order), bool)
        fresh[:1] = True
        for name in varying:
            fresh[1:] |= both[name][order[1:]] != both[name][order[:-1]]
        where = order[fresh]
        number = np.empty(len(order), np.int64)
        number[order] = np.cumsum(fresh) - 1
    half = len(number) // 2
    return {name: values[where] for name, values in both.items()}, number[:half], number[half:]


def _pairs(nodes: Columns, first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> Columns:
    pairs = {f"{side}_{name}": nodes[name][which] for side, which in (("a", first), ("b", second)) for name in _NODE}
    return pairs | {"similarity": similarity}


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
def _roots(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Union-find; the root of a component is its smallest number."""
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
    for node in range(count):
        root = node
        while parent[root] != root:
            root = parent[root]
        parent[node] = root
    return parent
